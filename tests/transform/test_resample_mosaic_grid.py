"""Resampling of mosaic grids: tile by tile, at the size asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, run_stage


def test_tiles_are_resampled_each_for_itself(tmp_path: Path) -> None:
    raw = np.repeat(np.repeat(np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2), 8, 1), 8, 2).repeat(8, 0)
    grid = make_store(tmp_path / "g.ome.zarr", raw, (5e3, 5e3, 5e3), shard=(8, 8, 8), chunk=(8, 8, 8))
    assert run_stage("transform.resample_mosaic_grid", tmp_path, grid=grid, slice="0", output="o.ome.zarr") == 0
    made = open_image(tmp_path / "o.ome.zarr")
    assert made.layout().chunk == (4, 4, 4) and np.allclose(made.scale, 10_000) and np.allclose(made.origin, 2_500)
    assert np.allclose(made.read(), raw[::2, ::2, ::2])  # no tile bleeds into the next


def test_a_grid_whose_chunks_are_no_tiles_is_refused(tmp_path: Path) -> None:
    grid = make_store(tmp_path / "g.ome.zarr", np.ones((8, 16, 16), np.float32), shard=(4, 8, 8), chunk=(4, 8, 8))
    given = {"grid": grid, "slice": "0", "output": "o.ome.zarr", "strict": True}
    assert run_stage("transform.resample_mosaic_grid", tmp_path, **given) == 65
