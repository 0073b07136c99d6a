"""Volumes as people have them: one `Source` per format, read region by region.

| given as | read with |
|---|---|
| `bossdb://collection/experiment/channel` | intern |
| OME-Zarr 0.4 and 0.5, plain Zarr v2 and v3 arrays | TensorStore |
| Neuroglancer precomputed (folder with `info`, or `precomputed://...`) | TensorStore |
| HDF5 (`--input_key` names the dataset where there are several) | h5py |
| TIFF stack, folder of TIFF sections | tifffile |
| NRRD, NPY, NPZ (`raw` or `labels`, else `--input_key`) | pynrrd, numpy |

A source answers `read(region)` with a (z, y, x) array; nothing is loaded before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError, StorageError
from ..core.volume import Region, check_metadata, open_array, open_image

READABLE = "bossdb://, OME-Zarr, HDF5, TIFF stack or folder, NRRD, NPY, NPZ, Neuroglancer precomputed"


@dataclass
class Source:
    """A volume somewhere: shape (z, y, x), dtype, voxel size in nm where known, how to read it."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    read: Callable[[Region], np.ndarray]
    voxel_size: tuple[float, ...] | None = None
    missing: list[int] = field(default_factory=list)     # sections that the source lacks
    sections: list[str] = field(default_factory=list)    # file names, where a section is a file
    close: Callable[[], None] = lambda: None


def open_source(location: str, key: str = "", channel: int = 0, path: Path | None = None) -> Source:
    """Open a volume by its path or URI.

    Args:
        location: what the user gave; `path` is where it lies now, if it is local.
        key: dataset inside HDF5 or NPZ.
        channel: channel of a 5-D image.
    Raises:
        StorageError: not there. DataError: there but unreadable. ParameterError: of no known kind.
    """
    if location.startswith("bossdb://"):
        from .bossdb import open_bossdb
        return open_bossdb(location)
    if location.startswith("precomputed://"):
        return _precomputed(location.removeprefix("precomputed://"), location)
    if "://" in location and not location.startswith("file://"):
        raise ParameterError(f"--input {location}: no reader for this scheme; readable are {READABLE}")
    path = path or Path(location.removeprefix("file://"))
    if not path.exists():
        raise StorageError(f"{location}: no such file or folder")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{location}: the file is empty (0 bytes); expected a volume. Fetch it again")
    source = _opener(path)(path, key, channel)
    source.name = location
    if len(source.shape) != 3 or min(source.shape) < 1:
        raise DataError(f"{location}: shape {source.shape}; expected three axes (z, y, x), each at least 1")
    if float(np.prod([float(n) for n in source.shape])) > 2**60:
        raise DataError(f"{location}: shape {source.shape} cannot be a volume; the header is damaged")
    return source


def _opener(path: Path) -> Callable[[Path, str, int], Source]:
    if path.is_dir():
        if (path / "info").exists():
            return lambda p, k, c: _precomputed(f"file://{p.resolve()}", str(p))
        if any((path / n).exists() for n in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
            return _zarr
        return _tiff_folder
    suffix = "".join(path.suffixes[-2:]).lower() if path.name.lower().endswith(".ome.tif") else path.suffix.lower()
    openers = {".npy": _npy, ".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".hdf": _hdf5, ".nrrd": _nrrd,
               ".tif": _tiff, ".tiff": _tiff, ".ome.tif": _tiff}
    if suffix not in openers:
        raise ParameterError(f"--input {path.name}: no reader for {suffix or 'a file without suffix'}; "
                             f"readable are {READABLE}")
    return openers[suffix]


def _npy(path: Path, key: str, channel: int) -> Source:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path.name}: not a whole NPY file ({error}); copy it again") from None
    return Source(path.name, "npy", array.shape, array.dtype, lambda r: np.ascontiguousarray(array[r]))


def _npz(path: Path, key: str, channel: int) -> Source:
    """NPZ members are deflated: read forward in z, never back, so that memory stays bounded."""
    import zipfile

    try:
        archive = zipfile.ZipFile(path)
        names = [n.removesuffix(".npy") for n in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name}: not a whole NPZ file ({error}); copy it again") from None
    chosen = key or next((n for n in ("raw", "labels") if n in names), names[0] if len(names) == 1 else "")
    if chosen not in names:
        raise DataError(f"{path.name}: no array {chosen or 'raw or labels'} in it; it holds {', '.join(names)}. "
                        "Name one with --input_key")
    stream = _Forward(lambda: archive.open(chosen + ".npy"), path.name)
    return Source(path.name, "npz", stream.shape, stream.dtype, stream.read, close=archive.close)


class _Forward:
    """A C-ordered array in a stream: z slabs in ascending order; going back starts anew."""

    def __init__(self, start: Callable[[], Any], name: str):
        self._start, self._name = start, name
        self._rewind()

    def _rewind(self) -> None:
        self._file, self._z = self._start(), 0
        self._held: tuple[int, int, np.ndarray | None] = (0, 0, None)
        version = np.lib.format.read_magic(self._file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, fortran, self.dtype = header(self._file)
        if fortran or self.dtype.hasobject:
            raise DataError(f"{self._name}: Fortran order or objects; save it as a C-ordered numeric array")

    def read(self, region: Region) -> np.ndarray:
        z0, z1, _ = region[0].indices(self.shape[0])
        if self._held[:2] != (z0, z1) or self._held[2] is None:
            if z0 < self._z:
                self._rewind()
            self._section(z0 - self._z)
            self._held = (z0, z1, self._section(z1 - z0))
            self._z = z1
        return self._held[2][:, region[1], region[2]]  # type: ignore[index]

    def _section(self, count: int) -> np.ndarray:
        out = np.empty((count, *self.shape[1:]), self.dtype)
        for z in range(count):
            view = memoryview(out[z]).cast("B") if out[z].size else b""
            done = 0
            while done < len(view):
                try:
                    got = self._file.readinto(view[done:])
                except Exception as error:  # zlib and zipfile raise several kinds
                    raise DataError(f"{self._name}: damaged ({error}); copy it again") from error
                if not got:
                    raise DataError(f"{self._name}: ends too early; copy it again")
                done += got
        return out


def _hdf5(path: Path, key: str, channel: int) -> Source:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path.name}: not a whole HDF5 file ({error}); copy it again") from None
    found: list[str] = []
    file.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) and o.ndim == 3 else None)
    chosen = key or (found[0] if len(found) == 1 else "")
    if chosen not in file:
        raise DataError(f"{path.name}: 3-D datasets in it: {', '.join(found) or 'none'}; "
                        f"{'no ' + chosen if chosen else 'choose one'} with --input_key")
    data = file[chosen]
    size = data.attrs.get("resolution")     # CREMI's convention: nm, z y x

    def read(region: Region) -> np.ndarray:
        try:
            return data[region]
        except OSError as error:
            raise DataError(f"{path.name}/{chosen}: cannot be read ({error}); copy it again") from None

    return Source(path.name, "hdf5", data.shape, data.dtype, read,
                  None if size is None else tuple(float(v) for v in size), close=file.close)


def _nrrd(path: Path, key: str, channel: int) -> Source:
    import nrrd

    try:
        array, header = nrrd.read(str(path), index_order="C")
    except (nrrd.NRRDError, OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: not a whole NRRD file ({error}); copy it again") from None
    directions = header.get("space directions")
    spacing = header.get("spacings") if directions is None else np.linalg.norm(np.asarray(directions, float), axis=1)
    units = [str(u).lower() for u in header.get("space units", [])]
    to_nm = {"nm": 1.0, "nanometer": 1.0, "um": 1e3, "µm": 1e3, "micrometer": 1e3, "mm": 1e6, "millimeter": 1e6}
    known = spacing is not None and units and all(u in to_nm for u in units)
    size = tuple(float(s) * to_nm[u] for s, u in zip(spacing, units))[::-1] if known else None
    return Source(path.name, "nrrd", array.shape, array.dtype, lambda r: array[r], size)


def _zarr(path: Path, key: str, channel: int) -> Source:
    node = path / key if key else path
    if (node / ".zarray").exists() or _is_v3_array(node):
        array, size, axes = open_array(node), None, "zyx"
    else:
        image = open_image(node)
        array, size, axes = image.level(0), image.scale, "".join(a.name for a in image.axes)
    fixed = {"t": 0, "c": channel}
    if not set("zyx") <= set(axes) or not set(axes) <= set("tczyx"):
        raise DataError(f"{path.name}: axes {axes}; expected zyx, or tczyx with one time point")
    if "t" in axes and array.shape[axes.index("t")] != 1:
        raise DataError(f"{path.name}: {array.shape[axes.index('t')]} time points; expected one")
    if "c" in axes and channel >= array.shape[axes.index("c")]:
        raise ParameterError(f"--channel {channel}: {path.name} has {array.shape[axes.index('c')]} channels")
    view = array[tuple(fixed.get(a, slice(None)) for a in axes)]

    def read(region: Region) -> np.ndarray:
        try:
            return view[region].read().result()
        except ValueError as error:
            raise DataError(f"{path.name}: {str(error).split('[')[0].strip()}; the store is damaged") from None

    spatial = tuple(s for s, a in zip(size, axes) if a in "zyx") if size else None
    return Source(path.name, "zarr", tuple(view.shape), view.dtype.numpy_dtype, read, spatial)


def _is_v3_array(path: Path) -> bool:
    import json

    file = path / "zarr.json"
    try:
        is_array = file.exists() and json.loads(file.read_text()).get("node_type") == "array"
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON ({error})") from None
    if is_array:
        check_metadata(file)
    return is_array


def _precomputed(location: str, name: str) -> Source:
    """Neuroglancer precomputed, scale 0; stored x, y, z and turned to z, y, x."""
    import tensorstore as ts

    from ..core.volume import context

    if location.startswith("file://"):
        folder = Path(location.removeprefix("file://"))
        if not (folder / "info").exists():
            raise StorageError(f"{name}: no info file in {folder}")
        store: dict[str, Any] = {"driver": "file", "path": f"{folder}/"}
    else:
        store = {"driver": "http", "base_url": location}
    try:
        array = ts.open({"driver": "neuroglancer_precomputed", "kvstore": store}, open=True,
                        context=context()).result()
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{name}: cannot open as precomputed: {str(error).split('[source')[0][:200]}") from None
    unit = array.dimension_units
    size = tuple(float(u.multiplier) * (1e9 if u.base_unit == "m" else 1.0) for u in unit[:3])[::-1]
    view = array[ts.d["channel"][0]].T
    view = view[ts.d[:].translate_to[0]]
    return Source(name, "precomputed", tuple(view.shape), view.dtype.numpy_dtype,
                  lambda r: view[r].read().result(), size)


def natural(name: str) -> list[Any]:
    """Sort key: `z2` before `z10`."""
    return [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", name)]


def _tiff(path: Path, key: str, channel: int) -> Source:
    from .tiff import open_stack
    return open_stack(path)


def _tiff_folder(path: Path, key: str, channel: int) -> Source:
    from .tiff import open_folder
    return open_folder(path)
