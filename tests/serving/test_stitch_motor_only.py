"""Stitching by the stage alone: tiles where it was told to go, by parameters of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import run_stage
from voxelmill.testing.stitched import MADE, positions, stitched


def test_the_stage_alone_moves_no_tile() -> None:
    at = positions(stitched() / "motor_only_tiles.csv")
    step = round(96 * (1 - MADE.overlap))
    assert np.allclose(at, [(0, 0), (0, step), (step, 0), (step, step)], atol=0.6)


def test_overlap_and_blending_of_the_stage_alone(tmp_path: Path) -> None:
    """Its own parameters count, and not those of the volume."""
    grid = stitched() / "mosaic_grid_3d_z00.ome.zarr"
    files = {"output": "a.ome.zarr", "tiles": "t.csv", "seams": "s.csv", "picture": "p.png"}
    flags = {"motor_only_overlap": 0.5, "motor_only_stitch_blending": "none", "fix_illum_enabled": False}
    assert run_stage("serving.stitch_motor_only", tmp_path, grid=grid, slice="0", **files, **flags) == 0
    assert positions(tmp_path / "t.csv").max() == 48
    image = open_image(tmp_path / "a.ome.zarr").read()
    tile = open_image(grid).read()[:, :20, :20]
    assert image.shape[1:] == (144, 144) and np.array_equal(image[:, :20, :20], np.maximum(tile, image.min()))
