"""Arrays larger than memory, in files without a name in the folder of a task: gone when nothing refers to them."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 20  # elements of a table that are worked on at once: 16 row groups of a table of components
_MAPPED: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def zeros(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """A table (n,) of zeros, mapped from a file: what was touched stays in memory until `release`."""
    if not n:
        return np.zeros(0, dtype)
    with tempfile.TemporaryFile(dir=".") as file:
        size = n * np.dtype(dtype).itemsize
        file.truncate(size)
        mapped = mmap.mmap(file.fileno(), size)
    _MAPPED.add(mapped)
    return np.frombuffer(mapped, dtype)


def release() -> None:
    """Take all tables out of memory; they stay in their files."""
    for mapped in _MAPPED:
        mapped.madvise(mmap.MADV_DONTNEED)


def blocks(n: int) -> Iterator[slice]:
    """Parts of tables of n elements, one after the other, at least an empty one; what the work on one has touched is
    released."""
    for start in range(0, max(n, 1), BLOCK):
        yield slice(start, min(start + BLOCK, n))
        release()


def numbers(at: slice) -> NDArray[np.int64]:
    return np.arange(at.start, at.stop)


class Rows:
    """Columns of int64, some rows after others."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.file = tempfile.TemporaryFile(dir=".")  # noqa: SIM115 - open as long as this

    def put(self, *columns: NDArray[np.int64]) -> tuple[int, int]:
        """Add rows; the place where they are."""
        start = self.file.seek(0, 2)
        for column in columns:
            self.file.write(np.ascontiguousarray(column, np.int64).data)
        return start, len(columns[0])

    def get(self, place: tuple[int, int]) -> NDArray[np.int64]:
        """Rows of a place: (columns, rows)."""
        start, number = place
        self.file.seek(start)
        return np.fromfile(self.file, np.int64, self.columns * number).reshape(self.columns, number)
