"""`docs/formats.md`: each row of its table is made here, with all that the row says, and read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import nrrd
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from voxelmill.ingest.volumes.formats import open_source

from .conftest import write_precomputed
from .test_foreign import ome_set
from .test_sources import ALL, EM
from .test_sources_said import NAMING, write_n5, write_zarr2, write_zarr3

SIZE, ORIGIN = (30.0, 4.0, 5.0), (300.0, 40.0, 50.0)  # z, y, x in nm
UM = [v / 1000 for v in SIZE]
ATTRIBUTES = {"resolution": list(SIZE), "offset": list(ORIGIN)}


def ngff(path: Path, version: str) -> Any:
    """x is the slowest axis, so that the names count."""
    axes: list[Any] = [{"name": a, "type": "space", "unit": "nanometer"} for a in "xzy"]
    order = [2, 0, 1]
    steps = [
        {"type": "scale", "scale": [SIZE[n] for n in order]},
        {"type": "translation", "translation": [ORIGIN[n] for n in order]},
    ]
    data = EM.transpose(order)
    entry: dict[str, Any] = {
        "version": version,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    if version == "0.6":
        step = {"type": "sequence", "transformations": steps, "input": {"path": "0"}, "output": {"name": "world"}}
        entry = {
            "coordinateSystems": [{"name": "world", "axes": axes}],
            "datasets": [{"path": "0", "coordinateTransformations": [step]}],
        }
    elif version == "0.3":
        entry = {"version": "0.3", "axes": list("xzy"), "datasets": [{"path": "0"}]}
    elif version < "0.3":
        entry, data = {"version": version, "datasets": [{"path": "0"}]}, EM[None, None]
    v3 = version in ("0.5", "0.6")
    where = path / "em"  # below a group, to be named by its key
    zarr.create_array(store=str(where / "0"), data=np.ascontiguousarray(data), zarr_format=3 if v3 else 2)
    if v3:
        meta = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, "multiscales": [entry]}}}
        (where / "zarr.json").write_text(json.dumps(meta))
    else:
        (where / ".zgroup").write_text('{"zarr_format": 2}')
        (where / ".zattrs").write_text(json.dumps({"multiscales": [entry]}))
    shutil.copytree(where, path / "other")
    return {"key": "em"}


def zarr_array(path: Path, version: int) -> Any:
    for name in ("em", "other"):
        (write_zarr3 if version == 3 else write_zarr2)(path / name, np.ascontiguousarray(EM.transpose(2, 0, 1)), "xzy")
        array = zarr.open_array(str(path / name))
        array.attrs.update({k: [v[2], v[0], v[1]] for k, v in ATTRIBUTES.items()})
    return {"key": "em"}


def n5(path: Path) -> Any:
    for name in ("em", "other"):
        write_n5(path / name, EM, "")
        file = path / name / "attributes.json"
        more = {k: v[::-1] for k, v in ATTRIBUTES.items()}
        file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    return {"key": "em"}


def precomputed(path: Path, packed: bool = False) -> Any:
    import gzip

    write_precomputed(path, EM, offset=(10, 10, 10))
    for chunk in list((path / "5_4_30").iterdir()) if packed else ():
        chunk.with_name(f"{chunk.name}.gz").write_bytes(gzip.compress(chunk.read_bytes()))
        chunk.unlink()
    return {}


def hdf5(path: Path) -> Any:
    with h5py.File(path, "w") as f:
        for name in ("em", "other"):
            f[name] = EM.transpose(2, 0, 1)
            for dim, axis in zip(f[name].dims, "xzy", strict=True):
                dim.label = axis
            f[name].attrs.update({k: [v[2], v[0], v[1]] for k, v in ATTRIBUTES.items()})
    return {"key": "em"}


def ome_tiff(path: Path) -> Any:
    meta = {"axes": "ZCYX", "PhysicalSizeZ": UM[0], "PhysicalSizeY": UM[1], "PhysicalSizeX": UM[2]}
    tifffile.imwrite(path, np.stack([255 - EM, EM], 1), metadata=meta, photometric="minisblack")
    return {"channel": 1}


def ome_files(path: Path) -> Any:
    ome_set(path.parent)
    return {"channel": 1}


def imagej(path: Path) -> Any:
    meta = {"axes": "ZCYX", "spacing": UM[0], "unit": "um", "zorigin": -10, "yorigin": -10, "xorigin": -10}
    tifffile.imwrite(path, np.stack([255 - EM, EM], 1), imagej=True, resolution=(1 / UM[2], 1 / UM[1]), metadata=meta)
    return {"channel": 1}


def sections(path: Path, png: bool = False) -> Any:
    path.mkdir()
    for n in reversed(range(len(EM))):
        if png:
            Image.fromarray(EM[n]).save(path / f"em_{n + 5}_x.png")
        else:
            tifffile.imwrite(path / f"em_{n + 5}_x.tif", EM[n])
    return {}


def nrrd_file(path: Path, **how: Any) -> Any:
    more = {"space directions": np.diag(SIZE[::-1]), "space origin": list(ORIGIN[::-1]), "space dimension": 3}
    nrrd.write(str(path), EM, {**more, "space units": ["nm"] * 3}, index_order="C", **how)
    return {}


def npz(path: Path) -> Any:
    np.savez(path, em=EM, other=EM)
    return {"key": "em"}


ROWS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "OME-Zarr 0.6": ("v.ome.zarr", lambda p: ngff(p, "0.6")),
    "OME-Zarr 0.5": ("v.ome.zarr", lambda p: ngff(p, "0.5")),
    "OME-Zarr 0.4": ("v.ome.zarr", lambda p: ngff(p, "0.4")),
    "OME-Zarr 0.3": ("v.ome.zarr", lambda p: ngff(p, "0.3")),
    "OME-Zarr 0.1, 0.2": ("v.ome.zarr", lambda p: ngff(p, "0.2")),
    "Zarr v3 array": ("v.zarr", lambda p: zarr_array(p, 3)),
    "Zarr v2 array": ("v.zarr", lambda p: zarr_array(p, 2)),
    "N5": ("v.n5", n5),
    "Neuroglancer precomputed": ("v", precomputed),
    "precomputed with gzip": ("v", lambda p: precomputed(p, True)),
    "BossDB": ("", lambda p: {}),
    "HDF5": ("v.h5", hdf5),
    "OME-TIFF": ("v.ome.tif", ome_tiff),
    "OME-TIFF in several files": ("v1.ome.tif", ome_files),
    "ImageJ TIFF": ("v.tif", imagej),
    "TIFF of pages": ("v.tif", lambda p: tifffile.imwrite(p, EM, metadata=None)),
    "folder of TIFF sections": ("v", sections),
    "folder of PNG sections": ("v", lambda p: sections(p, True)),
    "NRRD": ("v.nrrd", nrrd_file),
    "NRRD in two files": ("v.nhdr", lambda p: nrrd_file(p, detached_header=True)),
    "NPY": ("v.npy", lambda p: np.save(p, EM)),
    "NPZ": ("v.npz", npz),
}


def table() -> dict[str, list[str]]:
    text = (Path(__file__).parents[2] / "docs/formats.md").read_text().split("## Volumes")[1].split("\n- ")[0]
    rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_table_has_these_rows():
    assert list(table()) == list(ROWS)


def boss(monkeypatch, tmp_path):
    pytest.importorskip("intern", reason="intern is not installed")
    from voxelmill.testing.boss import BossServer

    monkeypatch.setenv("HOME", str(tmp_path))
    server = BossServer(EM, SIZE, start=(10, 10, 10))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.mark.parametrize("name", ROWS)
def test_what_a_row_says_is_read(tmp_path, monkeypatch, name):
    file, write = ROWS[name]
    _, size, origin, names = table()[name]
    with boss(monkeypatch, tmp_path) if name == "BossDB" else nullcontext() as server:
        more = write(tmp_path / file) or {}
        assert ("--input_key" in names) == ("key" in more)
        source = open_source(server.uri if server else str(tmp_path / file), **more)
        np.testing.assert_array_equal(source.read(ALL), EM)
        assert source.voxel_size == (None if size == "—" else pytest.approx(SIZE))
        assert source.origin == (None if origin == "—" else pytest.approx(ORIGIN))
        assert bool(source.sections) == (names == "file names")
        source.close()


def test_each_way_of_naming_axes_is_in_the_table():
    """`NAMING` in the tests of sources turns axes in every order by each of these."""
    said = " ".join(row[0] for row in table().values())
    for word in ("axistags", "DIMENSION_LABELS", "dimension_names", "_ARRAY_DIMENSIONS", "`axes`"):
        assert word in said
    assert len(NAMING) == 6
