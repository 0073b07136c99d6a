"""Multiscale: exact means, most frequent labels, scales and translations, no copy of level 0, both versions."""

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
    folder.mkdir(exist_ok=True)
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
    four = labels["0"][:].reshape(9, 65, 2, 75, 2).swapaxes(2, 3).reshape(9, 65, 75, 4)
    votes = (four[..., None] == four[..., None, :]).sum(-1)
    assert np.array_equal(labels["1"][:], np.take_along_axis(four, votes.argmax(-1)[..., None], -1)[..., 0])
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
    arguments = {"volume": store, "output": "supervoxels.ome.zarr", "name": "supervoxels", "ome_zarr_version": version}
    assert run_stage("serving.multiscale", tmp_path, **arguments) == 0
    group = zarr.open_group(str(tmp_path / "supervoxels.ome.zarr"), mode="r")
    open_ome_zarr(group)
    assert np.array_equal(group["0"][:], ids) and np.isin(group["1"][:], ids).all()
    attributes = group.attrs["ome"] if version == "0.5" else group.attrs
    assert attributes["image-label"]["source"] == {"image": "../aligned.ome.zarr"} and "omero" not in attributes


def test_minimal_has_one_level(tmp_path: Path):
    path = made(tmp_path, save_minimal=True)
    assert not (path / "1").exists()
    assert len(json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"]) == 1


def published(folder: Path, values: np.ndarray, **params) -> Path:
    raw = make_store(folder / "raw.ome.zarr", values)
    assert run_stage("serving.multiscale", folder, volume=raw, output="out.ome.zarr", **params) == 0
    return folder / "out.ome.zarr"


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_viewers_open_the_range_of_the_data(tmp_path: Path, version: str):
    """A window of 0 to 65535 shows data from 160 to 3258 black, and so does one hot pixel."""
    values = np.random.default_rng(0).integers(160, 3259, (9, 130, 150)).astype(np.uint16)
    values[0, 0, :3] = 160, 3258, 65000
    path = published(tmp_path, values, ome_zarr_version=version)
    attributes = zarr.open_group(str(path), mode="r").attrs
    (channel,) = (attributes["ome"] if version == "0.5" else attributes)["omero"]["channels"]
    window = channel["window"]
    assert (window["min"], window["max"]) == (160, 65000)
    assert 160 <= window["start"] < 170 and 3248 < window["end"] <= 3258


def test_a_volume_of_one_value_has_a_window(tmp_path: Path):
    path = published(tmp_path, np.full((4, 70, 80), 7, np.uint8))
    (channel,) = zarr.open_group(str(path), mode="r").attrs["ome"]["omero"]["channels"]
    assert channel["window"] == {"start": 7, "end": 8, "min": 7, "max": 8}


def test_the_window_of_a_large_volume_is_that_of_a_sample(tmp_path: Path, monkeypatch):
    from voxelmill.serving import multiscale

    monkeypatch.setattr(multiscale, "SAMPLED", 5000)
    values = np.random.default_rng(0).integers(100, 200, (9, 130, 150)).astype(np.uint8)
    for more in ({}, {"save_minimal": True}):
        folder = tmp_path / str(len(more))
        folder.mkdir()
        (channel,) = zarr.open_group(str(published(folder, values, **more)), mode="r").attrs["ome"]["omero"]["channels"]
        assert 95 < channel["window"]["start"] <= 140 and 160 <= channel["window"]["end"] < 205


@pytest.mark.parametrize("dtype", ["int16", "int8", "uint16", "uint32", "float32"])
def test_means_of_any_type(tmp_path: Path, dtype: str):
    values = (np.random.default_rng(0).normal(0, 100, (9, 130, 150)) + (0 if dtype[0] in "if" else 1000)).astype(dtype)
    group = zarr.open_group(str(published(tmp_path, values)), mode="r")
    wide = values.astype(np.float64)
    exact = (wide[:, ::2, ::2] + wide[:, 1::2, ::2] + wide[:, ::2, 1::2] + wide[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(group["1"][:], exact if dtype[0] == "f" else np.floor(exact + 0.5), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_channels_are_not_halved(tmp_path: Path, version: str):
    from voxelmill.core.space import Axis, Space
    from voxelmill.core.volume import create_image, layout

    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, 50, (9, 130, 150)), rng.integers(100, 200, (9, 130, 150))]).astype(np.uint8)
    lay = layout(values.shape, "uint8", (2, 4, 64, 64), (1, 4, 32, 32))
    axes = (Axis("c", "channel", None), Axis("z"), Axis("y"), Axis("x"))
    image = create_image(tmp_path / "raw.ome.zarr", lay, Space.of(axes, (1, 30, 8, 8)))
    image.write(tuple(slice(0, n) for n in values.shape), values)
    manifest.write(tmp_path / "raw.ome.zarr")
    arguments = {"volume": tmp_path / "raw.ome.zarr", "output": "out.ome.zarr", "ome_zarr_version": version}
    assert run_stage("serving.multiscale", tmp_path, **arguments) == 0
    group = zarr.open_group(str(tmp_path / "out.ome.zarr"), mode="r")
    assert group["1"].shape == (2, 9, 65, 75) and group["2"].shape == (2, 5, 33, 38)
    attributes = group.attrs["ome"] if version == "0.5" else group.attrs
    windows = [c["window"] for c in attributes["omero"]["channels"]]
    assert windows[0]["max"] < 50 and windows[1]["min"] >= 100


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_other_readers(tmp_path: Path, version: str):
    """zarr-python (napari), TensorStore, ngff-zarr: values, axes, scale. Fiji reads Zarr v2 with gzip."""
    import tensorstore as ts

    path = made(tmp_path, version)
    raw = zarr.open_group(str(path), mode="r")["0"][:]
    driver = {"0.5": "zarr3", "0.4": "zarr"}[version]
    for inside, kind in (("0", np.uint8), ("labels/neurites/0", np.uint32)):
        array = ts.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/{inside}/"}}).result()
        assert array.dtype.numpy_dtype == kind
        if inside == "0":
            np.testing.assert_array_equal(array[...].read().result(), raw)
    if version == "0.4":
        assert json.loads((path / "0/.zarray").read_text())["compressor"] == {"id": "gzip", "level": 1}
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    read = ngff_zarr.from_ngff_zarr(str(path))
    for n, (image, z, factor) in enumerate(zip(read.images, (30, 30, 60), (1, 2, 4), strict=True)):
        assert list(image.dims) == ["z", "y", "x"]
        assert image.scale == {"z": z, "y": 8 * factor, "x": 8 * factor}
        assert set(image.axes_units.values()) == {"nanometer"}
        np.testing.assert_array_equal(np.asarray(image.data), zarr.open_group(str(path), mode="r")[str(n)][:])


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_a_flipped_bit_is_an_error_to_any_reader(tmp_path: Path, version: str):
    path = made(tmp_path, version)
    chunk = path / ("0/c/0/0/0" if version == "0.5" else "0/0/0/0")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 3] ^= 4
    chunk.unlink()
    chunk.write_bytes(content)
    with pytest.raises(Exception, match=r"(?i)crc|checksum|data"):
        zarr.open_group(str(path), mode="r")["0"][:]


def test_0_6_names_a_coordinate_system(tmp_path: Path):
    """Its levels lie where those of 0.5 lie; arrays are the same files; the specification's own schema takes it."""
    from voxelmill.core.ngff import multiscales
    from voxelmill.ingest.volumes.formats import open_source
    from voxelmill.testing.ngff_schema import validate

    new, old = made(tmp_path / "new", "0.6"), made(tmp_path / "old", "0.5")
    for inside in ("", "labels/neurites"):
        attributes = [json.loads((path / inside / "zarr.json").read_text())["attributes"] for path in (new, old)]
        assert [a["ome"]["version"] for a in attributes] == ["0.6", "0.5"]
        a, b = (multiscales(a) for a in attributes)
        assert a and b and (a.axes, a.units, a.scales, a.translations) == (b.axes, b.units, b.scales, b.translations)
        for attribute, version in zip(attributes, ("0.6", "0.5"), strict=True):
            validate(attribute, "label" if inside else "image", version)
            validate(attribute, "image", version)
    for path in old.rglob("c/*"):
        if path.is_file():
            assert (new / path.relative_to(old)).read_bytes() == path.read_bytes()
    source = open_source(str(new))
    np.testing.assert_array_equal(source.read((slice(None),) * 3), zarr.open_group(str(old), mode="r")["0"][:])
    assert source.voxel_size == (30, 8, 8)
