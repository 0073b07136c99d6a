"""Cropping: the surface is z = 0, to a fraction of a plane; the depth kept is physical."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize("bright", [np.full(60, 9e4), np.where(np.arange(60) < 50, 9.0, 9e4)], ids=["everywhere", "below"])
def test_a_few_bright_columns_do_not_tell_the_surface(tmp_path: Path, bright: np.ndarray) -> None:
    """A saturated tile or glare, by its rise or by hiding that of the others; the same slice without it says nothing."""
    raw = np.where(np.arange(60) < 12, 5.0, 205.0)[:, None, None] + np.zeros((60, 96, 96))
    for name in ("whole", "bright"):
        store = make_store(tmp_path / f"{name}.ome.zarr", raw.astype(np.float32), (1e4, 1e4, 1e4))
        assert run_stage("transform.crop_interface", tmp_path / name, volume=store, slice="0", output="o.ome.zarr") == 0
        raw[:, 32:64, :32] = bright[:, None, None]
    notes = [record_of(tmp_path / name, "crop_interface")["quality"] for name in ("whole", "bright")]
    assert [open_image(tmp_path / name / "o.ome.zarr").shape[0] for name in ("whole", "bright")] == [48, 48]
    assert "notes_surface" not in notes[0] and "few bright parts of the slice show" in notes[1]["notes_surface"]


def test_a_tilted_surface_is_that_of_the_mean(tmp_path: Path) -> None:
    """Nothing is far brighter than the rest, so nothing is left out, and nothing said."""
    z, x = np.arange(70)[:, None, None], np.arange(256)
    depth = z - 12 - 20 * (x / 255 - 0.5)
    raw = np.where(depth < 0, 5.0, 205 * np.exp(-np.maximum(depth, 0) / 15)) + np.zeros((70, 64, 256))
    store = make_store(tmp_path / "in.ome.zarr", raw.astype(np.float32), (1e4, 1e4, 1e4))
    assert run_stage("transform.crop_interface", tmp_path, volume=store, slice="0", output="o.ome.zarr") == 0
    found = record_of(tmp_path, "crop_interface")["quality"]
    assert "notes_surface" not in found and found["surface_plane"] < 13
