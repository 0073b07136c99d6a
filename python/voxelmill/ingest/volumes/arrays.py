"""NPY and NPZ. They hold numbers only: axes are z, y, x, and where the voxels lie is not stated."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from ...core.errors import DataError
from .axes import turn
from .source import NOWHERE, Placed, Source, Wanted
from .streams import Forward, check_size, whole


def open_npy(path: Path, wanted: Wanted) -> Source:
    with whole(path, "NPY file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return in_memory(path, "npy", array)


def in_memory(path: Path, kind: str, array: np.ndarray, at: Placed = NOWHERE) -> Source:
    """A source from an array that is mapped: z, y, x, and axes of length 1."""
    how = turn(None, array.shape, 0, path.name)
    shape = how.pick(array.shape)
    return Source(path.name, kind, shape, array.dtype, lambda r: np.ascontiguousarray(array[how.where(r)]), at)  # type: ignore[arg-type]


def open_npz(path: Path, wanted: Wanted) -> Source:
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
    stream = Forward(lambda: start()[0], turn(None, shape, 0, path.name).pick(shape), dtype, path)

    def close() -> None:
        stream.finish()
        archive.close()

    return Source(path.name, "npz", stream.shape, dtype, stream.read, forward=True, close=close)
