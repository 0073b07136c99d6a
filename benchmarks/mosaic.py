"""Tiles of a mosaic: where they lie, how they are lit, how fast and in what memory; beside others, in one run.

    python benchmarks/mosaic.py                    16 tiles of 512 px, 64 of 1024 px: TIFF files, made here with known truth
    python benchmarks/mosaic.py --large            256 and 1,024 tiles of 256 px too: is time linear in tiles?
    python benchmarks/mosaic.py --noise            few photons, few objects: beside what the noise allows
    python benchmarks/mosaic.py --peers PYTHON     ASHLAR and m2stitch beside it, by a Python that has them
    python benchmarks/mosaic.py --tiles FOLDER --positions TABLE     one's own tiles: loop closure and quality

The usual way: phase correlation of the nominal overlaps (OpenCV) and least squares over all of them. CPU seconds of one
thread, reading included. Ours are those of the stages as the workflow runs them, each a process of its own; stitching
writes the mosaic, which the others' figures do not hold.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before the libraries are loaded

# ruff: noqa: E402
import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from voxelmill.core import plans
from voxelmill.testing.mosaics import Mosaic, mosaic, write_tiles
from voxelmill.transform import illumination
from voxelmill.transform.tile_positions import neighbours, place

cv2.setNumThreads(1)
HERE = Path(__file__).parent
BIN = HERE.parent / "bin"


@dataclass
class Result:
    """Positions (n, 2) px; CPU seconds; MB at most."""

    positions: np.ndarray
    cpu_s: float
    peak_mb: float


def run(command: list[object], **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell that forks: what it reports as peak memory then does not begin with ours."""
    return subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *map(str, command)], capture_output=True, text=True, **more)


def stage(folder: Path, name: str, **words: object) -> dict:
    """The record of a stage, run as the workflow runs it."""
    said = [w for key, value in words.items() for w in (f"--{key}", *(value if isinstance(value, list) else [value]))]
    run([sys.executable, BIN / f"{name}.py", *said], cwd=folder, check=True)
    (record,) = sorted(folder.glob(f"{name}.*provenance.json"))[-1:]
    return json.loads(record.read_text())


def ours(tiles: Path, table: Path, folder: Path) -> tuple[Result, dict, list[dict[str, str]]]:
    """What `place_tiles` finds; the record of `stitch_tiles`; the seams."""
    folder.mkdir(exist_ok=True)
    stage(folder, "inspect_tiles", source=tiles, positions=table, tiles="tiles.json", section_list="sections.csv")
    placed = {
        "source": tiles,
        "tiles": "tiles.json",
        "block": "0-0",
        "positions": "p.csv",
        "seams": "s.csv",
        "light": "l.npz",
    }
    found = stage(folder, "place_tiles", **placed)
    lists = {"block_list": "blocks.csv", "superblock_list": "superblocks.csv", "of_blocks": "of_blocks"}
    out = {"mosaic": "mosaic.json", "tile_positions": "tile_positions.csv", "tile_seams": "tile_seams.csv"}
    stage(
        folder,
        "plan_mosaic",
        tiles="tiles.json",
        sections="sections.csv",
        positions=["p.csv"],
        seams=["s.csv"],
        light=["l.npz"],
        blocks=1,
        **out,
        **lists,
    )
    (row,) = plans.read(folder / "blocks.csv")
    words = {"source": tiles, "mosaic": "mosaic.json", "block": row["block"], "output": "mosaic.ome.zarr"}
    stitched = stage(folder, "stitch_tiles", **words, stitch_blending_method="narrow")
    with open(folder / "tile_positions.csv", newline="") as file:
        positions = np.array([(float(r["y"]), float(r["x"])) for r in csv.DictReader(file)])
    with open(folder / "tile_seams.csv", newline="") as file:
        seams = list(csv.DictReader(file))
    return Result(positions, found["cpu_s"], found["peak_memory_bytes"] / 2**20), stitched, seams


def theirs(python: str, peer: str, tiles: Path, table: Path, seconds: int) -> Result | str:
    """What a peer finds, or why there is nothing."""
    done = run(["timeout", seconds, python, HERE / "mosaic_peers.py", peer, tiles, table])
    if done.returncode == 124:
        return f"no result within {seconds} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no result"])[-1][:100]
    found = json.loads(done.stdout.splitlines()[-1])
    return Result(np.array(found["positions"]), found["cpu_s"], found["peak_mb"])


def usual(tiles: Path, made: Mosaic) -> Result:
    """Phase correlation of nominal overlaps and plain least squares."""
    start = time.process_time()
    pairs = neighbours(made.nominal, made.shapes)
    matrix, right = np.zeros((len(pairs) + 1, len(made.nominal))), np.zeros((len(pairs) + 1, 2))
    matrix[-1, 0] = 1
    for k, (a, b) in enumerate(pairs):
        d = np.rint(made.nominal[b] - made.nominal[a]).astype(int)
        one, other = (tifffile.imread(tiles / f"{n:04d}.tif").astype(np.float32) for n in (a, b))
        first, last = np.maximum(d, 0), np.minimum(np.array(one.shape), np.array(other.shape) + d)
        cut = tuple(slice(*s) for s in zip(first, last, strict=True))
        there = tuple(slice(*s) for s in zip(first - d, last - d, strict=True))
        window = cv2.createHanningWindow(one[cut].shape[::-1], cv2.CV_32F)
        (x, y), _ = cv2.phaseCorrelate(one[cut], other[there], window)
        matrix[k, [a, b]], right[k] = (-1, 1), d - (y, x)
    positions = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return Result(positions, time.process_time() - start, float("nan"))


def lit(tiles: Path, made: Mosaic, positions: np.ndarray) -> str:
    """How even tiles are, before and after."""
    start = time.process_time()
    cells = np.stack([illumination.reduced(tifffile.imread(tiles / f"{n:04d}.tif")) for n in range(len(positions))])
    light = illumination.estimate(cells, positions * illumination.CELLS / max(made.tiles.shape[1:]))
    used = time.process_time() - start
    left = made.flat / light.flat(made.tiles.shape[1:])
    before, after = (float(one.std() / one.mean()) for one in (made.flat, left))
    return f"{before:.3f} uneven, {after:.4f} after; {used:.2f} CPU s"


def told(name: str, found: Result | str, made: Mosaic) -> str:
    if isinstance(found, str):
        return f"  {name:12} {found}"
    speed = made.tiles.size / 1e6 / found.cpu_s
    return f"  {name:12} {made.error(found.positions):8.3f} px RMS  {speed:8.1f} Mpx per CPU s  {found.peak_mb:6.0f} MB"


def case(rows: int, tile: int, folder: Path, python: str, seconds: int) -> None:
    made = mosaic(rows, rows, tile, overlap=0.15, jitter=3.0, seed=rows)
    tiles = write_tiles(folder / "tiles", made)
    table = tiles / "positions.csv"
    found, stitched, _ = ours(tiles, table, folder / "ours")
    print(f"\n{rows * rows} tiles of {tile} px; the stage is off by {made.error(made.nominal):.2f} px RMS")
    print(told("place_tiles", found, made))
    for peer in ("ashlar", "m2stitch"):
        result = theirs(python, peer, tiles, table, seconds) if python else "absent (no --peers)"
        print(told(peer, result, made), flush=True)
    print(told("usual way", usual(tiles, made), made))
    speed, peak = made.tiles.size / 1e6 / stitched["cpu_s"], stitched["peak_memory_bytes"] / 2**20
    print(f"  {'stitch_tiles':12} {'':15} {speed:8.1f} Mpx per CPU s  {peak:6.0f} MB")
    print(f"  {'light':12} {lit(tiles, made, found.positions)}")


def own(tiles: Path, table: Path, folder: Path) -> None:
    """Tiles without truth: what seams say, and by how much they miss the joint solution."""
    found, stitched, seams = ours(tiles, table, folder)
    quality, off = (np.array([float(row[name]) for row in seams]) for name in ("quality", "residual_px"))
    print(f"\n{tiles.name}: {len(found.positions)} tiles, {len(seams)} seams")
    print(f"  quality      {np.median(quality):.3f} in the middle, {quality.min():.3f} to {quality.max():.3f}")
    print(
        f"  loop closure {np.sqrt((off**2).mean()):.3f} px RMS that seams miss the joint solution by, {off.max():.3f} at most"
    )
    print(f"  CPU          {found.cpu_s:.2f} s to place, {stitched['cpu_s']:.2f} s to stitch")


def bound(made: Mosaic) -> float:
    """px RMS: no unbiased placement of tiles whose noise is that of photons is better, the scene unknown.

    Of a seam after Knapp and Carter (1976), from smooth spectra of signal and noise; of tiles by the inverse of the
    information of all seams (Cramer and Rao)."""
    n, tile = len(made.tiles), np.array(made.tiles.shape[1:])
    information = np.zeros((n, 2, n, 2))
    for a, b in neighbours(made.nominal, made.shapes):
        first = np.clip(np.rint(made.truth[b] - made.truth[a]).astype(int), 0, None)
        last = np.minimum(tile, tile + np.rint(made.truth[b] - made.truth[a]).astype(int))
        part = made.tiles[a, first[0] : last[0], first[1] : last[1]].astype(float)
        window = np.outer(*(np.hanning(k) for k in part.shape))
        power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2 / (window**2).sum()
        at = np.stack(np.meshgrid(*(np.fft.fftfreq(k) for k in part.shape), indexing="ij"))
        ring = (np.hypot(*at) * 60).astype(int)
        noise = part.mean()  # variance of a count of photons
        smooth = np.bincount(ring.ravel(), power.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
        signal = np.clip(smooth - noise, 0, None)[ring]
        worth = signal**2 / (2 * signal * noise + noise**2) * (np.hypot(*at) < 0.5)
        of = (2 * np.pi) ** 2 * np.einsum("iyx,jyx,yx->ij", at, at, worth)
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            information[i, :, j] += sign * of
    return float(np.sqrt(np.trace(np.linalg.pinv(information.reshape(2 * n, 2 * n), rcond=1e-10)) / n))


def noisy() -> None:
    """Tiles whose noise or emptiness limits how well they can be placed; medians of three seeds."""
    print("16 tiles of 512 px")
    for photons, objects in ((2000, 1.0), (400, 1.0), (20, 1.0), (2000, 0.3), (20, 0.3), (2000, 0.1), (20, 0.1)):
        rows = []
        for seed in (31, 32, 33):
            made = mosaic(4, 4, 512, overlap=0.15, jitter=3.0, seed=seed, photons=photons, objects=objects)
            found = place(made.tiles.__getitem__, made.nominal, made.shapes, reach=51)
            rows.append((made.error(found.positions), bound(made)))
        off, least = np.median(rows, axis=0)
        print(
            f"  {photons:5d} photons, objects on {objects:4.0%}: {off:.3f} px RMS; the noise allows {least:.3f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--peers", default=os.environ.get("VOXELMILL_PEERS", ""), metavar="PYTHON")
    parser.add_argument("--seconds", type=int, default=300, help="for a peer and a case")
    parser.add_argument("--tiles", type=Path)
    parser.add_argument("--positions", type=Path)
    given = parser.parse_args()
    if given.noise:
        noisy()
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.tiles:
            own(given.tiles.resolve(), given.positions.resolve(), Path(folder) / "ours")
            return
    mosaic(2, 2)  # imports are not timed
    for rows, tile in [(4, 512), (8, 1024)] + ([(16, 256), (32, 256)] if given.large else []):
        with tempfile.TemporaryDirectory() as folder:
            case(rows, tile, Path(folder), given.peers, given.seconds)


if __name__ == "__main__":
    main()
