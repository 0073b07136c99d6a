"""Tiles of a mosaic: where they lie, how they are lit, and how fast; beside the usual way, in one run.

    python benchmarks/mosaic.py             16 tiles of 512 px and 64 of 1024 px, TIFF files, made here with known truth
    python benchmarks/mosaic.py --large     1,024 tiles of 256 px too: is time linear in tiles?

The usual way: phase correlation of the nominal overlaps (OpenCV) and least squares over all of them.
CPU seconds of one thread, reading included.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before the libraries are loaded

# ruff: noqa: E402
import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import tifffile
from voxelmill.testing.mosaics import Mosaic, mosaic
from voxelmill.transform import illumination
from voxelmill.transform.tile_positions import neighbours, place

cv2.setNumThreads(1)


def usual(read, made: Mosaic) -> np.ndarray:
    """Positions by phase correlation of nominal overlaps and plain least squares."""
    pairs = neighbours(made.nominal, made.shapes)
    matrix, right = np.zeros((len(pairs) + 1, len(made.nominal))), np.zeros((len(pairs) + 1, 2))
    matrix[-1, 0] = 1
    for k, (a, b) in enumerate(pairs):
        d = np.rint(made.nominal[b] - made.nominal[a]).astype(int)
        one, other = (read(n).astype(np.float32) for n in (a, b))
        first, last = np.maximum(d, 0), np.minimum(np.array(one.shape), np.array(other.shape) + d)
        cut = tuple(slice(*s) for s in zip(first, last, strict=True))
        there = tuple(slice(*s) for s in zip(first - d, last - d, strict=True))
        window = cv2.createHanningWindow(one[cut].shape[::-1], cv2.CV_32F)
        (x, y), _ = cv2.phaseCorrelate(one[cut], other[there], window)
        matrix[k, [a, b]], right[k] = (-1, 1), d - (y, x)
    return np.linalg.lstsq(matrix, right, rcond=None)[0]


def case(rows: int, tile: int, folder: Path) -> None:
    made = mosaic(rows, rows, tile, overlap=0.15, jitter=3.0, seed=rows)
    for n, pixels in enumerate(made.tiles):
        tifffile.imwrite(folder / f"{n:04d}.tif", pixels)
    pixels = made.tiles.size / 1e6

    def read(n: int) -> np.ndarray:
        return tifffile.imread(folder / f"{n:04d}.tif")

    start = time.process_time()
    found = place(read, made.nominal, made.shapes)
    ours = time.process_time() - start
    start = time.process_time()
    cells = np.stack([illumination.reduced(read(n)) for n in range(len(made.nominal))])
    light = illumination.estimate(cells, found.positions * illumination.CELLS / tile)
    lit = time.process_time() - start
    left = made.flat / light.flat((tile, tile))
    start = time.process_time()
    theirs = usual(read, made)
    peer = time.process_time() - start
    print(f"\n{rows * rows} tiles of {tile} px; the stage is off by {made.error(made.nominal):.2f} px RMS")
    print(f"  placed      {made.error(found.positions):.3f} px RMS, {pixels / ours:.1f} Mpx per CPU s")
    print(f"  usual way   {made.error(theirs):.3f} px RMS, {pixels / peer:.1f} Mpx per CPU s; "
          f"ours is off by {made.error(found.positions) / made.error(theirs):.3f} of it")  # fmt: skip
    before, after = (float(one.std() / one.mean()) for one in (made.flat, left))
    print(f"  light       {before:.3f} uneven, {after:.4f} after; {lit:.2f} CPU s")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, the made tiles included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    sizes = [(4, 512), (8, 1024)] + ([(16, 256), (32, 256)] if parser.parse_args().large else [])
    mosaic(2, 2)  # imports are not timed
    for rows, tile in sizes:
        with tempfile.TemporaryDirectory() as folder:
            case(rows, tile, Path(folder))


if __name__ == "__main__":
    main()
