"""What volumes say of themselves is obeyed: names of axes, units, origins, levels, labels, channels."""

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
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest.volumes.formats import open_source

from .conftest import write_precomputed
from .test_sources import ALL, EM, foreign, same

CZYX = np.stack([255 - EM, EM])  # EM is channel 1


def write_hdf5(path, data, axes):
    with h5py.File(path, "w") as f:
        f["v"] = data
        if axes:
            f["v"].attrs["axistags"] = json.dumps({"axes": [{"key": a, "typeFlags": 2, "resolution": 0} for a in axes]})


def write_hdf5_labels(path, data, axes):
    with h5py.File(path, "w") as f:
        f["v"] = data
        for dim, name in zip(f["v"].dims, axes):
            dim.label = name


def write_zarr3(path, data, axes):
    zarr.create_array(store=str(path), data=data, chunks=(5,) * data.ndim, dimension_names=list(axes) or None)


def write_zarr2(path, data, axes):
    array = zarr.create_array(store=str(path), data=data, chunks=(5,) * data.ndim, zarr_format=2)
    if axes:
        array.attrs["_ARRAY_DIMENSIONS"] = list(axes)


def write_ome(path, data, axes):
    foreign(path, axes="zyx", data=data)
    meta = json.loads((path / ".zattrs").read_text())
    entry = meta["multiscales"][0]
    entry["axes"] = [{"name": a, "type": "space", "unit": "nanometer"} for a in axes]
    sizes = {"z": 30, "y": 4, "x": 5}
    entry["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [sizes.get(a, 1) for a in axes]}]
    (path / ".zattrs").write_text(json.dumps(meta))


def write_n5(path, data, axes):
    """N5 lists its axes from the fastest on."""
    meta = {
        "dimensions": list(data.shape[::-1]),
        "blockSize": [5] * data.ndim,
        "dataType": "uint8",
        "compression": {"type": "raw"},
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": meta}
    ts.open(spec, create=True).result()[...].write(data.T).result()
    attributes = json.loads((path / "attributes.json").read_text())
    (path / "attributes.json").write_text(json.dumps({**attributes, **({"axes": list(axes[::-1])} if axes else {})}))


NAMING = {
    "h5": write_hdf5,
    "hdf5": write_hdf5_labels,
    "zarr": write_zarr3,
    "2.zarr": write_zarr2,
    "ome.zarr": write_ome,
    "n5": write_n5,
}


@pytest.mark.parametrize("form", NAMING)
@pytest.mark.parametrize("axes", ["zyx", "xyz", "xzy", "yxz", "zyxc", "cxyz", "tzcyx", "tczyx", "zcyx"])
def test_named_axes_are_obeyed(tmp_path, form, axes):
    have = "tczyx" if "t" in axes else "czyx" if "c" in axes else "zyx"
    data = {"zyx": EM, "czyx": CZYX, "tczyx": CZYX[None]}[have]
    data = np.ascontiguousarray(data.transpose([have.index(a) for a in axes]))
    path = tmp_path / f"v.{form}"
    NAMING[form](path, data, axes)
    same(path, EM, (30, 4, 5) if form == "ome.zarr" else None, channel=1 if "c" in axes else 0)


@pytest.mark.parametrize("form", [*NAMING, "npy", "npz", "nrrd", "gz.nrrd"])
@pytest.mark.parametrize("at", [(), (0,), (3,), (2,), (0, 1), (0, 4)])
def test_axes_of_length_1_are_no_obstacle(tmp_path, form, at):
    data, path = np.expand_dims(EM, at), tmp_path / f"v.{form}"
    if form == "npy":
        np.save(path, data)
    elif form == "npz":
        np.savez_compressed(path, raw=data)
    elif "nrrd" in form:
        nrrd.write(str(path), data, {"encoding": "gzip" if "gz" in form else "raw"}, index_order="C")
    elif form in ("ome.zarr", "n5"):
        rest = iter("zyx")
        names = [f"k{n}" if n in at else next(rest) for n in range(data.ndim)]
        NAMING[form](path, data, names)
    else:
        NAMING[form](path, data, "")
    same(path, EM, (30, 4, 5) if form == "ome.zarr" else None)


@pytest.mark.parametrize("form", [*NAMING, "npy", "npz", "nrrd"])
def test_a_single_section_stays_one(tmp_path, form):
    data, path = EM[:1], tmp_path / f"v.{form}"
    if form in ("npy", "npz"):
        (np.save if form == "npy" else np.savez)(path, data)
    elif form == "nrrd":
        nrrd.write(str(path), data, index_order="C")
    else:
        NAMING[form](path, data, "zyx" if form in ("ome.zarr", "n5") else "")
    np.testing.assert_array_equal(open_source(str(path)).read(ALL), data)


@pytest.mark.parametrize("form", NAMING)
def test_axes_of_which_one_does_not_know_what_to_take(tmp_path, form):
    path = tmp_path / f"v.{form}"
    NAMING[form](path, np.stack([EM, EM]), "tzyx")
    with pytest.raises(DataError, match=r"2 time points; expected one|no 3-D dataset"):
        open_source(str(path))
    if form not in ("ome.zarr", "n5"):
        other = tmp_path / f"w.{form}"
        NAMING[form](other, np.stack([EM, EM]), "")
        with pytest.raises(DataError, match=r"\(2, 9, 20, 30\)"):
            open_source(str(other))


@pytest.mark.parametrize(
    "unit", ["micron", "microns", "µm", "um", "\u03bcm", "Micrometer", "micrometers", "MICRON", "&#181;m"]
)
def test_however_a_unit_is_spelt(tmp_path, unit):
    same(foreign(tmp_path / "v.zarr", unit=unit), EM, (30e3, 4e3, 5e3))
    nrrd.write(
        str(tmp_path / "v.nrrd"), EM, {"spacings": [5, 4, 30], "units": ["UNIT"] * 3, "encoding": "raw"}, index_order="C"
    )
    content = (tmp_path / "v.nrrd").read_bytes()
    for code in ("utf-8", "latin-1") if unit != "\u03bcm" else ("utf-8",):
        (tmp_path / "v.nrrd").write_bytes(content.replace(b"UNIT", unit.encode(code)))
        same(tmp_path / "v.nrrd", EM, (30e3, 4e3, 5e3))


def test_hdf5_filters_of_others(tmp_path):
    import hdf5plugin

    for n, codec in enumerate((hdf5plugin.Blosc(), hdf5plugin.Zstd(), hdf5plugin.LZ4(), hdf5plugin.Bitshuffle())):
        with h5py.File(tmp_path / f"{n}.h5", "w") as f:
            f.create_dataset("v", data=EM, chunks=(3, 10, 10), **codec)
        code = f"""
import numpy as np
from voxelmill.ingest.volumes.formats import open_source
print(open_source({str(tmp_path / f"{n}.h5")!r}).read((slice(None),) * 3).sum())
"""  # in a process that has not imported the filters before
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) == EM.sum()


def test_hdf5_with_a_filter_that_nobody_has(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as f:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((3, 10, 10))
        plist.set_filter(32000 + 767, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(f.id, b"v", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(EM.shape), plist)
    with pytest.raises(DataError, match=r"v\.h5/v: compressed by HDF5 filter 32767"):
        open_source(str(tmp_path / "v.h5"))


def test_resolution_and_offset_of_plain_arrays(tmp_path):
    """CREMI and funlib write nm in the array's order; N5 tools x, y, z; COSEM names its axes."""
    group = zarr.open_group(str(tmp_path / "v.zarr"), mode="w", zarr_format=2)
    for name in ("cremi", "funlib"):
        group.create_array(name, data=EM)
    group["cremi"].attrs.update({"resolution": [30, 4, 5], "offset": [300, 40, 50]})
    group["funlib"].attrs.update({"voxel_size": [0.03, 0.004, 0.005], "offset": [0.3, 0.04, 0.05], "units": ["um"] * 3})
    for key in ("cremi", "funlib"):
        source = open_source(str(tmp_path / "v.zarr"), key=key)
        assert source.voxel_size == pytest.approx((30, 4, 5)) and source.origin == pytest.approx((300, 40, 50))
    for n, more in enumerate(
        (
            {"resolution": [5, 4, 30], "offset": [50, 40, 300]},
            {"transform": {"axes": ["z", "y", "x"], "scale": [30, 4, 5], "translate": [300, 40, 50], "units": ["nm"] * 3}},
            {"pixelResolution": {"unit": "um", "dimensions": [0.005, 0.004, 0.03]}},
        )
    ):
        write_n5(tmp_path / f"{n}.n5", EM, "")
        file = tmp_path / f"{n}.n5/attributes.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
        source = open_source(str(tmp_path / f"{n}.n5"))
        assert source.voxel_size == pytest.approx((30, 4, 5)), more
        assert source.origin == (None if n == 2 else pytest.approx((300, 40, 50)))
    with h5py.File(tmp_path / "v.h5", "w") as f:
        f["v"] = EM
        f["v"].attrs.update({"resolution": [30.0, 4, 5], "offset": [300.0, 40, 50]})
    assert open_source(str(tmp_path / "v.h5")).origin == (300, 40, 50)


def test_levels_of_a_pyramid_are_not_several_datasets(tmp_path):
    for level in range(3):
        write_n5(tmp_path / f"v.n5/em/s{level}", EM[:: 2**level], "")
    same(tmp_path / "v.n5", EM)
    assert open_source(str(tmp_path / "v.n5"), key="em/s1").shape == EM[::2].shape


def test_labels_of_an_image_are_the_truth_and_not_its_grey_values(tmp_path):
    from voxelmill.core.volume import create_labels

    lay = layout(EM.shape, "uint8", (4, 16, 16), (4, 8, 8))
    create_image(tmp_path / "v.ome.zarr", lay, Space.zyx((30, 4, 5))).write(ALL, EM)
    create_labels(tmp_path / "v.ome.zarr", "cells", lay, Space.zyx((30, 4, 5))).write(ALL, 255 - EM)
    same(tmp_path / "v.ome.zarr", EM, (30, 4, 5))
    same(tmp_path / "v.ome.zarr", 255 - EM, (30, 4, 5), labels=True)
    create_labels(tmp_path / "v.ome.zarr", "others", lay, Space.zyx((30, 4, 5))).write(ALL, EM)
    with pytest.raises(ParameterError, match="give one of labels/cells, labels/others with --truth_key"):
        open_source(str(tmp_path / "v.ome.zarr"), labels=True)
    same(tmp_path / "v.ome.zarr", 255 - EM, (30, 4, 5), labels=True, key="labels/cells")


def test_channel_of_precomputed(tmp_path):
    write_precomputed(tmp_path / "v", 255 - EM, EM)
    same(tmp_path / "v", 255 - EM, (30, 4, 5))
    same(tmp_path / "v", EM, (30, 4, 5), channel=1)


def test_nrrd_origin_and_axes_that_run_back(tmp_path):
    directions = np.diag([5.0, 4.0, 30.0])
    more = {"space units": ["nm"] * 3, "space dimension": 3, "space origin": [50.0, 40.0, 300.0]}
    nrrd.write(str(tmp_path / "v.nrrd"), EM, {"space directions": directions, **more}, index_order="C")
    source = open_source(str(tmp_path / "v.nrrd"))
    assert source.origin == (300, 40, 50) and not source.remarks
    directions[0, 0] = -5
    nrrd.write(str(tmp_path / "v.nrrd"), EM, {"space directions": directions, **more}, index_order="C")
    source = open_source(str(tmp_path / "v.nrrd"))
    assert source.origin is None and source.voxel_size == (30, 4, 5) and "mirror" in source.remarks[0]
