"""Render: content goes where the transform says, once, in the grey levels it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.transform import warp
from voxelmill.transform.transforms import save


def test_whole_pixels_move_exactly(tmp_path: Path):
    raw, _ = neurites((4, 64, 96))
    store = make_store(tmp_path / "in.ome.zarr", raw)
    save(tmp_path / "t.npz", [warp.shift_transform(5, -7)] * 4)
    assert (
        run_stage(
            "transform.render", tmp_path, volume=store, transforms=tmp_path / "t.npz", block="0-1", output="out.ome.zarr"
        )
        == 0
    )
    image = open_image(tmp_path / "out.ome.zarr")
    out = image.read()
    assert image.dtype == "uint8" and image.shape == raw.shape and image.scale == (30.0, 8.0, 8.0)
    assert np.array_equal(out[:, 5:, :-7], raw[:, :-5, 7:])
    assert not out[:, :5].any() and not out[:, :, -7:].any()


def test_blocks_agree_for_turned_sections(tmp_path: Path):
    raw, _ = neurites((8, 96, 96))
    store = make_store(tmp_path / "in.ome.zarr", raw)
    turns = [warp.SectionTransform(warp.rigid_matrix(0.3 * z, -0.2 * z, 2.0 * z, (47.5, 47.5))) for z in range(8)]
    save(tmp_path / "t.npz", turns)
    made = {}
    for block in ("0-7", "0-4", "5-7"):
        assert (
            run_stage(
                "transform.render",
                tmp_path / block,
                volume=store,
                transforms=tmp_path / "t.npz",
                block=block,
                output="out.ome.zarr",
            )
            == 0
        )
        made[block] = {
            str(p.relative_to(tmp_path / block)): p.read_bytes() for p in (tmp_path / block).glob("out.ome.zarr/0/c/*/*/*")
        }
    assert made["0-7"] == made["0-4"] | made["5-7"] and len(made["0-7"]) == 8
