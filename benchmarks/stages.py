"""Cost per voxel and peak memory of every connectome stage, at several sizes, through the real scripts.

    python benchmarks/stages.py [--sizes 128 256 512] [--json FILE]

The demo crop is mirrored to each size. Peak memory and start-up come from the scripts, one process each; the cost per
voxel from the same stages called in this process after a warm-up at 64^3, so that imports do not count. One block,
one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CHAIN = {
    "ingest": "--source raw.npy --input raw.npy --voxel_size 10,10,10 --blocks 1 --output raw.ome.zarr --facts facts.json "
    "--block_list blocks.csv --slab_list slabs.csv",
    "preprocess": "--volume raw.ome.zarr --facts facts.json --block {block} --output pre.ome.zarr",
    "align_pairs": "--volume pre.ome.zarr --facts facts.json --block {block} --output pairs.npz",
    "align": "--pairs pairs.npz --facts facts.json --volume pre.ome.zarr --transforms t.npz --table alignment.csv",
    "render": "--volume pre.ome.zarr --transforms t.npz --block {block} --output aligned.ome.zarr",
    "segment": "--volume aligned.ome.zarr --block {block} --output sv.ome.zarr --overlaps overlaps.npz",
    "agglomerate": "--overlaps overlaps.npz --block {block} --components components.parquet --border border.npz",
    "export_labels": "--supervoxels sv.ome.zarr --components components.parquet --block {block} --output labels.ome.zarr "
    "--merge merge",
    "synapses": "--volume aligned.ome.zarr --labels labels.ome.zarr --supervoxels sv.ome.zarr --block {block} "
    "--candidates c.parquet",
    "graph": "--candidates c.parquet --labels labels.ome.zarr --tables tables --graph graph",
    "shapes": "--labels labels.ome.zarr --block {block} --sizes sizes.parquet --fragments fragments.parquet "
    "--coarse coarse.parquet",
    "neurites": "--labels labels.ome.zarr --sizes sizes.parquet --fragments fragments.parquet --coarse coarse.parquet "
    "--batch 0-of-1 --mesh_files meshes --skeleton_files skeletons --rows rows.parquet --largest largest.parquet",
    "neurons": "--rows rows.parquet --largest largest.parquet --tables tables --neurons neurons --mesh_files info/meshes "
    "--skeleton_files info/skeletons --picture neurites.png",
    "multiscale": "--volume aligned.ome.zarr --labels labels.ome.zarr --name aligned --output out.ome.zarr",
    "figures": "--raw raw.ome.zarr --preprocessed pre.ome.zarr --aligned aligned.ome.zarr --labels labels.ome.zarr "
    "--alignment alignment.csv --tables tables --output figures",
}


def mirrored(size: int) -> np.ndarray:
    """The demo crop, mirrored again and again to a cube, so that it goes on without a step."""
    raw = np.load(ROOT / "assets/demo/fib25_crop.npz")["raw"]
    for axis in range(3):
        n = raw.shape[axis]
        order = np.concatenate([np.arange(n), np.arange(n)[::-1]])
        raw = raw.take(np.resize(order, size), axis=axis)
    return np.ascontiguousarray(raw)


def scripts(size: int, folder: Path) -> dict[str, dict[str, float]]:
    """Peak memory and start-up of every stage, each in a process of its own."""

    def run(stage: str, line: str) -> None:
        # Through a shell: a process started directly begins with this one's peak memory as its own.
        done = subprocess.run(
            ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(ROOT / f"bin/{stage}.py"), *line.split()],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")

    records = chain(size, folder, run)
    return {
        stage: {"peak_mb": r["peak_memory_bytes"] / 2**20, "start_cpu_s": r["startup_cpu_s"]} for stage, r in records.items()
    }


def in_process(size: int, folder: Path) -> dict[str, float]:
    """CPU seconds of every stage's work, imports apart."""
    from contextlib import chdir, redirect_stderr, redirect_stdout

    from voxelmill.core import schema, stage

    dotted = {name: f"{s.layer}.{name}" for name, s in schema.stages().items()}

    def run(name: str, line: str) -> None:
        with chdir(folder), open(os.devnull, "w") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
            code = stage.call(dotted[name], line.split())
        if code:
            raise SystemExit(f"{name} ended with {code}")

    return {stage: r["cpu_s"] for stage, r in chain(size, folder, run).items()}


def chain(size: int, folder: Path, run: Callable[[str, str], None]) -> dict[str, dict]:
    """Run all stages on a cube; their provenance records."""
    from voxelmill.core import plans

    np.save(folder / "raw.npy", mirrored(size))
    records, block = {}, "0-0"
    for stage, line in CHAIN.items():
        run(stage, line.format(block=block))
        if stage == "ingest":
            lines = [row["block"] for row in plans.read(folder / "blocks.csv")]
            block = f"{lines[0].split('-')[0]}-{lines[-1].split('-')[1]}"
        (path,) = folder.glob(f"{stage}.*provenance.json")
        records[stage] = json.loads(path.read_text())
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    sys.path.insert(0, str(ROOT / "python"))
    results: dict[int, dict] = {}
    for size in [64, *args.sizes]:
        with tempfile.TemporaryDirectory() as folder:
            cpu = in_process(size, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            if size > 64:
                results[size] = scripts(size, Path(folder))
                for stage, seconds in cpu.items():
                    results[size][stage] |= {"cpu_s": seconds, "ns_per_voxel": seconds / size**3 * 1e9}
    print("ns per voxel (peak MB)" + "".join(f"{f'{s}^3':>18}" for s in results) + f"{'start CPU s':>14}")
    for stage in CHAIN:
        cells = "".join(f"{r[stage]['ns_per_voxel']:>11.1f} ({r[stage]['peak_mb']:4.0f})" for r in results.values())
        print(f"{stage:22}{cells}{max(r[stage]['start_cpu_s'] for r in results.values()):>14.2f}")
    totals = {s: sum(v["ns_per_voxel"] for v in r.values()) for s, r in results.items()}
    print(f"{'all':22}" + "".join(f"{t:>11.1f}       " for t in totals.values()))
    print(f"largest over smallest: {max(totals.values()) / min(totals.values()):.2f}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
