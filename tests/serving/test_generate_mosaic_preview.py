"""Three planes through the middle of a mosaic grid, the right way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.serving.generate_mosaic_preview import middle_planes
from voxelmill.testing.stages import make_store, run_stage


def test_planes_and_picture(tmp_path: Path):
    values = np.random.default_rng(0).random((6, 40, 60), np.float32)
    store = make_store(tmp_path / "grid.ome.zarr", values, shard=(6, 40, 60), chunk=(6, 20, 20))
    flat, side, front = middle_planes(open_image(store))
    assert np.array_equal(flat, values[3])
    assert np.array_equal(side, values[:, :, 30].T) and np.array_equal(front, values[:, 20])
    words = {"grid": store, "slice": "z100", "output": "published/previews"}
    assert run_stage("serving.generate_mosaic_preview", tmp_path, **words) == 0
    picture = tmp_path / "published/previews/mosaic_grid_z100_preview.png"
    once = picture.read_bytes()
    assert run_stage("serving.generate_mosaic_preview", tmp_path, **words) == 0
    assert picture.read_bytes() == once
