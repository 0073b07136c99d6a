"""Arrays larger than memory, in files without a name in the folder of a task: gone when nothing refers to them."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 20  # elements of a table that are worked on at once: 16 row groups of a table of components
T = TypeVar("T", bound=tuple)
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


class Copies:
    """Copies of arrays on disk, many in a file: a task may have thousands of planes, and as few as 1,024 files open."""

    SIZE = 1 << 30  # bytes of a file, of which the disk holds what was written

    def __init__(self) -> None:
        self.room = zeros(0, np.uint8)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        size = -(-array.nbytes // 64) * 64
        if size > len(self.room):
            self.room = zeros(max(size, self.SIZE), np.uint8)
        part, self.room = self.room[: array.nbytes], self.room[size:]
        copy = part.view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy


class Shelf(Generic[T]):
    """Tables of a kind, a tuple of columns each, kept on disk."""

    def __init__(self, kind: type[T]) -> None:
        self.kind, self.starts = kind, list[int]()
        self.file = tempfile.TemporaryFile(dir=".")  # noqa: SIM115 - open as long as this

    def append(self, table: T) -> None:
        self.starts.append(self.file.seek(0, 2))
        for column in table:
            np.save(self.file, column)

    def __iter__(self) -> Iterator[T]:
        for start in self.starts:
            self.file.seek(start)
            yield self.kind(*[np.load(self.file) for _ in self.kind._fields])  # type: ignore[attr-defined]
