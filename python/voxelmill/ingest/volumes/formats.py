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

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...core.errors import DataError, ParameterError, StorageError, TransientError, VoxelmillError
from ...core.volume import PER_NM, Region, check_metadata, check_scale, context, first_line, open_array, open_image, read_json
from .source import Source
from .streams import Forward, check_size, whole

READABLE = "bossdb://, OME-Zarr, HDF5, TIFF stack or folder, NRRD, NPY, NPZ, Neuroglancer precomputed"
PATIENCE = {"max_retries": 4, "initial_delay": "500ms", "max_delay": "4s"}  # with a server
LABEL, IMAGE = ("labels", "raw"), ("raw", "labels")  # datasets looked for where there are several


@dataclass(frozen=True)
class Wanted:
    """What of a file is wanted: a dataset, by name or by its usual names, and a channel."""

    key: str = ""
    channel: int = 0
    usual: tuple[str, ...] = IMAGE

    def choose(self, names: list[str], where: str) -> str:
        """One of the datasets. Raises ParameterError where --input_key must say which."""
        by_name = [[n for n in names if n.split("/")[-1] == u] for u in self.usual]
        guess = next((found[0] for found in by_name if len(found) == 1), names[0] if len(names) == 1 else "")
        chosen = self.key.strip("/") or guess
        if chosen not in names:
            raise ParameterError(
                f"{where}: {'no dataset ' + chosen if chosen else 'several datasets'}; "
                f"give one of {', '.join(names[:20]) or '(none)'} with --input_key"
            )
        return chosen


def open_source(
    location: str, key: str = "", channel: int = 0, path: Path | None = None, usual: tuple[str, ...] = IMAGE
) -> Source:
    """Open a volume by its path or URI.

    Args:
        location: what the user gave; `path` is where it lies now, if it is local.
        key: dataset inside HDF5, NPZ or a Zarr group.
        channel: channel of a 5-D image.
        usual: names of the dataset to take where there are several and no key.
    Raises:
        StorageError: not there. DataError: there but unreadable. ParameterError: of no known kind.
    """
    source = _open(location, Wanted(key, channel, usual), path)
    source.name, source.dtype = location, source.dtype.newbyteorder("=")
    if len(source.shape) != 3 or min(source.shape) < 1:
        raise DataError(f"{location}: shape {source.shape}; expected three axes (z, y, x), each at least 1")
    if float(np.prod([float(n) for n in source.shape])) > 2**60:
        raise DataError(f"{location}: shape {source.shape} cannot be a volume; the header is damaged")
    if source.voxel_size is not None:
        if len(source.voxel_size) != 3:
            raise DataError(f"{location}: voxel size {source.voxel_size}; expected three numbers (z, y, x)")
        check_scale(source.voxel_size, location)
    return source


def _open(location: str, wanted: Wanted, path: Path | None) -> Source:
    if location.startswith("bossdb://"):
        from .bossdb import open_bossdb

        return open_bossdb(location)
    if location.startswith("precomputed://"):
        return _precomputed(location.removeprefix("precomputed://"), location)
    path = path or local(location)
    if path is None:
        raise ParameterError(f"--input {location}: no reader for this scheme; readable are {READABLE}")
    if not path.exists():
        raise StorageError(f"{location}: no such file or folder; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{location}: the file is empty (0 bytes); expected a volume. Fetch it again")
    return _opener(path)(path, wanted)


def local(location: str) -> Path | None:
    """The path behind a location, where it is one."""
    plain = location.removeprefix("precomputed://").removeprefix("file://")
    return None if "://" in plain else Path(plain)


def _opener(path: Path) -> Callable[[Path, Wanted], Source]:
    if path.is_dir():
        if (path / "info").exists():
            return lambda p, w: _precomputed(f"file://{p.resolve()}", str(p))
        if any((path / n).exists() for n in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
            return _zarr
        return _tiff_folder
    openers = {
        ".npy": _npy,
        ".npz": _npz,
        ".h5": _hdf5,
        ".hdf5": _hdf5,
        ".hdf": _hdf5,
        ".nrrd": _nrrd,
        ".tif": _tiff,
        ".tiff": _tiff,
    }
    suffix = path.suffix.lower()
    if suffix not in openers:
        raise ParameterError(
            f"--input {path.name}: no reader for {suffix or 'a file without suffix'}; readable are {READABLE}"
        )
    return openers[suffix]


def _npy(path: Path, wanted: Wanted) -> Source:
    with whole(path, "NPY file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _in_memory(path, "npy", array)


def _in_memory(path: Path, kind: str, array: np.ndarray, size: tuple[float, ...] | None = None) -> Source:
    shape: Any = array.shape
    return Source(path.name, kind, shape, array.dtype, lambda r: np.ascontiguousarray(array[r]), size)


def _npz(path: Path, wanted: Wanted) -> Source:
    """NPZ members are deflated: read forward in z, never back, so that memory stays bounded."""
    import zipfile

    with whole(path, "NPZ file"):
        archive = zipfile.ZipFile(path)
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    member = wanted.choose(names, path.name) + ".npy"

    def start() -> tuple[IO[bytes], tuple[int, ...], np.dtype]:
        file = archive.open(member)
        old = np.lib.format.read_magic(file) == (1, 0)
        header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject or (fortran and len(shape) > 1):
            raise DataError(
                f"{path.name}/{member}: {dtype}, Fortran order {fortran}; save it as a C-ordered array of numbers"
            )
        return file, shape, dtype

    with whole(path, "NPZ file"):
        _, shape, dtype = start()
    check_size(path, shape, dtype, archive.getinfo(member).file_size)
    stream = Forward(lambda: start()[0], shape, dtype, path)

    def close() -> None:
        stream.finish()
        archive.close()

    return Source(path.name, "npz", stream.shape, dtype, stream.read, forward=True, close=close)


def _hdf5(path: Path, wanted: Wanted) -> Source:
    import h5py

    with whole(path, "HDF5 file"):
        file = h5py.File(path, "r")
        names: list[str] = []
        file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) and o.ndim == 3 else None)
    if not names:
        raise DataError(f"{path.name}: no 3-D dataset in it; expected one (z, y, x)")
    chosen = wanted.choose(names, path.name)
    data = file[chosen]
    with whole(path, "HDF5 file"):
        nm, um = data.attrs.get("resolution"), data.attrs.get("element_size_um")  # CREMI, ilastik; z y x
        size = () if um is None else tuple(float(v) * 1e3 for v in um)
        size = size if nm is None else tuple(float(v) for v in nm)

    def read(region: Region) -> np.ndarray:
        with whole(path, f"HDF5 dataset {chosen}"):
            return data[region]

    return Source(path.name, "hdf5", data.shape, data.dtype, read, size or None, close=file.close)


_NRRD = {
    "signed char": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "short": "i2",
    "ushort": "u2",
    "unsigned short": "u2",
    "int": "i4",
    "uint": "u4",
    "unsigned int": "u4",
    "float": "f4",
    "double": "f8",
    **{f"{k}int{8 * n}{t}": f"{k or 'i'}{n}" for k in ("", "u") for n in (1, 2, 4, 8) for t in ("", "_t")},
}


def _nrrd(path: Path, wanted: Wanted) -> Source:
    """Raw NRRD is mapped, gzip read forward; x is the fastest axis."""
    import gzip

    import nrrd

    with whole(path, "NRRD file"), open(path, "rb") as f:
        header, begin = nrrd.read_header(f), f.tell()
        shape = tuple(int(n) for n in header["sizes"])[::-1]
        encoding, kind = header["encoding"].lower(), header["type"].lower()
        size = _nrrd_size(header)
    outside = "data file" in header or "datafile" in header
    if outside or kind not in _NRRD or encoding not in ("raw", "gzip", "gz"):
        raise DataError(
            f"{path.name}: {kind} in {encoding}{', in a file of its own' if outside else ''}; "
            "expected integers or floats, raw or gzip, in the file itself"
        )
    dtype = np.dtype(("<" if header.get("endian", "little") == "little" else ">") + _NRRD[kind])
    inside = path.stat().st_size - begin
    if encoding == "raw":
        check_size(path, shape, dtype, inside)
        return _in_memory(path, "nrrd", np.memmap(path, dtype, "r", begin, shape), size)
    check_size(path, shape, dtype, 1100.0 * inside)  # deflate packs 1032 to 1 at best

    def start() -> IO[bytes]:
        file = open(path, "rb")  # noqa: SIM115
        file.seek(begin)
        return gzip.open(file)  # type: ignore[return-value]

    stream = Forward(start, shape, dtype, path)
    return Source(path.name, "nrrd", stream.shape, dtype, stream.read, size, forward=True, close=stream.finish)


def _nrrd_size(header: Any) -> tuple[float, ...] | None:
    """z, y, x in nm, where spacing and unit are stated."""
    directions, spacing, units = header.get("space directions"), header.get("spacings"), header.get("units")
    if directions is not None:
        spacing, units = np.linalg.norm(np.asarray(directions, float), axis=1), header.get("space units")
    if spacing is None or units is None or not all(str(u) in PER_NM for u in units):
        return None
    return tuple(float(s) * PER_NM[str(u)] for s, u in zip(spacing, units))[::-1]


def _zarr(path: Path, wanted: Wanted) -> Source:
    node, size, axes = path / wanted.key if wanted.key else path, None, "zyx"
    if not node.exists():
        raise ParameterError(f"{path.name}: no {wanted.key} in it; correct --input_key")
    if not _is_array(node) and not _has_image(node):
        inside = [p.name for p in sorted(node.iterdir()) if p.is_dir() and (_is_array(p) or _has_image(p))]
        return _zarr(node, Wanted(Wanted("", 0, wanted.usual).choose(inside, path.name), wanted.channel))
    if _is_array(node):
        array = open_array(node, sparse=True)
    else:
        image = open_image(node)
        array, axes = open_array(image.path(), sparse=True), "".join(a.name for a in image.axes)
        stated = all(a.unit for a in image.axes if a.name in "zyx")
        size = tuple(image.scale[axes.index(a)] for a in "zyx" if a in axes) if stated else None
    if len(axes) != len(set(axes)) or not set("zyx") <= set(axes) <= set("tczyx") or array.ndim != len(axes):
        raise DataError(f"{path.name}: axes {axes} of shape {array.shape}; expected zyx, or tczyx with one time point")
    if "t" in axes and array.shape[axes.index("t")] != 1:
        raise DataError(f"{path.name}: {array.shape[axes.index('t')]} time points; expected one")
    if "c" in axes and wanted.channel >= array.shape[axes.index("c")]:
        raise ParameterError(
            f"--channel {wanted.channel}: {path.name} has {array.shape[axes.index('c')]} channels, the first is 0"
        )
    fixed = {"t": 0, "c": wanted.channel}
    view = array[tuple(fixed.get(a, slice(None)) for a in axes)]
    space = [a for a in axes if a in "zyx"]
    return _tensor(view[_dims([space.index(a) for a in "zyx"])], path.name, "zarr", size)


def _dims(order: list[int]) -> Any:
    """Index expression that puts the axes in this order."""
    import tensorstore as ts

    return ts.d[order].transpose[:]


def _tensor(view: Any, name: str, kind: str, size: tuple[float, ...] | None) -> Source:
    def read(region: Region) -> np.ndarray:
        try:
            return view[region].read().result()
        except ValueError as error:
            raise _remote(name, "cannot be read", error) from None

    return Source(name, kind, tuple(view.shape), np.dtype(view.dtype.numpy_dtype), read, size)


def _remote(name: str, what: str, error: Exception) -> VoxelmillError:
    """A server that does not answer may do so later; anything else is bad data."""
    text = first_line(error)
    if text.startswith(("ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED")):
        return TransientError(f"{name}: {what}: {text}; is the address right? Else run again with -resume")
    return DataError(f"{name}: {what}: {text}; the source is damaged, or is not what its name says")


def _is_array(path: Path) -> bool:
    if (path / ".zarray").exists():
        check_metadata(path / ".zarray")
        return True
    file = path / "zarr.json"
    if not file.exists() or read_json(file).get("node_type") != "array":
        return False
    check_metadata(file)
    return True


def _has_image(path: Path) -> bool:
    try:
        open_image(path)
    except StorageError:
        return False
    return True


def _precomputed(location: str, name: str) -> Source:
    """Neuroglancer precomputed, scale 0; stored x, y, z and turned to z, y, x."""
    import tensorstore as ts

    folder = local(location)
    if folder and not (folder / "info").exists():
        raise StorageError(f"{name}: no info file in {folder}; check the path")
    if not folder and not location.startswith(("http://", "https://", "gs://", "s3://")):
        raise ParameterError(
            f"{name}: no reader for this scheme; expected precomputed:// and then file://, http://, https://, gs:// or s3://"
        )
    where = f"file://{folder.resolve()}/" if folder else location.rstrip("/") + "/"
    try:
        spec = {"driver": "neuroglancer_precomputed", "kvstore": where, "context": {"http_request_retries": PATIENCE}}
        array = ts.open(spec, open=True, context=context()).result()
    except (ValueError, NotImplementedError) as error:
        raise _remote(name, "cannot be opened as precomputed", error) from None
    units = array.dimension_units[:3]
    nm = tuple(u.multiplier * PER_NM.get(u.base_unit, 0.0) if u else 0.0 for u in units)[::-1]
    view = array[ts.d["channel"][0]][_dims([2, 1, 0])][ts.d[:].translate_to[0]]
    return _tensor(view, name, "precomputed", nm)


def _tiff(path: Path, wanted: Wanted) -> Source:
    from .tiff import open_stack

    return open_stack(path, wanted.channel)


def _tiff_folder(path: Path, wanted: Wanted) -> Source:
    from .tiff import open_folder

    return open_folder(path)
