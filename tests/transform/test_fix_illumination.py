"""Illumination: what is read without light is told from the planes above the surface (evenness: test_prepare_slice)."""

from __future__ import annotations

import numpy as np
from voxelmill.core.space import Space
from voxelmill.transform.fix_illumination import Glances
from voxelmill.transform.tile_grid import TileGrid


def test_dark_is_read_above_the_surface() -> None:
    tile = np.full((30, 32, 32), 100, np.float32)
    tile[:10] = 7
    grid = TileGrid((30, 32, 32), (1, 1), Space.zyx((1, 1, 1)), lambda _: tile)
    seen = Glances(grid, 99.9)
    assert seen.cells().shape == (1, 32, 32) and abs(seen.dark() - 7) < 1e-3


def test_what_was_not_acquired_is_unknown() -> None:
    grid = TileGrid((4, 32, 32), (1, 1), Space.zyx((1, 1, 1)), lambda _: np.zeros((4, 32, 32), np.float32))
    assert np.isnan(Glances(grid, 99.9).cells()).all()
