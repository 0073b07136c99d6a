"""Resample a mosaic grid: every tile to cubic voxels of --resolution.

Coarser: means over what a new voxel covers, so that nothing is aliased; finer: linear. The new voxels have the size that
was asked for; what is left over at the end of a tile is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..core.provenance import Task
from ..core.shared import Device, Resolution, Strict
from ..core.stage import In, Out
from .resampling import along_axes, sizes_at, weights
from .slice_notes import of_voxels, or_left_out
from .tile_grid import PART, TileGrid, open_grid

UM_PER_MM = 1e3


class Parameters(Resolution, Device, Strict):
    """Resampling of mosaic grids."""


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: Out) -> None:
    with or_left_out(task):
        made = resample(open_grid(grid), p, task.arrays(p.use_gpu))
        made.save(output)
        task.report(**of_voxels(made))


def resample(grid: TileGrid, p: Resolution, xp: Any = np) -> TileGrid:
    """The grid at --resolution, made on the array module `xp`; as it is where that is -1 or the voxel size already."""
    native = [s * UM_PER_MM for s in grid.space.scale]
    tile, steps = sizes_at(p.resolution, grid.tile, native)
    if tile == grid.tile and steps == [1.0, 1.0, 1.0]:
        return grid
    matrices = [weights(*of) for of in zip(grid.tile, tile, steps)]
    return grid.mapped(partial(_resampled, matrices=matrices, xp=xp), tile, grid.space.level(steps))


def _resampled(values: np.ndarray, matrices: Sequence[np.ndarray], xp: Any) -> np.ndarray:
    """As `along_axes`, some planes at a time."""
    down, *across = matrices
    out = np.empty([len(m) for m in matrices], np.float32)
    step = max(1, PART * len(down) // values.size)
    for first in range(0, len(down), step):
        of = down[first : first + step]
        used = np.flatnonzero(of.any(0))
        z = slice(used[0], used[-1] + 1)
        out[first : first + step] = along_axes(values[z], [of[:, z], *across], xp)
    return out
