"""Estimate slices: at the resolution that is worked at; what is kept counts; a small disk ends the run."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import plans
from voxelmill.core.errors import DataError
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.transform.estimate_slices import Parameters, alike, estimate

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


def test_slices_of_different_voxels_end_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before any is made: what --resolution makes alike is alike, and slices that were prepared before stay as they are."""
    rows = []
    for n, (name, nm) in enumerate((("mosaic_grid_3d_z00", 9995), ("mosaic_grid_3d_z01", 8e3), ("slice_z02_normalize", 1e4))):
        make_store(tmp_path / f"in/{name}.ome.zarr", np.ones((4, 8, 8), np.float32), (nm, nm, nm))
        rows.append({"id": f"z{n:02d}", "slice": str(n), "store": f"{name}.ome.zarr"})
    plans.write(tmp_path / "slices.csv", rows)
    given = {"source": "in", "list": "slices.csv", "sizes": "sizes.txt"}
    assert run_stage("transform.estimate_slices", tmp_path, **given, resolution=10) == 0
    assert run_stage("transform.estimate_slices", tmp_path, **given, resolution=-1) == 65
    assert "z01: voxels of 8 x 8 x 8 µm, others of 9.995 x 9.995 x 9.995; expected one size" in capfd.readouterr().err
    assert run_stage("transform.estimate_slices", tmp_path, **given, resolution=12) == 65
    assert "z02: voxels of 10 x 10 x 10 µm, others of 12 x 12 x 12" in capfd.readouterr().err
    alike({0: [9.996] * 3, 1: [10.005] * 3}, prepared=[])
    for prepared, said in (
        ([], "z01: voxels of 10.01 .*9.99; expected one size.*: set --resolution$"),
        ([1], "not resampled: make"),
    ):
        with pytest.raises(DataError, match=said):
            alike({0: [9.99] * 3, 1: [10.01] * 3}, prepared)
