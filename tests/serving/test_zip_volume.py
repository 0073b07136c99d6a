"""The subject's volume as one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import published, stack


def test_one_file_that_zarr_reads(tmp_path: Path):
    path = published(tmp_path, stack(tmp_path, np.random.default_rng(0).random((20, 30, 40))))
    assert run_stage("serving.zip_volume", tmp_path, volume=path, output="sub-01.ome.zarr.zip") == 0
    group = zarr.open_group(zarr.storage.ZipStore(tmp_path / "sub-01.ome.zarr.zip", mode="r"), mode="r")
    whole = zarr.open_group(str(path), mode="r")
    assert dict(group.attrs) == dict(whole.attrs) and np.array_equal(group["1"][:], whole["1"][:])
    first = (tmp_path / "sub-01.ome.zarr.zip").read_bytes()
    assert run_stage("serving.zip_volume", tmp_path, volume=path, output="again.zip") == 0
    assert first == (tmp_path / "again.zip").read_bytes()
