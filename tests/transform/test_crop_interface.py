"""Cropping: the surface is z = 0, to a fraction of a plane; the depth kept is physical."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, record_of, run_stage


def test_the_surface_is_z_0(tmp_path: Path) -> None:
    z = np.arange(60, dtype=np.float32)[:, None, None]
    raw = np.broadcast_to(5 + 200 / (1 + np.exp(-3 * (z - 12.4))), (60, 32, 32)).astype(np.float32)
    store = make_store(tmp_path / "in.ome.zarr", raw, (1e4, 1e4, 1e4))
    given = {"volume": store, "slice": "0", "output": "o.ome.zarr", "crop_interface_out_depth": 300}
    assert run_stage("transform.crop_interface", tmp_path, **given) == 0
    made = open_image(tmp_path / "o.ome.zarr")
    assert made.shape == (30, 32, 32) and np.array_equal(made.read(), raw[12:42])
    assert abs(made.origin[0] - (12 - 12.4) * 1e4) < 2e3
    assert abs(record_of(tmp_path, "crop_interface")["quality"]["surface_plane"] - 12.4) < 0.2
