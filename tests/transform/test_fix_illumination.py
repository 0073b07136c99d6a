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


def test_scattered_saturation_leaves_light_to_tell_and_a_whole_part_none() -> None:
    """Resampled by a fraction: the highest value is not the same to the last bit."""
    rng = np.random.default_rng(0)
    tile = np.minimum(rng.exponential(1, (24, 32, 32)), 3).astype(np.float32) * rng.uniform(1, 1.00001, (24, 32, 32))
    part = tile.copy()
    part[:, :, :8] = 3
    space = Space.zyx((1, 1, 1))
    lost = [np.isnan(Glances(TileGrid(t.shape, (1, 1), space, lambda _, t=t: t), 99.9).cells()[0]) for t in (tile, part)]
    assert lost[0].mean() < 0.02 and lost[1][:, :8].all() and lost[1][:, 8:].mean() < 0.02
