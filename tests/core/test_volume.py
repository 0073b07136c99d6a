"""Volumes: metadata that reads back, and damage that is an error and never a value."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.core import blocks, manifest
from voxelmill.core.errors import DataError, StorageError, VoxelmillError
from voxelmill.core.metadata import MOST_IN_CHUNK, multiscales, write_group
from voxelmill.core.space import Axis, Space
from voxelmill.core.volume import create_image, create_labels, layout, list_labels, open_array, open_image

EM = np.random.default_rng(1).integers(1, 256, (8, 64, 64), np.uint8)
LAY = layout(EM.shape, "uint8", (8, 32, 32), (4, 16, 16))
ALL = (slice(None),) * 3
AXES = [Axis("z"), Axis("y"), Axis("x")]
anything = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    """An image of 1 x 2 x 2 shards and labels on its grid, with its manifest."""
    path = tmp_path / "em.ome.zarr"
    create_image(path, LAY, Space.zyx((30, 4, 5))).write(ALL, EM)
    ids = layout(EM.shape, "uint32", (8, 32, 32), (4, 16, 16))
    create_labels(path, "neurites", ids, Space.zyx((30, 4, 5))).write(ALL, EM.astype(np.uint32))
    manifest.write(path)
    return path


def test_what_was_written_is_read_by_us_zarr_and_tensorstore(store):
    image = open_image(store)
    assert (image.scale, image.shape, image.dtype, image.levels) == ((30, 4, 5), EM.shape, np.uint8, 1)
    assert [(a.name, a.unit) for a in image.axes] == [(n, "nanometer") for n in "zyx"]
    assert image.layout() == LAY
    np.testing.assert_array_equal(image.read(), EM)
    np.testing.assert_array_equal(zarr.open_array(str(store / "0"))[:], EM)
    spec = {"driver": "zarr3", "kvstore": f"file://{store}/0/"}
    np.testing.assert_array_equal(ts.open(spec).result().read().result(), EM)
    assert list_labels(store) == ["neurites"]
    labels = open_image(store, "neurites")
    assert labels.scale == (30, 4, 5) and labels.dtype == np.uint32
    np.testing.assert_array_equal(labels.read(), EM)


def test_ome_zarr_models_finds_it_valid(store):
    from ome_zarr_models import open_ome_zarr
    from ome_zarr_models.v05 import Image, ImageLabel

    image = Image.from_zarr(zarr.open_group(str(store), mode="r"))
    assert image.attributes.ome.multiscales[0].datasets[0].coordinateTransformations[0].scale == [30, 4, 5]
    ImageLabel.from_zarr(zarr.open_group(str(store / "labels/neurites"), mode="r"))
    assert open_ome_zarr(str(store), version="0.5").labels.attributes.ome.labels == ["neurites"]


sizes = st.floats(1e-6, 1e9, allow_subnormal=False)


@anything
@given(st.tuples(sizes, sizes, sizes))
def test_the_voxel_size_comes_back_to_the_last_digit(tmp_path, size):
    path = tmp_path / "v.ome.zarr"
    for version in ("0.5", "0.4"):
        entry = multiscales([Space.of(AXES, size)], "v")
        write_group(path / version, {"multiscales": [entry]}, version)
        found = open_image(path / version)
        assert found.scale == size and found.version == version


def test_layout_is_no_larger_than_the_array():
    assert layout((5, 100, 300), "uint8", (32, 1024, 1024), (32, 128, 128)).shard == (5, 100, 384)
    assert layout((64, 2000, 300), "uint8", (32, 1024, 1024), (32, 128, 128)).grid == (2, 2, 1)


def test_background_is_stored_too(tmp_path):
    image = create_image(tmp_path / "v.ome.zarr", LAY, Space.zyx((1, 1, 1)))
    image.write(ALL, np.zeros_like(EM))
    blocks.require(LAY, tmp_path / "v.ome.zarr/0")
    assert not open_image(tmp_path / "v.ome.zarr").read().any()


def test_a_flipped_bit_is_an_error_and_not_a_value(store):
    path = store / "0/c/0/0/0"
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for bit in rng.choice(len(content) * 8, 200, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=r"em\.ome\.zarr/0: .*damaged, re-run the stage"):
            open_image(store).read()
        with pytest.raises(DataError, match=r"c/0/0/0: not the bytes that the manifest lists"):
            manifest.verify(store, deep=True)


def test_a_shard_that_is_cut_or_gone_is_an_error_and_not_zeros(store):
    path = store / "0/c/0/1/1"
    content = path.read_bytes()
    for part in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:part])
        with pytest.raises(DataError, match="damaged"):
            open_image(store).read()
        with pytest.raises(DataError, match="not the bytes"):
            manifest.verify(store)
    path.unlink()
    with pytest.raises(DataError, match=r"0/c/0/1/1.* is missing"):
        open_image(store).read()
    with pytest.raises(DataError, match=r"c/0/1/1: shard missing; it would read as zeros"):
        blocks.require(LAY, store / "0")
    with pytest.raises(DataError, match=r"c/0/1/1: missing, though the manifest lists it"):
        manifest.verify(store)


def test_two_shards_swapped_pass_their_checksums_but_not_the_manifest(store):
    a, b, aside = store / "0/c/0/0/0", store / "0/c/0/0/1", store / "0/c/aside"
    a.rename(aside), b.rename(a), aside.rename(b)
    assert open_image(store).read().shape == EM.shape
    with pytest.raises(DataError, match="not the bytes that the manifest lists"):
        manifest.verify(store, deep=True)


def test_unknown_codec_is_named(store):
    path = store / "0/zarr.json"
    meta = json.loads(path.read_text())
    meta["codecs"] = [{"name": "bytes"}, {"name": "middle-out"}]
    path.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"em\.ome\.zarr/0: cannot open this Zarr array: .*middle-out"):
        open_array(store / "0")


def damaged(meta: dict, keys: tuple, value: object) -> dict:
    meta = copy.deepcopy(meta)
    at = meta
    for key in keys[:-1]:
        at = at[key]
    if value is None:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return meta


INNER = ("codecs", 0, "configuration", "chunk_shape")
OUTER = ("chunk_grid", "configuration", "chunk_shape")


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("shape",), [2**62, 64, 64], "shape is"),
        (("shape",), [0, 64, 64], "shape is"),
        (("shape",), [8.5, 64, 64], "shape is"),
        (("shape",), [-8, 64, 64], "shape is"),
        (("shape",), [True, 64, 64], "shape is"),
        (("shape",), None, "'shape'"),
        (OUTER, "8", "chunk_shape is"),
        (OUTER, [2**50, 32, 32], "chunk_shape is"),
        (OUTER, [8, 32], "chunk_shape is"),
        (OUTER, None, "'chunk_shape'"),
        (INNER, [4, 0, 16], "inner chunk_shape is"),
        (("codecs",), 5, "metadata"),
        (("chunk_grid",), [], "metadata"),
        (("data_type",), "r999", "cannot open"),
    ],
)
def test_hostile_array_metadata_is_refused_by_field(store, keys, value, words):
    path = store / "0/zarr.json"
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), keys, value)))
    with pytest.raises(DataError, match=re.escape(words)):
        open_array(store / "0")


def test_one_chunk_of_everything_is_refused_before_allocation(tmp_path):
    """A whole array of terabytes in a chunk, a shard or a flat array: the memory of a small task."""
    meta = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [2**14] * 3,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**14] * 3}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [{"name": "bytes"}],
        "fill_value": 0,
    }
    (tmp_path / "zarr.json").write_text(json.dumps(meta))
    code = f"""
from pathlib import Path
from voxelmill.core.volume import open_array
try:
    open_array(Path({str(tmp_path)!r}))
except ValueError as error:
    print(error, open("/proc/self/status").read())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "chunk_shape [16384, 16384, 16384] means 4.4e+12 values in one chunk" in said
    assert int(re.search(r"VmHWM:\s+(\d+)", said)[1]) < 256 * 1024
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    meta["codecs"] = [
        {
            "name": "sharding_indexed",
            "configuration": {"chunk_shape": [64] * 3, "codecs": [{"name": "bytes"}], "index_codecs": [little]},
        }
    ]
    (tmp_path / "zarr.json").write_text(json.dumps(meta))
    assert open_array(tmp_path).shape == (2**14,) * 3  # large shards of small chunks are no harm
    assert MOST_IN_CHUNK < 2**32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        '"words"',
        "[" * 100_000,
        '{"a":' * 50_000,
        "\xff\xfe",
        "null",
        '{"multiscales": [{}], "x": "' + " " * 2**24 + '"}',
    ],
)
@pytest.mark.parametrize("name", ["zarr.json", ".zattrs", ".zarray", "0/zarr.json"])
def test_files_that_are_no_metadata(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="latin-1")
    reader = open_array if "array" in name or "/" in name else open_image
    with pytest.raises(DataError, match=re.escape(path.name)):
        reader(path.parent)


GOOD = {"multiscales": [multiscales([Space.of(AXES, (30, 4, 5))], "em")]}
SCALE = ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale")


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (SCALE, [0, 4, 5], "voxel size [0.0, 4.0, 5.0]"),
        (SCALE, [float("nan"), 4, 5], "voxel size [nan"),
        (SCALE, [30, -4, 5], "expected positive numbers"),
        (SCALE, [float("inf"), 4, 5], "voxel size [inf"),
        (SCALE, [4], "expected 3 numbers, one per axis"),
        (SCALE, None, "a scale of a dataset; expected scale and translation"),
        (SCALE, [10**400, 4, 5], "expected 3 numbers"),
        (SCALE, {"a": 1}, "expected 3 numbers"),
        (SCALE[:-1], {"type": "translation", "translation": [1, 2, 3]}, "no scale; expected 3 numbers"),
        (SCALE[:-2], None, "'coordinateTransformations'"),
        (("multiscales", 0, "axes"), None, "'axes'"),
        (("multiscales", 0, "axes"), "zyx", "malformed"),
        (("multiscales", 0, "datasets"), [], "names no dataset"),
        (("multiscales", 0, "axes", 1, "unit"), "furlong", "unit 'furlong' of axis y"),
        (("multiscales", 0, "datasets", 0, "path"), "../../etc", "leads out of the store"),
        (("multiscales", 0, "datasets", 0, "path"), "/etc", "leads out of the store"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_hostile_image_metadata_is_refused_by_field(tmp_path, version, keys, value, words):
    write_group(tmp_path / "v", damaged(GOOD, keys, value), version)
    with pytest.raises(DataError, match=re.escape(words)) as raised:
        open_image(tmp_path / "v")
    assert str(tmp_path / "v") in str(raised.value)


words = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@anything
@given(st.data())
def test_any_metadata_opens_or_is_refused(tmp_path, data):
    """One value anywhere in the metadata replaced by any other: an error of ours, or an image that reads."""
    path = tmp_path / "v.ome.zarr"
    if not path.exists():
        create_image(path, LAY, Space.zyx((30, 4, 5))).write(ALL, EM)
        (tmp_path / "good.json").write_text((path / "zarr.json").read_text())
        (tmp_path / "good0.json").write_text((path / "0/zarr.json").read_text())
    for good, target in (("good.json", "zarr.json"), ("good0.json", "0/zarr.json")):
        meta = json.loads((tmp_path / good).read_text())
        at, keys = meta, []
        while isinstance(at, dict | list) and at and (not keys or data.draw(st.integers(0, 4))):
            key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            keys.append(key)
            at = at[key]
        (path / target).write_text(json.dumps(damaged(meta, tuple(keys), data.draw(values))))
        try:
            image = open_image(path)
            assert all(0 < s < float("inf") for s in image.scale)
            assert image.read((slice(0, 1),) * len(image.shape)).size <= 1
        except VoxelmillError:
            pass
        (path / target).write_text((tmp_path / good).read_text())


def test_what_is_no_image(tmp_path):
    with pytest.raises(StorageError, match="not an OME-Zarr image"):
        open_image(tmp_path)
    with pytest.raises(StorageError, match="no Zarr array here"):
        open_array(tmp_path)
    with pytest.raises(DataError, match="expected positive numbers"):
        create_image(tmp_path / "v", LAY, Space.zyx((30, 0, 5)))


def test_a_write_that_the_disk_refuses(store, monkeypatch):
    import errno

    class Full:
        def __getitem__(self, region):
            return self

        def write(self, values):
            raise ValueError("RESOURCE_EXHAUSTED: Error writing local file: No space left on device [source")

    image = open_image(store)
    image._open[0] = Full()
    with pytest.raises(OSError) as raised:
        image.write(ALL, EM)
    assert raised.value.errno == errno.ENOSPC and str(store) in raised.value.filename
    monkeypatch.setattr(Full, "write", lambda *_: (_ for _ in ()).throw(ValueError("PERMISSION_DENIED: no")))
    with pytest.raises(StorageError, match="cannot be written: PERMISSION_DENIED"):
        image.write(ALL, EM)
