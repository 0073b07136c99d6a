"""Neurites where a volume is not as the network knows it: other contrast, types, depths, with black in it.

    python benchmarks/spoiled.py DATA [--only NAME ...] [--mismatch warn]

DATA is the folder with `em/`. Each row: FIB-25, z 100-124, changed as it says, raw to labels with the default parameters; VOI
and ARAND, and with 2 px at true boundaries left out. What has no data has no truth. Larger voxels are means, smaller ones
interpolated; of these a quarter of the volume is taken. --mismatch: as `--model_mismatch`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from neurites import ours, rows
from voxelmill.training.data import RECIPES, load_recipe


def spoiled(raw: np.ndarray, truth: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, volume and truth, (z, y, x)."""
    rng, level = np.random.default_rng(0), raw.astype(np.float32)

    def grey(values: np.ndarray) -> np.ndarray:
        return np.rint(values.clip(0, 255)).astype(np.uint8)

    def padded(name: str, around: list[tuple[int, int]], value: int = 0) -> tuple[str, np.ndarray, np.ndarray]:
        return name, np.pad(raw, around, constant_values=value), np.pad(truth, around)

    yield "as it is", raw, truth
    yield "gamma 0.5", grey(255 * (level / 255) ** 0.5), truth
    yield "gamma 2", grey(255 * (level / 255) ** 2), truth
    yield "a tenth of the contrast", grey(100 + level / 10), truth
    yield "lit unevenly", grey(level * np.linspace(0.4, 1.3, raw.shape[1])[:, None]), truth
    yield "hot pixels", np.where(rng.random(raw.shape) < 0.002, np.uint8(255), raw // 2), truth
    yield "noise of 15 grey levels", grey(level + rng.normal(0, 15, raw.shape)), truth
    yield "noise of 30 grey levels", grey(level + rng.normal(0, 30, raw.shape)), truth
    for n in (1, 3, 5):
        middle = slice(12 - n // 2, 13 + n // 2)
        yield f"{n} section{'s' * (n > 1)}", raw[middle], truth[middle]
    lost = np.arange(len(raw))[:, None, None] == 12
    yield "a black section", np.where(lost, np.uint8(0), raw), np.where(lost, 0, truth)
    yield padded("black beside it, 60 px", [(0, 0), (60, 60), (60, 60)])
    yield padded("black before and after it, 8 sections", [(8, 8), (0, 0), (0, 0)])
    yield padded("white beside it, 60 px", [(0, 0), (60, 60), (60, 60)], 255)
    yield "inverted", 255 - raw, truth


def resized(raw: np.ndarray, truth: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[float, ...]]]:
    """As `spoiled`, with the voxel size in nm."""
    from scipy.ndimage import zoom

    for k in (2, 3):
        cut = tuple(slice(n // k * k) for n in raw.shape)
        means = raw[cut].reshape([m for n in raw.shape for m in (n // k, k)]).mean((1, 3, 5))
        yield (
            f"voxels of {10 * k} nm",
            np.rint(means).astype(np.uint8),
            truth[cut][(slice(k // 2, None, k),) * 3],
            (10.0 * k,) * 3,
        )
    for steps in ((2, 2, 2), (1, 2, 2), (1, 4, 4)):
        fine, same = raw[:, :125, :125], truth[:, :125, :125]
        for axis, step in enumerate(steps):
            same = same.repeat(step, axis)
        size = tuple(10.0 / step for step in steps)
        yield f"voxels of {size} nm", zoom(fine, steps, order=1, mode="nearest", grid_mode=True), same, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--mismatch", default="resample")
    args = parser.parse_args()
    (part,) = load_recipe(RECIPES / "neurites.json", args.data).examples("validation")
    same = ((*one, tuple(part.voxel_size)) for one in spoiled(part.image, part.labels))
    for name, raw, truth, size in itertools.chain(same, resized(part.image, part.labels)):
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = ours(Path(folder), raw, size, None, mismatch=args.mismatch)["labels"][0.2]
        print(f"{name:40}", json.dumps(rows(truth, {0.2: found}, False)["0.2"]), flush=True)


if __name__ == "__main__":
    main()
