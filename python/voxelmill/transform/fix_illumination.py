"""Fix illumination: one flat field for all tiles and all planes of a slice (`illumination.py`).

What tiles show alike through different parts of the field tells the field, so tiles are placed first, to a fraction of a
pixel. The light is multiplied, what the detector reads without light is added: that is read above the surface.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.provenance import Task
from ..core.stage import In, Out
from . import illumination
from .fix_focal_curvature import Overlapping
from .slice_notes import Notes, one_step
from .slice_statistics import Clipped, Levels, surface, without_light
from .tile_grid import TileGrid, open_grid
from .tile_layout import by_overlap, place

REACH = 10.0  # px by which tiles may lie beside where the stage has them
THIN = 2  # px: of a tile one A-line of THIN x THIN tells how bright it is
BANDS = 2  # of depth that are registered: light is smooth, a tenth of a pixel does not matter here


class Parameters(Clipped, Overlapping):
    """Illumination."""


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: Out, notes: Out | None = None) -> None:
    one_step(task, output, notes, lambda: light(open_grid(grid), p))


def light(grid: TileGrid, p: Parameters) -> tuple[TileGrid, Notes]:
    """The grid, evenly lit. Raises DataError where nothing shines."""
    seen = Glances(grid, p.clip_percentile_upper)
    matrix = by_overlap(grid, p.stitch_overlap_fraction)
    placed, _ = place(seen.grid, matrix, REACH, bands=BANDS)
    cells, dark = seen.cells(), seen.dark()
    field = illumination.estimate(cells, placed.positions * (cells.shape[1] / grid.tile[1]), dark)
    flat = field.flat(grid.tile[1:])
    after = np.stack([illumination.correct(np.nan_to_num(c), field.flat(c.shape), dark) for c in cells])
    found = {
        "flat": flat,
        "cells_before": np.nan_to_num(cells).astype(np.float32),
        "cells_after": after.astype(np.float32),
        "grid_counts": np.array(grid.counts),
        "illumination_cv": float(flat.std()),
        "illumination_dark": dark,
        "illumination_spread": field.spread,
    }
    return grid.mapped(lambda tile: illumination.correct(tile, flat, dark)), found


class Glances:
    """What is kept of each tile as it goes by: mean over depth by cells, mean A-line."""

    def __init__(self, grid: TileGrid, percentile: float):
        self.n, self.percentile, self.of = len(grid), percentile, dict[int, tuple[np.ndarray, np.ndarray]]()
        self.whole = grid
        self.grid = replace(grid, read=self.read)

    def read(self, i: int) -> np.ndarray:
        tile = self.whole.read(i)
        if i not in self.of:
            levels = Levels(1)
            levels.add(tile[None, :, ::THIN, ::THIN])
            most = np.float32(levels.percentile(self.percentile)[0])
            plane = np.minimum(tile, most).mean(0)
            cells = illumination.reduced(plane)
            acquired = illumination.reduced((plane != 0).astype(np.float32)) > 0.999
            self.of[i] = np.where(acquired, cells, np.nan), tile.mean((1, 2), dtype=np.float64)
        return tile

    def cells(self) -> np.ndarray:
        """(n, gy, gx), NaN where nothing was acquired; tiles that nobody asked for are read now."""
        for i in range(self.n):
            if i not in self.of:
                self.read(i)
        return np.stack([self.of[i][0] for i in range(self.n)])

    def dark(self) -> float:
        """What is read without light, of all tiles that show something."""
        profile = np.mean([self.of[i][1] for i in range(self.n) if self.of[i][1].any()] or [np.zeros(1)], axis=0)
        return without_light(profile, surface(profile))
