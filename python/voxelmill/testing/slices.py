"""Made slices, as `normalize` leaves them: for tests of what follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import manifest
from ..core.space import MM, Axis, Space
from ..core.volume import create_image, layout

STEP = 0.01  # mm


def slice_store(
    folder: Path, n: int, values: np.ndarray, origin: tuple[float, float, float] = (0, 0, 0), step: float = STEP
) -> Path:
    path = folder / f"slice_z{n:02d}_normalize.ome.zarr"
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (step,) * 3, origin)
    lay = layout(values.shape, "float32", (64, 64, 64), (32, 32, 32))
    create_image(path, lay, space).write(tuple(slice(0, k) for k in values.shape), values.astype(np.float32))
    manifest.write(path)
    return path


def texture(shape: tuple[int, ...], seed: int = 0, grain: float = 1.5) -> np.ndarray:
    from scipy import ndimage

    made = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), grain)
    return (0.2 + 0.6 * (made - made.min()) / np.ptp(made)).astype(np.float32)
