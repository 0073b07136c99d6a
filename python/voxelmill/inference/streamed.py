"""Columns of an npz file, some rows at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    return npy.read_array_header_1_0(file) if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0(file)


def length(path: Path, name: str) -> int:
    """Rows of a column."""
    with zipfile.ZipFile(path) as parts, parts.open(f"{name}.npy") as file:
        return _header(file)[0][0]


def rows(path: Path, names: Sequence[str], most: int) -> Iterator[list[NDArray]]:
    """Columns of equal length, `most` rows at a time."""
    with zipfile.ZipFile(path) as parts, ExitStack() as opened:
        files = [opened.enter_context(parts.open(f"{name}.npy")) for name in names]
        heads = [_header(file) for file in files]
        if any(by_column and len(shape) > 1 for shape, by_column, _ in heads):
            whole = [np.load(parts.open(f"{name}.npy")) for name in names]
            yield from ([column[k : k + most] for column in whole] for k in range(0, len(whole[0]), most))
            return
        for start in range(0, heads[0][0][0], most):
            found = []
            for file, ((number, *rest), _, dtype) in zip(files, heads, strict=True):
                size = min(most, number - start) * int(np.prod(rest, dtype=int)) * dtype.itemsize
                found.append(np.frombuffer(file.read(size), dtype).reshape(-1, *rest))
            yield found


def write(parts: zipfile.ZipFile, name: str, number: int, column: Iterable[NDArray]) -> None:
    """A column of `number` rows that comes in parts, at least one, as `numpy.savez` writes it."""
    with parts.open(f"{name}.npy", "w", force_zip64=True) as file:
        for k, part in enumerate(column):
            if k == 0:
                shape = (number, *part.shape[1:]) if part.ndim else ()
                head = {"descr": npy.dtype_to_descr(part.dtype), "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(file, head)
            file.write(part.tobytes())
