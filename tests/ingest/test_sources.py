"""Every readable format, made exactly: the voxels, their order and their size come back."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import nrrd
import numpy as np
import pytest
import tensorstore as ts
import zarr
from voxelmill.core.errors import DataError, ParameterError, StorageError, TransientError
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest.volumes import kvstore
from voxelmill.ingest.volumes.formats import open_source

EM = np.random.default_rng(1).integers(0, 256, (9, 20, 30), np.uint8)
WIDE = EM.astype(np.uint16) * 257
PART = (slice(2, 7), slice(3, 19), slice(5, 28))
ALL = (slice(None),) * 3


def same(location, expected=EM, size=None, **more) -> None:
    source = open_source(str(location), **more)
    assert source.shape == expected.shape and source.dtype == expected.dtype
    np.testing.assert_array_equal(source.read(PART), expected[PART])
    np.testing.assert_array_equal(source.read(ALL), expected)
    assert source.voxel_size == (None if size is None else pytest.approx(size))
    source.close()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_of_the_package(tmp_path, version):
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    axes = [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        *({"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"),
    ]
    image = np.stack([255 - EM, EM])[None]
    scales = [[{"type": "scale", "scale": [1, 1, 0.03 * f, 0.004 * f, 0.005 * f]}] for f in (1, 2)]
    write_image(
        image,
        str(tmp_path / "v.zarr"),
        axes=axes,
        scale_factors=[2],
        coordinate_transformations=scales,
        fmt=FormatV04() if version == "0.4" else FormatV05(),
    )
    same(tmp_path / "v.zarr", EM, (30, 4, 5), channel=1)
    same(tmp_path / "v.zarr", 255 - EM, (30, 4, 5))
    with pytest.raises(ParameterError, match="has 2 channels"):
        open_source(str(tmp_path / "v.zarr"), channel=2)


def test_ome_zarr_of_our_own(tmp_path):
    lay = layout(WIDE.shape, "uint16", (4, 16, 16), (4, 8, 8))
    image = create_image(tmp_path / "v.ome.zarr", lay, Space.zyx((30, 4, 5)))
    image.write(ALL, WIDE)
    same(tmp_path / "v.ome.zarr", WIDE, (30, 4, 5))


def foreign(folder, axes="zyx", unit="nanometer", path="0", data=EM, **entry):
    """A group as other programs write it: any dataset path, axis order and place of the scale."""
    zarr.create_array(store=str(folder / path), data=data, zarr_format=2, chunks=(8,) * data.ndim)
    described = [{"name": a, "type": "space", **({"unit": unit} if unit else {})} for a in axes]
    transforms = [{"type": "scale", "scale": [{"z": 30, "y": 4, "x": 5}[a] for a in axes]}]
    datasets = [{"path": path, "coordinateTransformations": transforms}]
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(
        json.dumps({"multiscales": [{"version": "0.4", "axes": described, "datasets": datasets, **entry}]})
    )
    return folder


def test_scale_on_the_multiscales_multiplies_that_of_the_dataset(tmp_path):
    foreign(tmp_path, coordinateTransformations=[{"type": "scale", "scale": [1, 2, 3]}])
    same(tmp_path, EM, (30, 8, 15))


def test_dataset_path_and_axis_order_are_as_stated(tmp_path):
    foreign(tmp_path, axes="xzy", path="s0", data=np.ascontiguousarray(EM.transpose(2, 0, 1)))
    same(tmp_path, EM, (30, 4, 5))


@pytest.mark.parametrize(("unit", "nm"), [("micrometer", 1e3), ("angstrom", 0.1), ("millimeter", 1e6)])
def test_units_become_nanometres(tmp_path, unit, nm):
    same(foreign(tmp_path, unit=unit), EM, (30 * nm, 4 * nm, 5 * nm))


def test_without_unit_the_size_is_not_known_and_with_a_strange_one_refused(tmp_path):
    for unit, words in ((None, "30, 4, 5 without unit"), ("pixel", "30, 4, 5 in 'pixel'"), ("second", "in 'second'")):
        folder = foreign(tmp_path / str(unit), unit=unit)
        same(folder, EM, None)
        assert words in open_source(str(folder)).placed.unknown


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr_arrays_chunks_of_fill_value_left_out(tmp_path, version):
    dark = EM.copy()
    dark[:, :10, :15] = 0
    zarr.create_array(store=str(tmp_path / "v.zarr"), data=dark, zarr_format=version, chunks=(3, 10, 15))
    assert len([p for p in (tmp_path / "v.zarr").rglob("*") if p.is_file() and p.name[0] != "."]) < 14
    same(tmp_path / "v.zarr", dark)


def test_array_in_a_plain_group(tmp_path):
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w")
    group.create_array("raw", data=EM)
    group.create_array("labels", data=255 - EM)
    group.create_array("other", data=EM)
    same(tmp_path / "v.zarr", EM)
    same(tmp_path / "v.zarr", 255 - EM, labels=True)
    same(tmp_path / "v.zarr", 255 - EM, key="labels")
    with pytest.raises(ParameterError, match=r"no wrong in it.*--input_key"):
        open_source(str(tmp_path / "v.zarr"), key="wrong")


def test_axes_that_are_no_volume(tmp_path):
    with pytest.raises(DataError, match="axes yx"):
        open_source(str(foreign(tmp_path / "flat", axes="yx", data=EM[0])))
    five = np.stack([EM, EM])[:, None]
    folder = foreign(tmp_path / "film", axes="zyx", data=EM)
    meta = json.loads((folder / ".zattrs").read_text())
    entry = meta["multiscales"][0]
    entry["axes"] = [{"name": a, "type": "other"} for a in "tc"] + entry["axes"]
    entry["datasets"] = [{"path": "five", "coordinateTransformations": [{"type": "scale", "scale": [1] * 5}]}]
    zarr.create_array(store=str(folder / "five"), data=five, zarr_format=2)
    (folder / ".zattrs").write_text(json.dumps(meta))
    with pytest.raises(DataError, match="2 time points; expected one"):
        open_source(str(folder))


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as f:
        f.create_dataset("em/stack", data=EM, chunks=(3, 10, 10), compression="gzip")
        f["em/stack"].attrs["resolution"] = (30.0, 4.0, 5.0)
        f["flat"] = EM[0]
    same(tmp_path / "one.h5", EM, (30, 4, 5))
    with h5py.File(tmp_path / "two.h5", "w") as f:
        f["a"], f["b"] = EM, WIDE.astype(">u2")
        f["b"].attrs["element_size_um"] = (0.03, 0.004, 0.005)
    same(tmp_path / "two.h5", WIDE, (30, 4, 5), key="b")
    with pytest.raises(ParameterError, match="several datasets; give one of a, b with --input_key"):
        open_source(str(tmp_path / "two.h5"))
    with pytest.raises(ParameterError, match="no dataset c; give one of a, b with --input_key"):
        open_source(str(tmp_path / "two.h5"), key="c")
    with h5py.File(tmp_path / "cremi.h5", "w") as f:
        f["volumes/raw"], f["volumes/labels/neuron_ids"] = EM, WIDE
    same(tmp_path / "cremi.h5", EM)


def test_hdf5_without_a_volume_or_cut_off(tmp_path):
    with h5py.File(tmp_path / "flat.h5", "w") as f:
        f["flat"] = EM[0]
    with pytest.raises(DataError, match="no 3-D dataset"):
        open_source(str(tmp_path / "flat.h5"))
    whole = tmp_path / "whole.h5"
    with h5py.File(whole, "w") as f:
        f["v"] = np.random.default_rng(0).integers(0, 256, (20, 40, 40), np.uint8)
    content = whole.read_bytes()
    for part in (1, 100, len(content) // 2, len(content) - 1):
        whole.write_bytes(content[:part])
        with pytest.raises(DataError, match=r"whole\.h5: not a whole HDF5 file.*copy it again"):
            open_source(str(whole))


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_with_spacings_and_units(tmp_path, encoding):
    path = tmp_path / "v.nrrd"
    for data in (EM, WIDE):
        for more in (
            {"spacings": [0.005, 0.004, 0.03], "units": ["um", "um", "um"]},
            {"space directions": np.diag([5.0, 4.0, 30.0]), "space units": ["nm", "nm", "nm"], "space dimension": 3},
        ):
            nrrd.write(str(path), data, {"encoding": encoding, **more}, index_order="C")
            same(path, data, (30, 4, 5))
    nrrd.write(str(path), EM, {"encoding": encoding, "spacings": [5, 4, 30]}, index_order="C")
    same(path, EM, None)
    content = path.read_bytes()
    for part in (3, 60, len(content) - 1 - 40 * (encoding == "gzip")):
        path.write_bytes(content[:part])
        with pytest.raises(DataError, match=r"v\.nrrd.*copy it again"):
            open_source(str(path)).read(ALL)


def test_nrrd_big_endian_and_other_encodings(tmp_path):
    path = tmp_path / "v.nrrd"
    sizes = " ".join(map(str, WIDE.shape[::-1]))
    head = f"NRRD0004\ntype: uint16\ndimension: 3\nsizes: {sizes}\nendian: big\nencoding: raw\n\n"
    path.write_bytes(head.encode() + WIDE.astype(">u2").tobytes())
    same(path, WIDE)
    nrrd.write(str(path), EM, {"encoding": "ascii"}, index_order="C")
    with pytest.raises(DataError, match="in ascii; expected integers or floats, raw, gzip or bzip2"):
        open_source(str(path))


def test_npy_of_either_order_and_byte_order(tmp_path):
    for data in (EM, np.asfortranarray(EM), WIDE, WIDE.astype(">u2")):
        np.save(tmp_path / "v.npy", data)
        same(tmp_path / "v.npy", data.astype(data.dtype.newbyteorder("=")))


def test_npz_by_its_usual_names_and_by_key(tmp_path):
    path = tmp_path / "v.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, raw=EM, labels=WIDE)
        same(path, EM)
        same(path, WIDE, labels=True)
        save(path, a=EM, b=WIDE)
        same(path, WIDE, key="b")
        with pytest.raises(ParameterError, match="several datasets; give one of a, b with --input_key"):
            open_source(str(path))
        save(path, only=WIDE)
        same(path, WIDE)


def test_npz_damage_is_found(tmp_path):
    path = tmp_path / "v.npz"
    np.savez(path, raw=EM)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="not a whole NPZ file"):
        open_source(str(path))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    path.write_bytes(flipped)
    source = open_source(str(path))
    with pytest.raises(DataError, match=r"v\.npz.*copy it again"):  # the checksum stands at the end
        source.read((slice(0, 1), *ALL[1:]))
        source.close()


def test_npz_streams_forward_in_bounded_memory(tmp_path):
    """96 MB of zeros, a cutout at the far end and a whole pass: never more than a slab in memory."""
    np.savez_compressed(tmp_path / "v.npz", raw=np.zeros((96, 1024, 1024), np.uint8))
    code = f"""
import re
from voxelmill.ingest.volumes.formats import open_source
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
source = open_source({str(tmp_path / "v.npz")!r})
start = peak()
source.read((slice(90, 92), slice(0, 10), slice(0, 10)))
far = peak()
for z in range(0, 96, 16):
    assert source.read((slice(z, z + 16), slice(0, 1024), slice(0, 1024))).shape == (16, 1024, 1024)
source.close()
print(far - start, peak() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    far, whole = map(float, done.stdout.split())
    assert far < 8 and whole < 32


def precomputed(folder, offset=(0, 0, 0)):
    x, y, z = EM.shape[::-1]
    array = ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{folder}/",
            "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
            "scale_metadata": {
                "size": [x, y, z],
                "resolution": [5, 4, 30],
                "encoding": "raw",
                "chunk_size": [16, 8, 4],
                "voxel_offset": list(offset),
            },
        },
        create=True,
    ).result()
    return array[ts.d[:].translate_to[0]]


@pytest.mark.parametrize("form", ["{}", "precomputed://file://{}", "precomputed://{}"])
def test_precomputed_is_turned_to_zyx(tmp_path, form):
    dot = np.zeros_like(EM)
    dot[2, 11, 25] = 200
    precomputed(tmp_path / "dot", offset=(100, 50, 7))[25, 11, 2, 0].write(200).result()
    same(form.format(tmp_path / "dot"), dot, (30, 4, 5))
    precomputed(tmp_path / "em")[..., 0].write(EM.T).result()
    same(form.format(tmp_path / "em"), EM, (30, 4, 5))


def test_precomputed_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match="no info file"):
        open_source(f"precomputed://file://{tmp_path}")
    with pytest.raises(ParameterError, match="no reader for this scheme"):
        open_source("precomputed://ftp://host/volume")
    monkeypatch.setattr(kvstore, "PATIENCE", {"max_retries": 1, "initial_delay": "1ms"})
    with pytest.raises(TransientError, match="is the address right"):
        open_source("precomputed://http://127.0.0.1:9/volume")
    (tmp_path / "info").write_text('{"@type": "neuroglancer_multiscale_volume", "scales": "none"}')
    with pytest.raises(DataError, match="cannot be opened as precomputed"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("location", "kind", "words"),
    [
        ("https://example.org/v.npy", ParameterError, "fetch it"),
        ("ftp://example.org/v.zarr", ParameterError, "no reader for this scheme"),
        ("nothing/here.npy", StorageError, "no such file"),
        ("notes.txt", ParameterError, "no reader for .txt"),
        ("stack.lsm", ParameterError, "no reader for .lsm; it is read as a movie only: save its stack as OME-TIFF"),
        ("plain", ParameterError, "a file without suffix"),
        ("folder", DataError, "neither a Zarr store nor a folder of TIFF"),
        ("empty.npy", DataError, "empty"),
        ("empty.tif", DataError, "empty"),
        ("empty.h5", DataError, "empty"),
    ],
)
def test_what_is_no_volume(tmp_path, monkeypatch, location, kind, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "plain", "stack.lsm"):
        (tmp_path / name).write_text("words")
    for suffix in ("npy", "tif", "h5"):
        (tmp_path / f"empty.{suffix}").touch()
    with pytest.raises(kind, match=words) as raised:
        open_source(location)
    assert location in str(raised.value)


@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 0, 5), (5, 5), (2, 5, 5, 5)])
def test_shapes_that_are_no_volume(tmp_path, shape):
    np.save(tmp_path / "v.npy", np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="expected three axes"):
        open_source(str(tmp_path / "v.npy"))


def test_a_header_that_claims_more_than_there_is(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((5, 5, 5), np.uint8))
    content = (tmp_path / "v.npy").read_bytes()
    huge = content.replace(b"(5, 5, 5), }      ", b"(5, 5, 1099511), }")
    (tmp_path / "v.npy").write_bytes(huge)
    with pytest.raises(DataError, match=r"v\.npy: not a whole NPY"):
        open_source(str(tmp_path / "v.npy"))
    import zipfile

    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as f:
        f.writestr("raw.npy", huge)
    with pytest.raises(DataError, match=r"v\.npz: the header claims \(5, 5, 1099511\)"):
        open_source(str(tmp_path / "v.npz"))
