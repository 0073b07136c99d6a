"""Resampling of small boxes by a matrix an axis: means where it gets coarser, so that nothing is aliased; else linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SAME = 1e-3  # relative: voxel sizes that need no resampling
Triple = tuple[int, int, int]


def sizes_at(resolution: float, size: Sequence[int], native: Sequence[float]) -> tuple[Triple, list[float]]:
    """Size of a box of voxels `native` at `resolution` (same unit), and how many old voxels a new one is wide.

    -1: as it is, and so where voxels have that size already. What is left over at the end is cut off."""
    steps = [resolution / v if resolution > 0 else 1.0 for v in native]
    if np.allclose(steps, 1, atol=SAME):
        return (size[0], size[1], size[2]), [1.0, 1.0, 1.0]
    new = [max(1, int(n / step + SAME)) for n, step in zip(size, steps)]
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


def along_axes(box: np.ndarray, matrices: Sequence[np.ndarray], xp: Any = np) -> np.ndarray:
    """A box (z, y, x) with a matrix applied along each axis, on the array module `xp`; float32."""
    made = xp.asarray(box)
    for axis, matrix in enumerate(matrices):
        made = xp.moveaxis(xp.tensordot(xp.asarray(matrix), made, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(made if xp is np else xp.asnumpy(made), np.float32)
