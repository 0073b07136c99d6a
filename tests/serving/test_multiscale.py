"""Multiscale: exact means, first labels, scales and translations, no copy of level 0, both versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models import open_ome_zarr
from voxelmill.core import manifest
from voxelmill.testing.stages import make_store, run_stage


def made(folder: Path, version: str = "0.5", **params) -> Path:
    rng = np.random.default_rng(0)
    raw = make_store(folder / "raw.ome.zarr", rng.integers(0, 256, (9, 130, 150)).astype(np.uint8))
    labels = make_store(folder / "l.ome.zarr", rng.integers(0, 9, (9, 130, 150)).astype(np.uint32), label=True)
    assert (
        run_stage(
            "serving.multiscale", folder, volume=raw, labels=labels, output="out.ome.zarr", ome_zarr_version=version, **params
        )
        == 0
    )
    return folder / "out.ome.zarr"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_levels(tmp_path: Path, version: str):
    path = made(tmp_path, version)
    group = zarr.open_group(str(path), mode="r")
    open_ome_zarr(group)
    open_ome_zarr(zarr.open_group(str(path / "labels/neurites"), mode="r"))
    raw, half = group["0"][:].astype(int), group["1"][:]
    # z is 30 nm, y and x are 8: z is not halved until they have caught up.
    assert half.shape == (9, 65, 75)
    exact = (raw[:, ::2, ::2] + raw[:, 1::2, ::2] + raw[:, ::2, 1::2] + raw[:, 1::2, 1::2] + 2) // 4
    assert np.array_equal(half, exact)
    labels = zarr.open_group(str(path / "labels/neurites"), mode="r")
    assert np.array_equal(labels["1"][:], labels["0"][:][:, ::2, ::2])
    attributes = group.attrs["ome"] if version == "0.5" else group.attrs
    scales = [d["coordinateTransformations"] for d in attributes["multiscales"][0]["datasets"]]
    assert scales[1][0]["scale"] == [30.0, 16.0, 16.0] and scales[1][1]["translation"] == [0.0, 4.0, 4.0]


def test_level_0_is_linked_not_copied(tmp_path: Path):
    path = made(tmp_path)
    assert (path / "0/c/0/0/0").stat().st_ino == (tmp_path / "raw.ome.zarr/0/c/0/0/0").stat().st_ino
    assert manifest.verify(path, deep=True)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_ids_of_a_store_of_their_own_are_never_averaged(tmp_path: Path, version: str):
    ids = np.random.default_rng(0).integers(0, 2**53, (4, 130, 150)).astype(np.uint64)
    store = make_store(tmp_path / "s.ome.zarr", ids, label=True)
    arguments = {"volume": store, "output": "supervoxels.ome.zarr", "role": "supervoxels", "ome_zarr_version": version}
    assert run_stage("serving.multiscale", tmp_path, **arguments) == 0
    group = zarr.open_group(str(tmp_path / "supervoxels.ome.zarr"), mode="r")
    open_ome_zarr(group)
    assert np.array_equal(group["0"][:], ids) and np.array_equal(group["1"][:], ids[:, ::2, ::2])
    attributes = group.attrs["ome"] if version == "0.5" else group.attrs
    assert attributes["image-label"]["source"] == {"image": "../aligned.ome.zarr"} and "omero" not in attributes


def test_minimal_has_one_level(tmp_path: Path):
    path = made(tmp_path, save_minimal=True)
    assert not (path / "1").exists()
    assert len(json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"]) == 1
