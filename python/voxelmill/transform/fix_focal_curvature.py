"""Fix focal curvature: the surface of the block, bent alike in every tile by the optics, made flat again.

    depth of the surface in tile i at p = sag(p) + the block's own surface at position_i + p

Where tiles overlap they show one surface, which cancels: what is left tells the sag, by the same least squares as the
light (`illumination.py`). A-lines are moved up by it, by fractions of a voxel; nothing comes round from the other end:
where an A-line ends early it is 0, not acquired.
"""

from __future__ import annotations

import numpy as np

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from . import illumination
from .slice_notes import Notes, one_step
from .slice_statistics import EDGE
from .tile_grid import TileGrid, open_grid
from .tile_layout import by_overlap, positions

CELLS = 16  # along the longer side of a tile: A-lines of a cell find the surface together
VOXELS = 10.0  # the sag is looked for in units of this: `illumination.PRIOR` holds a field to about 1
CLEAR = 4.0  # times the usual change from plane to plane, by which the surface must stand out


class Overlapping(Strict):
    """How tiles were acquired."""

    stitch_overlap_fraction: float = param(0.2, "Part of a tile that its neighbour shows too, as acquired", ge=0, lt=1)


class Parameters(Overlapping):
    """Focal curvature."""


class Flattening(Params):
    """Whether the focus is flattened."""

    fix_curvature_enabled: bool = param(False, "Flatten the focus: move A-lines so that the surface is as flat as the block")


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: Out, notes: Out | None = None) -> None:
    one_step(task, output, notes, lambda: flatten(open_grid(grid), p))


def flatten(grid: TileGrid, p: Overlapping) -> tuple[TileGrid, Notes]:
    """The grid with a flat focus."""
    depths = np.stack([depth_of_surface(grid.read(i)) for i in range(len(grid))])
    cells = positions(grid, by_overlap(grid, p.stitch_overlap_fraction)) * (depths.shape[1] / grid.tile[1])
    if not np.isfinite(depths).any():
        return grid, {"notes_curvature": "no tile shows a surface: focal curvature left as it is"}
    coefficients, spread = illumination.shared_field(depths / VOXELS, cells)
    sag = VOXELS * illumination.polynomial(coefficients, grid.tile[1:])
    sag -= sag.min()
    found = {"sag": sag.astype(np.float32), "sag_voxels": float(sag.max()), "sag_spread_voxels": float(VOXELS * spread)}
    return grid.by_rows(lambda lines, rows: raised(lines, sag[rows])), found


def depth_of_surface(tile: np.ndarray) -> np.ndarray:
    """(gy, gx) depth of the surface in a tile (z, y, x), planes to a fraction; NaN where none stands out."""
    from scipy.ndimage import gaussian_filter1d

    cells = np.stack([illumination.reduced(plane, CELLS) for plane in tile])
    rise = gaussian_filter1d(cells, EDGE, axis=0, order=1, mode="nearest")
    k = np.clip(rise.argmax(0), 1, len(tile) - 2)
    a, b, c = (np.take_along_axis(rise, (k + d)[None], 0)[0] for d in (-1, 0, 1))
    depth = k + 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-12)
    return np.where(b > CLEAR * np.median(np.abs(rise), axis=0), depth, np.nan)


def raised(tile: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Every A-line of a tile (z, y, x) moved up by so many voxels (y, x), linear in between; 0 where it ends."""
    whole = np.floor(by).astype(int)
    part = (by - whole).astype(np.float32)
    below = np.concatenate([tile, np.zeros_like(tile[:1])])
    out = np.zeros_like(tile)
    for k in np.unique(whole).tolist():
        at = whole == k
        upper, lower, share = below[k:-1, at], below[k + 1 :, at], part[at]
        ends = (upper == 0) | ((lower == 0) & (share > 0))
        out[: len(upper), at] = np.where(ends, 0, upper + share * (lower - upper))
    return out
