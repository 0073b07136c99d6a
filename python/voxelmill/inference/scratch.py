"""Arrays larger than memory, in files without a name in the folder of a task: gone when nothing refers to them."""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 20  # elements of a table that are worked on at once: 16 row groups of a table of components
REACH = 1 << 25  # bytes of a table that one look at it takes into memory
WINDOW = 1 << 16  # bytes around one element that the system takes in with it, at most
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


def near(table: NDArray[Any], index: NDArray[np.integer]) -> Iterator[slice | NDArray[np.int64]]:
    """Places in `index`, in parts that each look at REACH bytes of a table (n,) at most; what a part has touched is
    released before the next one. One part, and nothing is released, where the elements lie close together."""
    size = table.itemsize
    if not len(index) or (int(index.max()) - int(index.min())) * size <= REACH:
        yield slice(None)
        return
    order = np.argsort(index)
    windows = np.cumsum(np.diff(index[order] * size // WINDOW, prepend=-1) > 0)
    for part in np.split(order, np.flatnonzero(np.diff(windows // max(1, REACH // WINDOW))) + 1):
        yield part
        release()


def take(table: NDArray[Any], index: NDArray[np.integer]) -> NDArray[Any]:
    """`table[index]`, wherever in a large table (n,) the elements lie."""
    found = np.empty(len(index), table.dtype)
    for part in near(table, index):
        found[part] = table[index[part]]
    return found


def put(table: NDArray[Any], index: NDArray[np.integer], values: Any) -> None:
    """`table[index] = values`, wherever the elements lie; values: one, or one for each."""
    values = np.broadcast_to(values, np.shape(index))
    for part in near(table, index):
        table[index[part]] = values[part]


def gather(by: np.ufunc, table: NDArray[Any], index: NDArray[np.integer], values: Any) -> None:
    """`by.at(table, index, values)` of a `by` that no order matters to, wherever the elements lie."""
    values = np.broadcast_to(values, np.shape(index))
    for part in near(table, index):
        by.at(table, index[part], values[part])


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


class Bins:
    """Rows of int64 columns, sorted into bins."""

    def __init__(self, columns: int, number: int) -> None:
        self.rows = Rows(columns)
        self.places: list[list[tuple[int, int]]] = [[] for _ in range(number)]

    def put(self, columns: Sequence[NDArray[np.int64]], which: NDArray[np.int64]) -> None:
        """Add rows; which: the bin of each (n,)."""
        order = np.argsort(which, kind="stable")
        bins, starts = np.unique(which[order], return_index=True)
        for k, some in zip(bins.tolist(), np.split(order, starts[1:])):
            self.places[k].append(self.rows.put(*(column[some] for column in columns)))

    def __iter__(self) -> Iterator[Iterator[NDArray[np.int64]]]:
        """Of each bin that has rows these, (columns, rows) each, as they were added."""
        for places in self.places:
            if places:
                yield (self.rows.get(place) for place in places)


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
