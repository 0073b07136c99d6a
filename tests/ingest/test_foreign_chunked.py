"""Chunked stores and HDF5 as other programs write them: their codecs, and where they say that their voxels lie."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from voxelmill.core.errors import DataError
from voxelmill.ingest.volumes.formats import open_source

from .test_foreign import ORIGIN, SIZE, UM, opened
from .test_sources import ALL, EM
from .test_sources_said import write_n5


@pytest.mark.parametrize("codec", ["pcodec", "pickle", "filters", "pickle among others"])
def test_a_codec_that_is_not_read_is_named(tmp_path, codec):
    """`pickle` runs what it reads."""
    zarr.create_array(store=str(tmp_path / "v.zarr"), data=EM, zarr_format=2)
    meta = json.loads((tmp_path / "v.zarr/.zarray").read_text())
    used = {"filters": [{"id": "pcodec"}]} if codec == "filters" else {"compressor": {"id": codec}}
    if "among" in codec:
        used = {"filters": [{"id": "pickle"}, {"id": "delta", "dtype": "|u1"}]}
    (tmp_path / "v.zarr/.zarray").write_text(json.dumps(meta | used))
    with pytest.raises(DataError, match=f"{'filters' if 'among' in codec else codec} not read here; write it again"):
        open_source(str(tmp_path / "v.zarr"))


BEYOND = {
    "lz4": {"compressors": numcodecs.LZ4()},
    "lzma": {"compressors": numcodecs.LZMA()},
    "delta": {"filters": [numcodecs.Delta("u1")]},
    "shuffle": {"filters": [numcodecs.Shuffle(1)], "compressors": numcodecs.Zlib()},
    "v3": {},
}


@pytest.mark.parametrize("codec", BEYOND)
@pytest.mark.parametrize("form", ["folder", "zip", "turned"])
def test_codecs_that_tensorstore_lacks(tmp_path, codec, form):
    from zarr.codecs import numcodecs as v3

    more = BEYOND[codec] or {"compressors": [v3.LZ4()]}
    data = EM.transpose(2, 0, 1)[:, None] if form == "turned" else EM
    chunks = (11, 1, 4, 7) if form == "turned" else (4, 7, 11)
    root = zarr.open_group(str(tmp_path / "v"), mode="w", zarr_format=3 if codec == "v3" else 2)
    array = root.create_array("raw", data=np.ascontiguousarray(data), chunks=chunks, **more)
    array.attrs.update({"axes": list("xczy")} if form == "turned" else {"voxel_size": [30, 4, 5]} if form == "zip" else {})
    place = tmp_path / "v"
    if form == "zip":
        place = Path(shutil.make_archive(str(tmp_path / "v"), "zip", place))
    source = opened(place)
    assert source.voxel_size == ((30, 4, 5) if form == "zip" else None)
    np.testing.assert_array_equal(source.read((slice(2, 7), slice(3, 19), slice(5, 28))), EM[2:7, 3:19, 5:28])
    if form == "folder":
        (place / ("raw/c/1/1/1" if codec == "v3" else "raw/1.1.1")).unlink()
        source = open_source(str(place))
        assert not source.chunks.there((4, 7, 11)) and source.chunks.there((0, 0, 0))
        assert not source.read(ALL)[4:8, 7:14, 11:22].any()


@pytest.mark.parametrize("codec", ["lzma", "bz2", "zlib", "gzip", "zstd", "zstd in parts", "blosc", "lz4"])
@pytest.mark.parametrize("version", [2, 3, "3, of zarr"])
def test_a_chunk_unpacks_no_farther_than_it_can_be_large(tmp_path, codec, version):
    """Else 64 MB lay in memory before they were refused."""
    from zarr.codecs import numcodecs as v3

    own = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
    stems = {"lzma": "LZMA", "bz2": "BZ2", "zlib": "Zlib", "gzip": "GZip", "zstd": "Zstd", "blosc": "Blosc", "lz4": "LZ4"}
    kind = codec.split()[0]
    if isinstance(version, str):
        if kind not in own:
            pytest.skip("zarr has it of numcodecs")
        version, of = 3, own[kind]()
    else:
        of = getattr(numcodecs if version == 2 else v3, stems[kind])()
    hostile = {"lzma": lzma.compress, "bz2": bz2.compress, "zlib": zlib.compress, "gzip": gzip.compress}
    packed = hostile.get(codec) or getattr(numcodecs, stems[kind])().encode
    if codec == "zstd in parts":  # 512 blocks of 128 KiB of one byte each, in a frame that does not say its size
        packed = lambda values: b"\x28\xb5\x2f\xfd\0\x88" + (b"\2\0\x10\0" * 511 + b"\3\0\x10\0")  # noqa: E731
    filters = [numcodecs.Delta("u1")] if version == 2 else [v3.Delta(dtype="u1")]
    place = tmp_path / "v.zarr"
    zarr.create_array(store=str(place), data=EM, chunks=EM.shape, zarr_format=version, filters=filters, compressors=of)
    np.testing.assert_array_equal(open_source(str(place)).read(ALL), EM)
    chunk = place / ("0.0.0" if version == 2 else "c/0/0/0")
    good = chunk.read_bytes()
    chunk.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"v\.zarr: not a whole Zarr array"):
        open_source(str(place)).read(ALL)
    chunk.write_bytes(packed(bytes(64 * 2**20)))
    source = open_source(str(place))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"v\.zarr: not a whole Zarr array \(a chunk unpacks to more than"):
        source.read(ALL)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16e6  # LZMA has a dictionary of 8


def test_other_arrays_of_the_process_are_left_alone(tmp_path):
    """Those that are read without these readers have no limit; settings of what is written are those that were asked for."""
    zarr.create_array(store=str(tmp_path / "small.zarr"), data=EM, filters=[numcodecs.Delta("u1")], zarr_format=2)
    opened(tmp_path / "small.zarr").read(ALL)
    large = np.ones((256, 256, 256), np.uint8)
    for version, codec in ((2, numcodecs.Blosc("zlib", 7)), (3, zarr.codecs.BloscCodec(cname="zlib", clevel=7))):
        place = str(tmp_path / f"{version}.zarr")
        zarr.create_array(store=place, data=large, chunks=large.shape, compressors=codec, zarr_format=version)
        assert np.asarray(zarr.open_array(place, mode="r")[:]).all()
        head = next(path for path in Path(place).rglob("*0*") if path.is_file()).read_bytes()[:4]
        assert head[2] >> 5 == 3  # zlib, of Blosc's formats


def test_members_of_a_chunk_are_one_behind_the_other(tmp_path):
    data = np.arange(2000, dtype=np.uint8).reshape(1, 40, 50)
    place = tmp_path / "v.zarr"
    filters = [numcodecs.Delta("u1")]
    zarr.create_array(
        store=str(place), data=data, chunks=data.shape, compressors=numcodecs.GZip(), filters=filters, zarr_format=2
    )
    plain = gzip.decompress((place / "0.0.0").read_bytes())
    (place / "0.0.0").write_bytes(gzip.compress(plain[:700]) + gzip.compress(plain[700:]))
    np.testing.assert_array_equal(open_source(str(place)).read((slice(0, 1), slice(0, 40), slice(0, 50))), data)


def test_the_finest_level_is_read_wherever_it_stands(tmp_path):
    root = zarr.open_group(str(tmp_path / "v.zarr"), mode="w", zarr_format=2)
    levels = {"0": (EM[:, ::2, ::2], [30, 8, 10]), "1": (EM, [30, 4, 5])}
    datasets = [{"path": n, "coordinateTransformations": [{"type": "scale", "scale": s}]} for n, (_, s) in levels.items()]
    for name, (data, _) in levels.items():
        root.create_array(name, data=np.ascontiguousarray(data))
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    assert opened(tmp_path / "v.zarr", "level 1 is read").voxel_size == pytest.approx(SIZE)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"dimension_units": ["30 nm", "4 nm", "5 nm"]}, SIZE),
        ({"dimension_units": [".03um", "4e0 nm", "50 angstrom"]}, SIZE),
        ({"dimension_units": ["um"] * 3, "voxel_size": UM}, SIZE),
        ({"dimension_units": ["nm", "nm", None], "resolution": list(SIZE), "units": "nm"}, SIZE),
        ({"dimension_units": ["30 nm", "4 nm", "5 nm"], "resolution": [1, 1, 1]}, None),
        ({"dimension_units": ["um", "um", "um"]}, None),
    ],
)
def test_units_of_dimensions(tmp_path, attributes, size):
    zarr.create_array(store=str(tmp_path / "v.zarr"), data=EM).attrs.update(attributes)
    placed = opened(tmp_path / "v.zarr").placed
    assert placed.size == (size and pytest.approx(size))
    assert bool(placed.unknown) == ("30 nm" in attributes["dimension_units"] and size is None)


@pytest.mark.parametrize("form", ["zarr", "n5", "h5"])
@pytest.mark.parametrize("where", ["", "volumes"])
def test_what_a_group_says_counts_for_what_is_in_it(tmp_path, form, where):
    place = tmp_path / f"v.{form}"
    attributes = {"resolution": list(SIZE), "offset": list(ORIGIN)}
    if form == "h5":
        with h5py.File(place, "w") as f:
            f["volumes/raw"] = EM
            (f[where] if where else f).attrs.update(attributes)
    elif form == "zarr":
        root = zarr.open_group(str(place), mode="w")
        root.create_array("volumes/raw", data=EM)
        (root[where] if where else root).attrs.update(attributes)
    else:
        write_n5(place / "volumes/raw", EM, "")
        turned = {k: v[::-1] for k, v in attributes.items()}
        (place / where / "attributes.json").write_text(json.dumps(turned))
    source = opened(place, "those of the group")
    assert (source.voxel_size, source.origin) == (pytest.approx(SIZE), pytest.approx(ORIGIN))


def test_a_coarser_level_has_not_the_size_of_its_group(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as f:
        f["em/0"], f["em/1"] = EM, EM
        f["em"].attrs["resolution"] = SIZE
    assert opened(tmp_path / "v.h5", "those of the group", key="em/0").voxel_size == pytest.approx(SIZE)
    assert opened(tmp_path / "v.h5", key="em/1").voxel_size is None


@pytest.mark.parametrize("spoilt", ["", "spacing", "unit", "netCDF"])
def test_dimension_scales(tmp_path, spoilt):
    with h5py.File(tmp_path / "v.h5", "w") as f:
        data = f.create_dataset("em", data=EM.transpose(2, 0, 1))
        for n, axis in enumerate("xzy"):
            at = "zyx".index(axis)
            steps = np.arange(data.shape[n]) ** (1.2 if spoilt == "spacing" else 1)
            scale = f.create_dataset(axis, data=ORIGIN[at] / 1000 + UM[at] * steps)
            scale.make_scale("This is a netCDF dimension but not a netCDF variable" if spoilt == "netCDF" else axis)
            scale.attrs.update({} if spoilt == "unit" else {"units": np.bytes_("um")})
            data.dims[n].attach_scale(scale)
    source = open_source(str(tmp_path / "v.h5"))
    if spoilt != "netCDF":
        np.testing.assert_array_equal(source.read(ALL), EM)
    assert source.voxel_size == (None if spoilt else pytest.approx(SIZE))
    if not spoilt:
        assert source.origin == pytest.approx(ORIGIN) and not source.remarks
    why = {"spacing": "not evenly spaced", "unit": "without unit"}.get(spoilt, "")
    assert why in source.placed.unknown and bool(why) == bool(source.placed.unknown)


@pytest.mark.parametrize("axes", ["x,z,y", "x z y", "xzy", [{"name": a, "unit": "um"} for a in "xzy"]])
def test_ways_to_write_axes(tmp_path, axes):
    data = np.ascontiguousarray(EM.transpose(2, 0, 1))
    array = zarr.create_array(store=str(tmp_path / "v.zarr"), data=data)
    array.attrs.update(
        {"axes": axes, "resolution": [UM[2], UM[0], UM[1]], **({"unit": "um"} if isinstance(axes, str) else {})}
    )
    assert opened(tmp_path / "v.zarr").voxel_size == pytest.approx(SIZE)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["dim_0", "dim_1", "dim_2"], ["plane", "row", "col"]])
def test_names_of_axes_that_are_not_understood(tmp_path, names):
    zarr.create_array(store=str(tmp_path / "v.zarr"), data=EM, dimension_names=names)
    with h5py.File(tmp_path / "v.h5", "w") as f:
        f["em"] = EM
        for dim, name in zip(f["em"].dims, names, strict=True):
            dim.label = name
    for place in ("v.zarr", "v.h5"):
        opened(tmp_path / place, "taken for z, y, x by their order" if "a" in names else "")


def test_axes_that_matlab_reversed_are_noted(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["em"] = EM
        file["em"].attrs["MATLAB_class"] = np.bytes_("uint8")
    opened(tmp_path / "v.h5", "(rows, columns, sections) are read as x, y, z")


def test_chunks_in_folders_that_the_metadata_do_not_tell_of(tmp_path):
    """TensorStore lacks LZ4; chunks that are not found would be read as the fill value."""
    names = {"name": "v2", "separator": "/"}
    root = zarr.open_group(str(tmp_path / "v"), mode="w", zarr_format=2)
    root.create_array("raw", data=EM, chunks=(4, 7, 11), compressors=numcodecs.LZ4(), chunk_key_encoding=names)
    meta = json.loads((tmp_path / "v/raw/.zarray").read_text())
    assert meta.pop("dimension_separator") == "/"
    (tmp_path / "v/raw/.zarray").write_text(json.dumps(meta))
    assert opened(tmp_path / "v").chunks.there((8, 19, 29))


def test_a_zip_is_closed_with_its_source(tmp_path, monkeypatch):
    zarr.create_array(store=str(tmp_path / "v"), data=EM, zarr_format=2, compressors=numcodecs.LZ4())
    closed = []
    monkeypatch.setattr(zarr.storage.ZipStore, "close", lambda store: closed.append(store))
    source = open_source(shutil.make_archive(str(tmp_path / "v"), "zip", tmp_path / "v"))
    before = len(closed)
    source.close()
    assert len(closed) == before + 1
