"""Precomputed export: the voxels, the place and the levels that CloudVolume, TensorStore and our own reader see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.ingest.volumes.formats import open_source
from voxelmill.serving.precomputed import export
from voxelmill.testing.stages import make_store, run_stage

SIZE = (30.0, 8.0, 8.0)


def published(
    folder: Path, offset: tuple[int, ...] = (3, 20, 40), dtype: str = "uint64"
) -> tuple[Path, np.ndarray, np.ndarray]:
    """A published volume with labels whose voxel 0 is the source's voxel `offset` (z, y, x)."""
    rng = np.random.default_rng(0)
    raw, ids = rng.integers(1, 256, (9, 130, 150)).astype(np.uint8), rng.integers(1, 9, (9, 130, 150)).astype(dtype)
    raw[:, :64, :64] = ids[:, :64, :64] = 0  # chunks of zeros
    origin = tuple(o * s for o, s in zip(offset, SIZE, strict=True))
    made = {
        "volume": make_store(folder / "r.ome.zarr", raw, SIZE, origin=origin),
        "labels": make_store(folder / "l.ome.zarr", ids, SIZE, origin=origin, label=True),
    }
    assert run_stage("serving.multiscale", folder, output="out.ome.zarr", **made) == 0
    return folder / "out.ome.zarr", raw, ids


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("labels", ["", "neurites"])
def test_it_comes_back_as_it_was_where_it_was(tmp_path: Path, labels: str, sharded: bool):
    store, raw, ids = published(tmp_path)
    made = tmp_path / "pre"
    assert (
        cli.main(
            [
                "export-precomputed",
                str(store),
                str(made),
                *(["--labels", labels] if labels else []),
                *(["--sharded"] * sharded),
            ]
        )
        == 0
    )
    back = open_source(str(made), labels=bool(labels))
    assert back.voxel_size == SIZE and back.origin == (90.0, 160.0, 320.0)
    assert np.array_equal(back.read((slice(None),) * 3), ids if labels else raw)
    info = json.loads((made / "info").read_text())
    assert info["type"] == ("segmentation" if labels else "image")
    assert [s["voxel_offset"] for s in info["scales"]] == [[40, 20, 3], [20, 10, 3]]  # level 2 halves z: 3 is odd
    assert info["scales"][1]["resolution"] == [16, 16, 30]


@pytest.mark.parametrize("sharded", [False, True])
def test_cloudvolume_reads_it(tmp_path: Path, sharded: bool):
    cloudvolume = pytest.importorskip("cloudvolume", reason="cloud-volume is not installed")
    store, raw, _ = published(tmp_path)
    export(store, tmp_path / "pre", sharded=sharded)
    volume = cloudvolume.CloudVolume(f"file://{tmp_path}/pre", progress=False, fill_missing=sharded)
    assert volume.bounds.minpt.tolist() == [40, 20, 3] and volume.resolution.tolist() == [8, 8, 30]
    assert np.array_equal(volume[41:51, 25:125, 4:8][..., 0].T, raw[1:5, 5:105, 1:11])
    assert volume.mip_voxel_offset(1).tolist() == [20, 10, 3]


def test_a_store_of_labels_is_a_segmentation(tmp_path: Path):
    store = make_store(tmp_path / "s.ome.zarr", np.ones((4, 16, 16), np.uint64), SIZE, label=True)
    export(store, tmp_path / "pre")
    assert json.loads((tmp_path / "pre/info").read_text())["type"] == "segmentation"


def test_a_level_that_the_format_cannot_place_is_left_out_and_named(tmp_path: Path):
    store, *_ = published(tmp_path, (3, 20, 41))
    remarks = export(store, tmp_path / "pre")
    assert len(remarks) == 2 and "level 1 is left out: voxel_offset (41, 20, 3) is no multiple of (2, 2, 1)" in remarks[0]
    assert len(json.loads((tmp_path / "pre/info").read_text())["scales"]) == 1


def test_a_volume_beside_the_grid_of_whole_voxels_is_said(tmp_path: Path):
    values = np.ones((4, 16, 16), np.uint8)
    (remark,) = export(make_store(tmp_path / "v.ome.zarr", values, SIZE, origin=(30, 10, 0)), tmp_path / "pre")
    assert "0.25 voxels beside" in remark


def test_what_cannot_be_written_is_refused(tmp_path: Path):
    values = np.ones((4, 16, 16), np.uint8)
    known = make_store(tmp_path / "v.ome.zarr", values, SIZE)
    with pytest.raises(DataError, match="unit of length"):
        export(make_store(tmp_path / "u.ome.zarr", values, None), tmp_path / "pre")
    export(known, tmp_path / "pre")
    with pytest.raises(StorageError, match="there already"):
        export(known, tmp_path / "pre")


def test_labels_that_are_not_there_are_refused_by_what_is(tmp_path: Path):
    root, *_ = published(tmp_path)
    with pytest.raises(ParameterError, match=r"--labels cells: .*out\.ome\.zarr has neurites"):
        export(root, tmp_path / "made", "cells")
    assert not (tmp_path / "made").exists()
