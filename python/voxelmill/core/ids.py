"""Ids that are unique in a volume without a word between tasks: the number of a cell, and a number within it.

A volume is cut into cells, always the same whatever the tasks: the shards of a store, or the tiles of its sections. They
are numbered in raster order; a thing that lies in several has the number of one of them (the first, say).

    bit  63     53               21               0
         | 0  ...| number of cell | number within  |      0 is background; below 2^53, so exact as float64
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError
from .volume import Region

LOCAL_BITS, CELL_BITS = 21, 32


def encode(cell: Any, local: Any) -> np.ndarray:
    """Ids, uint64, of things numbered from 1 within cells numbered from 0; whole numbers or arrays of them.

    Raises DataError where a number does not fit: ids never wrap into another cell's."""
    for value, bits, name in ((cell, CELL_BITS, "cells"), (local, LOCAL_BITS, "ids within a cell")):
        if np.size(value) and not 0 <= int(np.min(value)) <= int(np.max(value)) < 2**bits:
            raise DataError(f"ids: {name} from {np.min(value)} to {np.max(value)}; expected 0 to 2^{bits} - 1")
    return (np.asarray(cell, np.uint64) << np.uint64(LOCAL_BITS)) | np.asarray(local, np.uint64)


def decode(ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Number of the cell, and within it, of ids."""
    ids = np.asarray(ids, np.uint64)
    return ids >> np.uint64(LOCAL_BITS), ids & np.uint64((1 << LOCAL_BITS) - 1)


@dataclass(frozen=True)
class Cells:
    """The cells of a volume of a shape; those at the far end may be smaller."""

    shape: Sequence[int]
    cell: Sequence[int]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.cell, strict=True))

    def number(self, *voxel: int) -> int:
        """The cell of a voxel. One past the volume's end along the first axis has a number past all others."""
        index = (v // c for v, c in zip(voxel, self.cell, strict=True))
        return sum(i * math.prod(self.grid[k + 1 :]) for k, i in enumerate(index))

    def first(self, *voxel: int) -> int:
        """No id of this voxel's cell is smaller, none of the cells before it as large."""
        return self.number(*voxel) << LOCAL_BITS

    def ranges(self, region: Region) -> list[tuple[int, int]]:
        """Half-open ranges of the ids of all cells that a region touches: ascending, as few as there can be."""
        touched = [range(s.start // c, -(-s.stop // c)) for s, c in zip(region, self.cell, strict=True)]
        found: list[tuple[int, int]] = []
        for index in itertools.product(*touched[:-1], touched[-1][:1]):
            start = self.number(*(i * c for i, c in zip(index, self.cell, strict=True)))
            stop = start + len(touched[-1])
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
        return [(start << LOCAL_BITS, stop << LOCAL_BITS) for start, stop in found]


def within(ids: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Places in ascending ids of those in the ranges, ascending too."""
    ends = np.searchsorted(ids, np.array(ranges, np.uint64).reshape(-1, 2))
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(a, b) for a, b in ends)])
