"""Estimate slices: at the resolution that is worked at; what is kept counts; a small disk ends the run."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from voxelmill.core import plans
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.stages import run_stage
from voxelmill.transform.estimate_slices import Parameters, estimate

Usage = namedtuple("Usage", "total used free")


def test_what_is_kept_counts() -> None:
    need = estimate(Parameters(nifti=True), {"mosaic_grid_3d_z00.ome.zarr": 700.0, "slice_z01_normalize.ome.zarr": 700.0})
    assert need == {
        "prepared slices": 5600.0,
        "common space": 5600.0,
        "stack": 5600.0,
        "volume": 6400.0,
        "zip": 6400.0,
        "nifti": 5600.0,
    }
    more = estimate(Parameters(publish_intermediates=True, zip_volume=False), {"mosaic_grid_3d_z00.ome.zarr": 700.0})
    assert more["prepared slices"] == 7 * 2800 and more["zip"] == more["nifti"] == 0


def test_a_small_disk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_mosaics(tmp_path / "grids", Acquisition(slices=1, grid=(2, 2), tile=(24, 48, 48)))
    (store,) = (path.name for path in (tmp_path / "grids").glob("*.ome.zarr"))
    plans.write(tmp_path / "slices.csv", [{"id": "z00", "slice": "0", "store": store}])
    for resolution, voxels in ((-1, 24 * 96 * 96), (20, 12 * 48 * 48)):  # of 10 um
        given = {"source": "grids", "list": "slices.csv", "sizes": "sizes.txt", "resolution": resolution}
        assert run_stage("transform.estimate_slices", tmp_path, **given) == 0
        assert f"common space {4 * voxels / 2**30:.3f}" in (tmp_path / "sizes.txt").read_text()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 1000, 1000))
    assert run_stage("transform.estimate_slices", tmp_path, **given) == 74
    assert "take fewer slices by --debug_slices, or put -work-dir elsewhere" in capfd.readouterr().err
