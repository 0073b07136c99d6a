#!/usr/bin/env python3
"""Peak memory of the stages that look at whole sections, for sections of a given side: it should not depend on it; and of
those that run a network, on one shard.

    benchmarks/memory.py [--only sections] [--edge 16384] [--sections 8] [--workers 1]
    benchmarks/memory.py --only shard [--shard 32 1024 1024]

Whole sections: the volume is a repeated patch of made tissue, labels and truth are that of its tubes; a stage runs in a
process of its own, on its first block, `evaluate` on everything. A shard: the demo crop (10 nm), mirrored, of which the
middle one of three shards on each other is looked at, with made labels.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARD, CHUNK = 1024, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("sections", "shard"))
    parser.add_argument("--shard", type=int, nargs=3, default=[32, 1024, 1024])
    parser.add_argument("--edge", type=int, default=16384, help="px of a section's side")
    parser.add_argument("--sections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="--processes of each stage")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        if given.only != "shard":
            measure(Path(folder), given.edge, given.sections, given.workers)
        if given.only != "sections":
            measure_shard(Path(folder), tuple(given.shard), given.workers)


def measure(folder: Path, edge: int, sections: int, workers: int) -> None:
    make(folder, edge, sections)
    row = f"0-{math.ceil(edge / SHARD) ** 2 - 1}"  # of shards: all of a section
    far = "--jitter_px 40 --simulate_misalignment true"
    lines = {
        "simulate_misalignment": f"--volume raw.ome.zarr --block 0-0 --output moved.ome.zarr --jitter jitter.csv {far}",
        "align_pairs": f"--volume raw.ome.zarr --facts facts.json --block {row} --output pairs.npz",
        "render": "--volume raw.ome.zarr --transforms t.npz --block 0-0 --output aligned.ome.zarr",
        "evaluate": "--labels labels.ome.zarr --truth labels.ome.zarr --transforms t.npz "
        "--output score.json --evaluation evaluation.json",
    }
    print(f"{sections} sections of {edge} x {edge} px, {workers} worker(s)")
    run(folder, lines, workers)


def measure_shard(folder: Path, shard: tuple[int, int, int], workers: int) -> None:
    make_shards(folder, shard)
    of = "--volume grey.ome.zarr --block 1-1"
    lines = {
        "segment": f"{of} --output supervoxels.ome.zarr --overlaps overlaps.npz",
        "synapses": f"{of} --labels cells.ome.zarr --supervoxels cells.ome.zarr --candidates candidates.parquet",
    }
    print(f"a shard of {shard} voxels, {workers} worker(s)")
    run(folder, lines, workers)


def run(folder: Path, lines: dict[str, str], workers: int) -> None:
    """Stages one after the other, and what their records say."""
    from voxelmill.testing.engine import ALLOCATION

    env = {
        **os.environ,
        **ALLOCATION,
        "PYTHONPATH": str(ROOT / "python"),
        "VOXELMILL_PROCESSES": str(workers),
        "OMP_NUM_THREADS": "1",
    }
    for name, line in lines.items():
        subprocess.run([sys.executable, ROOT / f"bin/{name}.py", *line.split()], cwd=folder, env=env, check=True)
        (path,) = folder.glob(f"{name}*.provenance.json")
        record = json.loads(path.read_text())
        print(f"  {name:22} {record['peak_memory_bytes'] / 2**20:7.0f} MB  {record['wall_s']:7.1f} s", flush=True)


def make(folder: Path, edge: int, sections: int) -> None:
    """Volume, labels and transforms: shifts of up to 3 px, and one section that lies far from all others."""
    from voxelmill.core import manifest
    from voxelmill.core.space import ZYX, Space
    from voxelmill.core.volume import create_image, layout
    from voxelmill.testing.em import neurites
    from voxelmill.testing.stages import make_facts
    from voxelmill.transform import warp
    from voxelmill.transform.transforms import save

    grey, labels = neurites((sections, 256, 256))
    for name, patch, label in (("raw", grey, False), ("labels", labels, True)):
        tile = np.tile(patch, (1, SHARD // 256, SHARD // 256))
        lay = layout((sections, edge, edge), patch.dtype, (sections, SHARD, SHARD), (sections, CHUNK, CHUNK))
        image = create_image(folder / f"{name}.ome.zarr", lay, Space.of(ZYX, (30.0, 4.0, 4.0)), label=label)
        for y in range(0, edge, SHARD):
            for x in range(0, edge, SHARD):
                at = slice(y, min(y + SHARD, edge)), slice(x, min(x + SHARD, edge))
                image.write((slice(0, sections), *at), tile[:, : at[0].stop - y, : at[1].stop - x])
        manifest.write(folder / f"{name}.ome.zarr")
    make_facts(folder / "facts.json", sections)
    moves = [warp.shift_transform(1.5 * (z % 3), -z % 2) for z in range(sections)]
    moves[sections // 2] = warp.shift_transform(edge, 0)
    save(folder / "t.npz", moves)


def make_shards(folder: Path, shard: tuple[int, int, int]) -> None:
    """Three shards on each other: grey values and labels."""
    from voxelmill.core import manifest
    from voxelmill.core.space import ZYX, Space
    from voxelmill.core.volume import create_image, layout
    from voxelmill.testing.em import neurites

    crop = np.load(ROOT / "assets/demo/fib25_crop.npz")
    shape = (3 * shard[0], *shard[1:])
    for name, patch, label in (("grey", crop[crop.files[0]], False), ("cells", neurites((64, 256, 256))[1], True)):
        around = [(0, max(0, n - m)) for n, m in zip(shape, patch.shape)]
        cube = np.pad(patch, around, mode="symmetric")[tuple(map(slice, shape))]
        chunk = tuple(min(n, CHUNK if k else shard[0]) for k, n in enumerate(shard))
        lay = layout(shape, cube.dtype, shard, chunk)
        image = create_image(folder / f"{name}.ome.zarr", lay, Space.of(ZYX, (10.0, 10.0, 10.0)), label=label)
        for z in range(0, shape[0], shard[0]):
            image.write((slice(z, z + shard[0]), slice(0, shape[1]), slice(0, shape[2])), cube[z : z + shard[0]])
        manifest.write(folder / f"{name}.ome.zarr")


if __name__ == "__main__":
    main()
