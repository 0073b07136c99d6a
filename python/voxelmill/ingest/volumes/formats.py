"""Volumes as people have them: one `Source` per format, read region by region.

What is read of each format, axes, scale, origin and names, stands in `docs/formats.md`. A source answers `read(region)`
with a (z, y, x) array; nothing is loaded before that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from ...core.errors import DataError, ParameterError, StorageError
from .kvstore import SCHEMES, KvStore
from .source import Source, Wanted

READABLE = (
    "OME-Zarr, Zarr, N5, Neuroglancer precomputed (folder, zip, http(s)://, s3://, gs://), bossdb://, "
    "HDF5, TIFF stack, folder of TIFF or PNG sections, NRRD, NPY, NPZ"
)
FILES = (".npy", ".npz", ".h5", ".hdf5", ".hdf", ".nrrd", ".nhdr", ".tif", ".tiff")
MOVIES = (".nd2", ".czi", ".lsm", ".stk")  # what `timelapse` reads, and this does not
Opener = Callable[[Path, Wanted], Source]


def open_source(location: str, key: str = "", channel: int = 0, path: Path | None = None, labels: bool = False) -> Source:
    """Open a volume by its path or URI.

    Args:
        location: what the user gave; `path` is where it lies now, if it is local.
        key: dataset inside HDF5, NPZ, Zarr or N5.
        channel: channel of an image that has several.
        labels: ids are wanted, not grey values.
    Raises:
        StorageError: not there. DataError: there but unreadable. ParameterError: of no known kind.
    """
    source = _open(location, Wanted(key, channel, labels), path)
    source.name, source.dtype = location, source.dtype.newbyteorder("=")
    if len(source.shape) != 3 or min(source.shape) < 1:
        raise DataError(f"{location}: shape {source.shape}; expected three axes (z, y, x), each at least 1")
    if float(np.prod([float(n) for n in source.shape])) > 2**60:
        raise DataError(f"{location}: shape {source.shape} cannot be a volume; the header is damaged")
    return source


def _open(location: str, wanted: Wanted, path: Path | None) -> Source:
    if location.startswith("bossdb://"):
        from .bossdb import open_bossdb

        return open_bossdb(location)
    path = path or local(location)
    if path is None:
        plain = location.removeprefix("precomputed://")
        if not plain.startswith(SCHEMES):
            raise ParameterError(f"{location}: no reader for this scheme; readable are {READABLE}")
        if Path(urlsplit(plain).path).suffix.lower() in FILES:
            raise ParameterError(f"{location}: a file behind an address is not read; fetch it, and give its path")
        return _chunked(KvStore.of(plain, location), wanted, location.startswith("precomputed://"))
    if not path.exists():
        raise StorageError(f"{location}: no such file or folder; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{location}: the file is empty (0 bytes); expected a volume. Fetch it again")
    if location.startswith("precomputed://"):
        return _chunked(KvStore.of(path, location), wanted, True)
    return _opener(path)(path, wanted)


def local(location: str) -> Path | None:
    """The path behind a location, where it is one: letter by letter, in a URI only may `%20` stand for a blank."""
    uri = location.removeprefix("precomputed://")
    plain = uri.removeprefix("file://")
    if "://" in plain:
        return None
    return Path(plain) if plain == uri or Path(plain).exists() else Path(unquote(plain))


def _chunked(store: KvStore, wanted: Wanted, precomputed: bool = False) -> Source:
    """Zarr, N5 or precomputed, by what lies there. Raises StorageError where none of them does."""
    info = store.json("info")
    if info and ("scales" in info or precomputed):
        from .precomputed import open_precomputed

        return open_precomputed(store, wanted)
    if precomputed:
        raise StorageError(f"{store}: no info file there; check the path")
    from .zarr import open_zarr

    return open_zarr(store, wanted)


def _in_folder_or_zip(path: Path, wanted: Wanted) -> Source:
    return _chunked(KvStore.of(path, path.name), wanted)


def _opener(path: Path) -> Opener:
    if path.is_dir():
        from .zarr import METADATA

        if path.suffix in (".zarr", ".n5") or any((path / name).exists() for name in ("info", *METADATA)):
            return _in_folder_or_zip
        from .sections import open_folder

        return open_folder
    suffix = path.suffix.lower()
    if suffix in (".zip", ".ozx"):
        return _in_folder_or_zip
    if suffix in (".h5", ".hdf5", ".hdf"):
        from .hdf5 import open_hdf5

        return open_hdf5
    if suffix in (".tif", ".tiff"):
        from .tiff import open_stack

        return open_stack
    if path.name.lower().endswith((".companion.ome", ".ome.xml")):
        from .ome_files import open_files

        return open_files
    if suffix in (".nrrd", ".nhdr"):
        from .nrrd import open_nrrd

        return open_nrrd
    if suffix in (".npy", ".npz"):
        from .arrays import open_npy, open_npz

        return open_npy if suffix == ".npy" else open_npz
    movie = "; it is read as a movie only: save its stack as OME-TIFF" if suffix in MOVIES else ""
    raise ParameterError(f"{path.name}: no reader for {suffix or 'a file without suffix'}{movie}; readable are {READABLE}")
