"""Resampling of small boxes by a matrix an axis: means where it gets coarser, so that nothing is aliased; else linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import levels
from ..core.device import on_host
from ..core.space import SAME
from ..core.volume import Image, Region

HELD = 3  # chunks along each axis that are read at a time: 60 MB of float32
WHOLE = 1e-3  # of a sample: what is so near to a whole number is one
Triple = tuple[int, int, int]


def sizes_at(resolution: float, size: Sequence[int], native: Sequence[float]) -> tuple[Triple, list[float]]:
    """Size of a box of voxels `native` at `resolution` (same unit), and how many old voxels a new one is wide.

    -1: as it is, and so where voxels have that size already: so near that boxes left as they are have `one_size`. What is
    left over at the end is cut off."""
    steps = [resolution / v if resolution > 0 else 1.0 for v in native]
    if np.allclose(steps, 1, rtol=0, atol=SAME / 2):
        return (size[0], size[1], size[2]), [1.0, 1.0, 1.0]
    new = [max(1, int(n / step + WHOLE)) for n, step in zip(size, steps)]
    return (new[0], new[1], new[2]), steps


def weights(n: int, m: int, step: float) -> np.ndarray:
    """(m, n): what each of n samples counts in each of m new ones that are `step` samples wide. Rows add up to 1."""
    if step >= 1:
        first = np.arange(m)[:, None] * step
        of = np.minimum(first + step, np.arange(1, n + 1)) - np.maximum(first, np.arange(n))
    else:
        centre = np.clip((np.arange(m) + 0.5) * step - 0.5, 0, n - 1)[:, None]
        of = 1 - np.abs(centre - np.arange(n))
    of = of.clip(0)
    return (of / of.sum(1, keepdims=True)).astype(np.float32)


def cells(n: int, step: float) -> int:
    """How many cells of `step` samples cover n samples; the last may reach beyond them."""
    return max(1, math.ceil(n / step - WHOLE))


def means(n: int, of: slice, step: float) -> tuple[slice, np.ndarray]:
    """Which of n samples count in the cells `of`, and the (cells, samples) matrix that takes their means.

    step: samples in a cell, 1 at least. Where borders of cells cut samples, the mean is that of the line through the
    samples: half a sample lies elsewhere than its middle. Cells that an edge cuts count with what they have."""
    whole = abs(step - round(step)) < WHOLE
    reach = 0 if whole else 1
    first, last = max(0, math.floor(of.start * step) - reach), min(n, math.ceil(of.stop * step) + reach)
    border = np.arange(of.start, of.stop + 1)[:, None] * step - 0.5 - np.arange(first, last)  # samples from each
    below = (border + 0.5).clip(0, 1) if whole else _below(border)
    inside = np.diff(below, axis=0)
    return slice(first, last), (inside / inside.sum(1, keepdims=True)).astype(np.float32)


def _below(at: np.ndarray) -> np.ndarray:
    """How much of a triangle from -1 to 1, of area 1, lies below `at`."""
    t = at.clip(-1, 1)
    return np.where(t < 0, (1 + t) ** 2 / 2, 1 - (1 - t) ** 2 / 2)


def along_axes(box: np.ndarray, matrices: Sequence[np.ndarray], xp: Any = np) -> np.ndarray:
    """A box (z, y, x) with a matrix applied along each axis, on the array module `xp`; float32."""
    made = xp.asarray(box)
    for axis, matrix in enumerate(matrices):
        made = xp.moveaxis(xp.tensordot(xp.asarray(matrix), made, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(on_host(made, xp), np.float32)


def filled(image: Image, steps: Sequence[float], region: Region, level: int = 0) -> np.ndarray:
    """A region of what has cells of `steps` voxels of an image's level: float32; HELD chunks of it in memory a time."""
    shape, chunk = image.level(level).shape, image.layout(level).chunk
    made = np.empty([r.stop - r.start for r in region], np.float32)
    for tile in levels.tiles(region, [max(1, int(HELD * c / s)) for c, s in zip(chunk, steps)]):
        at, matrices = zip(*(means(n, t, s) for n, t, s in zip(shape, tile, steps)))
        inside = tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(tile, region))
        made[inside] = along_axes(image.read(at, level), matrices)
    return made
