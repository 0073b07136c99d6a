"""Fix illumination: one flat field for all tiles and all planes of a slice (`illumination.py`).

What tiles show alike through different parts of the field tells the field, so tiles are placed first, to a fraction of a
pixel. The light is multiplied, what the detector reads without light is added: that is read above the surface.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.provenance import Task
from ..core.shared import Device
from ..core.stage import In, Out
from . import illumination
from .fix_focal_curvature import Overlapping
from .slice_notes import Notes, one_step
from .slice_statistics import Clipped, Levels, agreed, surface, without_light
from .tile_grid import TOP, TileGrid, open_grid, parts, saturated
from .tile_layout import by_overlap, place

REACH = 10.0  # px by which tiles may lie beside where the stage has them
FULL = 0.2  # of an A-line, from which on it is saturated and tells no light
ENOUGH = 0.5  # of what was acquired: where less is left, light is found by all of it
THIN = 2  # px: of a tile one A-line of THIN x THIN tells how bright it is
BANDS = 2  # of depth that are registered: light is smooth, a tenth of a pixel does not matter here


class Parameters(Clipped, Device, Overlapping):
    """Illumination."""


def run(
    p: Parameters, task: Task, *, grid: In, slice: str, output: Out, light: In | None = None, notes: Out | None = None
) -> None:
    xp = task.arrays(p.use_gpu)
    one_step(task, output, notes, lambda: lit(open_grid(grid), p, None if light is None else np.load(light), xp))


def lit(grid: TileGrid, p: Parameters, coefficients: np.ndarray | None = None, xp: Any = np) -> tuple[TileGrid, Notes]:
    """The grid, evenly lit on the array module `xp`: by a field that is known (its `coefficients`), or by its own.

    Raises DataError where nothing shines."""
    seen = Glances(grid, p.clip_percentile_upper)
    own, spread = estimate(seen, p) if coefficients is None else (coefficients, float("nan"))
    cells, dark = seen.cells(), seen.dark()
    field = illumination.Field(own, spread, dark)
    flat = field.flat(grid.tile[1:])
    after = np.stack([illumination.correct(np.nan_to_num(c), field.flat(c.shape), dark) for c in cells])
    found = {
        "flat": flat,
        "cells_before": np.nan_to_num(cells).astype(np.float32),
        "cells_after": after.astype(np.float32),
        "grid_counts": np.array(grid.counts),
        "illumination_cv": float(flat.std()),
        "illumination_dark": dark,
    }
    if coefficients is None:
        found["illumination_spread"] = spread
    return grid.by_rows(lambda lines, rows: illumination.correct(lines, flat[rows], dark, xp)), found


def estimate(seen: Glances, p: Overlapping) -> tuple[np.ndarray, float]:
    """The field that a slice shows: coefficients of log flat, and the spread of what neighbours show after it."""
    placed, _ = place(seen.grid, by_overlap(seen.grid, p.stitch_overlap_fraction), REACH, bands=BANDS)
    cells = seen.cells()
    field = illumination.estimate(cells, placed.positions * (cells.shape[1] / seen.grid.tile[1]), seen.dark())
    return field.coefficients, field.spread


def acquired_down_to(tile: np.ndarray) -> int:
    """Planes that nearly all A-lines of a tile (z, y, x) have: where its focus was flattened some end early, at 0."""
    seen = ((tile[:, rows] != 0)[::-1] for rows in parts(tile.shape))
    empty = np.concatenate([of.argmax(0)[of.any(0)] for of in seen])  # below the last voxel of an A-line
    return len(tile) - (int(np.quantile(empty, 0.99, method="higher")) if empty.size else 0)


class Glances:
    """What is kept of each tile as it goes by: mean over depth by cells, mean A-line."""

    def __init__(self, grid: TileGrid, percentile: float):
        self.n, self.percentile, self.of = len(grid), percentile, dict[int, tuple[np.ndarray, np.ndarray]]()
        self.full: dict[int, np.ndarray] = {}
        self.whole = grid
        self.grid = replace(grid, read=self.read)

    def read(self, i: int) -> np.ndarray:
        tile = self.whole.read(i)
        if i not in self.of:
            levels = Levels(1)
            for rows in parts(tile.shape):
                levels.add(tile[None, :, rows][..., ::THIN, ::THIN])
            most = np.float32(levels.percentile(self.percentile)[0])
            down = acquired_down_to(tile)
            plane = np.concatenate([np.minimum(tile[:down, rows], most).mean(0) for rows in parts(tile.shape)])
            cells = illumination.reduced(plane)
            acquired = illumination.reduced((plane != 0).astype(np.float32)) > 0.999
            self.full[i] = np.zeros(cells.shape, bool)
            if found := saturated(tile):
                top = np.float32(found[1]) * TOP
                full = np.concatenate([(tile[:down, rows] >= top).mean(0) > FULL for rows in parts(tile.shape)])
                self.full[i] = illumination.reduced(full.astype(np.float32)) > 0
            self.of[i] = np.where(acquired, cells, np.nan), tile.mean((1, 2), dtype=np.float64)
        return tile

    def cells(self) -> np.ndarray:
        """(n, gy, gx), NaN where nothing was acquired, or what was is saturated; tiles that nobody asked for are read now."""
        for i in range(self.n):
            if i not in self.of:
                self.read(i)
        found = np.stack([self.of[i][0] for i in range(self.n)])
        left = np.where(np.stack([self.full[i] for i in range(self.n)]), np.nan, found)
        return left if np.isfinite(left).sum() >= ENOUGH * np.isfinite(found).sum() else found

    def dark(self) -> float:
        """What is read without light, of all tiles that show something."""
        tiles = np.array([self.of[i][1] for i in range(self.n) if self.of[i][1].any()] or [np.zeros(1)])
        profile, _ = agreed(tiles.mean(0), tiles.T)
        return without_light(profile, surface(profile))
