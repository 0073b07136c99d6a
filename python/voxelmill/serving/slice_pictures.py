"""Small pictures of slices: grey, so bright that 0.5 to 99.5 % of what is there is told apart, MOST_PX at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.device import on_host
from ..core.volume import Image

MOST_PX = 2048
HELD = 64 << 20  # voxels of a store in memory at a time


def mean_over_depth(image: Image, xp: Any = np) -> np.ndarray:
    """(dim 1, dim 2) float32: the average intensity projection, at full resolution, a row of tiles at a time, made on the
    array module `xp`."""
    lay = image.layout()
    rows = lay.chunk[1] * max(1, HELD // (lay.shape[0] * lay.shape[2] * lay.chunk[1]))
    runs = [slice(a, min(a + rows, lay.shape[1])) for a in range(0, lay.shape[1], rows)]
    parts = [on_host(xp.asarray(image.read((slice(None), run))).mean(0, dtype=np.float64), xp) for run in runs]
    return np.concatenate(parts).astype(np.float32)


def reduced(plane: np.ndarray, most: int = MOST_PX) -> np.ndarray:
    """Means of squares, so that no side is longer than `most`."""
    k = -(-max(plane.shape) // most)
    if k == 1:
        return plane
    n, m = (s // k * k for s in plane.shape)
    return plane[:n, :m].reshape(n // k, k, m // k, k).mean((1, 3))


def bounds(values: np.ndarray) -> tuple[float, float]:
    """Grey values shown as black and white; 0, where nothing is, does not count."""
    there = values[values > 0]
    if not there.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(there, [0.5, 99.5]))
    return low, high if high > low else low + 1


def save_grey(path: Path, plane: np.ndarray) -> None:
    """As a PNG, the same bytes every time."""
    import matplotlib.image

    low, high = bounds(plane)
    matplotlib.image.imsave(path, plane, vmin=low, vmax=high, cmap="gray", format="png", metadata={"Software": ""})
