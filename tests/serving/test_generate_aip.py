"""The average over depth as a picture: right way up, full range, not larger than it must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from voxelmill.core.volume import open_image
from voxelmill.serving import slice_pictures
from voxelmill.testing.stages import make_store, run_stage


def test_the_mean_over_depth_is_drawn(tmp_path: Path, monkeypatch):
    values = np.zeros((4, 64, 96), np.float32)
    values[:, :32] = np.arange(1, 5, dtype=np.float32)[:, None, None]  # mean 2.5, the upper half
    values[:, 32:] = 1
    store = make_store(tmp_path / "grid.ome.zarr", values, shard=(4, 64, 96), chunk=(4, 16, 48))
    monkeypatch.setattr(slice_pictures, "HELD", 1)  # a row of tiles at a time
    mean = slice_pictures.mean_over_depth(open_image(store))
    assert np.array_equal(mean, values.mean(0))
    assert run_stage("serving.generate_aip", tmp_path, grid=store, slice="z07", output="published/aips") == 0
    picture = np.asarray(Image.open(tmp_path / "published/aips/aip_z07.png").convert("L"))
    assert picture.shape == (64, 96) and (picture[:32] == 255).all() and (picture[32:] == 0).all()


def test_large_planes_are_reduced_by_means_and_empty_ones_are_black(tmp_path: Path):
    plane = np.add.outer(np.arange(10.0), np.arange(6.0))
    assert np.array_equal(slice_pictures.reduced(plane, 5), plane.reshape(5, 2, 3, 2).mean((1, 3)))
    assert slice_pictures.bounds(np.zeros((3, 3))) == (0, 1)
