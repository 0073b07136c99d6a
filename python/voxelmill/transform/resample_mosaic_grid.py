"""Resample a mosaic grid: every tile to cubic voxels of --resolution.

Coarser: means over what a new voxel covers, so that nothing is aliased; finer: linear. The new voxels have the size that
was asked for; of the last one of a tile a part may lie beyond it.
"""

from __future__ import annotations

import numpy as np

from ..core.provenance import Task
from ..core.shared import Resolution, Strict
from ..core.stage import In, Out
from .slice_notes import or_left_out
from .tile_grid import TileGrid, open_grid

UM_PER_MM = 1e3
SAME = 1e-3  # relative: voxel sizes that need no resampling


class Parameters(Resolution, Strict):
    """Resampling of mosaic grids."""


def run(p: Parameters, task: Task, *, grid: In, block: str, output: Out) -> None:
    with or_left_out(task):
        resample(open_grid(grid), p).save(output)


def resample(grid: TileGrid, p: Resolution) -> TileGrid:
    """The grid at --resolution; as it is where that is -1 or the voxel size already."""
    if p.resolution <= 0:
        return grid
    steps = [p.resolution / UM_PER_MM / s for s in grid.space.scale]
    if np.allclose(steps, 1, atol=SAME):
        return grid
    sizes = [max(1, round(n / step)) for n, step in zip(grid.tile, steps)]
    matrices = [weights(n, m, step) for n, m, step in zip(grid.tile, sizes, steps)]
    tile: tuple[int, int, int] = tuple(sizes)  # type: ignore[assignment]
    return grid.mapped(lambda values: along_axes(values, matrices), tile, grid.space.level(steps))


def weights(n: int, m: int, step: float) -> np.ndarray:
    """(m, n): what each of n samples counts in each of m new ones that are `step` samples wide. Rows add up to 1."""
    if step >= 1:
        first = np.arange(m)[:, None] * step
        inside = np.minimum(first + step, np.arange(1, n + 1)) - np.maximum(first, np.arange(n))
        of = np.clip(inside, 0, None)
    else:
        centre = np.clip((np.arange(m) + 0.5) * step - 0.5, 0, n - 1)[:, None]
        of = np.clip(1 - np.abs(centre - np.arange(n)), 0, None)
    return (of / of.sum(1, keepdims=True)).astype(np.float32)


def along_axes(tile: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """A tile (z, y, x) with a matrix applied along each axis; float32."""
    from scipy.sparse import csr_array  # one thread, one order: the same bytes everywhere

    for axis, matrix in enumerate(matrices):
        moved = np.moveaxis(tile, axis, 0)
        made = csr_array(matrix) @ np.ascontiguousarray(moved).reshape(len(moved), -1)
        tile = np.moveaxis(made.reshape(len(matrix), *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(tile, np.float32)
