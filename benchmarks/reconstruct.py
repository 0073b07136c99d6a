"""Slices of OCT from mosaic grids: how well tiles are placed and lit, what a slice costs; made here with known truth.

    python benchmarks/reconstruct.py                          three seeds, 9 tiles of 48 x 128 x 128
    python benchmarks/reconstruct.py --texture VOLUME.npz     tissue that looks like a real volume (array `raw`)
    python benchmarks/reconstruct.py --large                  36 and 100 tiles too: what a slice costs as it grows
    python benchmarks/reconstruct.py --tile 48 256 256        tiles of another size: memory goes with it
    python benchmarks/reconstruct.py --inside                 4 tiles amid tissue: no agarose tells of light over depth
    python benchmarks/reconstruct.py --seed 901 902 903       other seeds, which nothing was chosen on
    python benchmarks/reconstruct.py --peers PYTHON           BaSiCPy beside our light, by a Python that has it

CPU seconds of one thread and the most memory of the stage `prepare_slice`, from its own record: start and reading
included. "alone" is the stage `fix_illumination` by itself, as with --publish_intermediates; in `prepare_slice` it writes
nothing.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before the libraries are loaded
# of stages, as in conf/limits.config
os.environ |= {"MALLOC_ARENA_MAX": "1", "MALLOC_TOP_PAD_": "64000000"}
os.environ |= {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "32000000"}

# ruff: noqa: E402
import argparse
import csv
import dataclasses
import json
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.oct_score import tile_error, uneven_depth, uneven_focus
from voxelmill.transform.fix_focal_curvature import Overlapping, flatten
from voxelmill.transform.tile_grid import open_grid

HERE = Path(__file__).parent
BIN = HERE.parent / "bin"
SEEDS = (7, 11, 23)
INSIDE = 40.0  # px of drift, for which a block is made so wide that 4 tiles lie amid its tissue
BENT = 4.0  # planes that the surface sags at the corner of a tile


def case(made: Acquisition, folder: Path, peer: str = "") -> None:
    with get_context("spawn").Pool(1) as apart:  # a child's peak memory counts from what its parent holds
        grid = apart.apply(write_mosaics, (folder / "made", made)) / "mosaic_grid_3d_z00.ome.zarr"
    files = ("--tiles", "tiles.csv", "--seams", "seams.csv", "--notes", "notes.npz", "--output", "out.ome.zarr")
    words = ("--grid", grid, "--slice", "0", "--stitch_overlap_fraction", str(made.overlap), *files)
    subprocess.run([sys.executable, BIN / "prepare_slice.py", *words], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    record = json.loads((folder / "prepare_slice.0.provenance.json").read_text())
    with open(folder / "tiles.csv") as file:
        found = np.array([[float(row["y"]), float(row["x"])] for row in csv.DictReader(file)])
    steps = np.array(made.tile[1:]) * (1 - made.overlap)
    nominal = np.array(made.tiles) * steps
    notes = np.load(folder / "notes.npz")
    left = made.flat / notes["flat"]
    print(f"seed {made.seed}, {len(made.tiles)} tiles")
    print(f"  tiles   {tile_error(made, 0, found):.3f} px RMS off; by the stage {tile_error(made, 0, nominal):.2f}")
    print(f"  light   CV {cv(left):.4f}; before {cv(made.flat):.4f}")
    print(f"          {alone(made, grid, folder)}")
    for way in ("planes", "mean"):
        print(f"          {theirs(made, grid, folder, peer, way)}")
    if "profile_gain" in notes:
        before, after = uneven_depth(made, notes["profile_gain"])
        print(f"  depth   CV {after:.4f} over the planes of agarose; before {before:.4f}")
    with get_context("spawn").Pool(1) as apart:
        before, after = apart.apply(bent, (made, folder))
    print(f"  focus   {after:.3f} planes RMS bent; before {before:.2f}")
    print(f"  surface plane {record['quality']['surface_plane']:.2f}; is at {made.surface:g}")
    start, memory = record["startup_cpu_s"], record["peak_memory_bytes"] / 1e6
    print(f"  cost    {start + record['cpu_s']:.2f} CPU s, of it {start:.2f} to start; {memory:.0f} MB")


def cv(field: np.ndarray) -> float:
    return float(field.std() / field.mean())


def alone(made: Acquisition, grid: Path, folder: Path) -> str:
    """What light costs by itself."""
    words = ("--grid", grid, "--slice", "0", "--stitch_overlap_fraction", str(made.overlap), "--output", "lit.ome.zarr")
    command = [sys.executable, BIN / "fix_illumination.py", *words]
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    record = json.loads((folder / "fix_illumination.0.provenance.json").read_text())
    size, out = (sum(f.stat().st_size for f in of.rglob("*") if f.is_file()) for of in (grid, folder / "lit.ome.zarr"))
    cost = f"{record['cpu_s']:.2f} CPU s and {record['startup_cpu_s']:.2f} to start"
    return f"alone: {cost}; {out / size:.2f} of the input written"


def theirs(made: Acquisition, grid: Path, folder: Path, python: str, way: str) -> str:
    """What BaSiCPy finds, or why there is nothing."""
    if not python:
        return f"BaSiCPy, {way}: absent (no --peers)"
    tiles = open_grid(grid)
    np.save(folder / "tiles.npy", np.stack([tiles.read(i) for i in range(len(tiles))]))
    command = ["timeout", "600", python, str(HERE / "illumination_peers.py"), way, str(folder / "tiles.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"BaSiCPy, {way}: {(done.stderr.strip().splitlines() or ['no result in 600 s'])[-1][:100]}"
    found = json.loads(done.stdout.splitlines()[-1])
    left = np.mean([cv(made.flat / field) for field in np.load(found["flat"])])
    return f"BaSiCPy, {way}: CV {left:.4f}, {found['cpu_s']:.2f} CPU s"


def linumpy(python: str) -> str:
    """Whether the Python of peers has it. Its light is BaSiCPy's, plane by plane; its other steps take its own files."""
    there = python and not subprocess.run([python, "-c", "import linumpy"], capture_output=True).returncode
    return "there; its light is BaSiCPy, planes" if there else "absent; its light is BaSiCPy, planes"


def bent(made: Acquisition, folder: Path) -> tuple[float, float]:
    """How bent the focus of a like acquisition is, before and after."""
    made = dataclasses.replace(made, curvature=BENT)
    grid = write_mosaics(folder / "bent", made) / "mosaic_grid_3d_z00.ome.zarr"
    _, found = flatten(open_grid(grid), Overlapping(stitch_overlap_fraction=made.overlap))
    return uneven_focus(made, found["sag"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texture", type=Path)
    parser.add_argument("--grid", type=int, nargs=2, default=(3, 3))
    parser.add_argument("--tile", type=int, nargs=3, default=(48, 128, 128), metavar=("Z", "Y", "X"))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--inside", action="store_true")
    parser.add_argument("--seed", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--peers", default=os.environ.get("VOXELMILL_PEERS", ""), metavar="PYTHON")
    given = parser.parse_args()
    print(f"linumpy: {linumpy(given.peers)}")
    texture = np.load(given.texture)["raw"] if given.texture else None
    few, wide = ((2, 2), INSIDE) if given.inside else (tuple(given.grid), 0.0)
    cases = [(seed, few) for seed in given.seed] + [(given.seed[0], (n, n)) for n in (6, 10) if given.large]
    for seed, grid in cases:
        made = Acquisition(slices=1, grid=grid, tile=tuple(given.tile), overlap=0.2, drift=wide, seed=seed, texture=texture)
        with tempfile.TemporaryDirectory() as folder:
            case(made, Path(folder), given.peers)


if __name__ == "__main__":
    main()
