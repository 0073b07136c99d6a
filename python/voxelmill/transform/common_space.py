"""One canvas for all slices of a block, by where the stage says that they lie.

dim 1 = stage x                     position of pixel p of slice n, mm: place[n] + origin[n] + p * scale
|  canvas +---------------+             place    cumulative shifts (`core/shifts.py`)
|         |  +--n---+     |             origin   of the slice's own store
|         |  |   +--m---+ |
v         |  +---|--+   | |         A slice comes to the nearest whole pixel of the canvas and is not interpolated; what
          +------+------+-+         is left, half a pixel at most, stands in the origin of its store.
            dim 2 = stage y
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel

from ..core.shifts import Shift

Mode = Literal["local_median", "keep", "median", "zero"]


class Placed(BaseModel, frozen=True):
    """Where a slice lies on the canvas: first pixel (dim 1, dim 2), and the origin of the canvas as this slice has it, mm."""

    corner: tuple[int, int]
    origin: tuple[float, float]


class CommonSpace(BaseModel, frozen=True):
    """The canvas: shape px (dim 1, dim 2); slices by number."""

    shape: tuple[int, int]
    scale: tuple[float, float]
    slices: dict[int, Placed]


class Extent(NamedTuple):
    """Of a slice: shape px, origin mm, (dim 1, dim 2)."""

    shape: tuple[int, int]
    origin: tuple[float, float]


def replaced(table: Sequence[Shift], excluded: Collection[int], mode: Mode, window: int) -> list[Shift]:
    """The rows with steps from and to excluded slices replaced by what others say: `keep` changes nothing,
    `local_median` takes the `window` nearest sound rows to either side, `median` all of them, `zero` none."""
    doubtful = [row.fixed in excluded or row.moving in excluded for row in table]
    steps = np.array([(row.x, row.y) for row in table]).reshape(-1, 2)
    sound = np.flatnonzero(~np.array(doubtful, bool))
    if mode == "keep" or not any(doubtful):
        return list(table)
    out = []
    for i, row in enumerate(table):
        if doubtful[i]:
            near = np.r_[sound[sound < i][-window:], sound[sound > i][:window]] if mode == "local_median" else sound
            step = np.median(steps[near.astype(int)], axis=0) if len(near) and mode != "zero" else np.zeros(2)
            row = row._replace(x=float(step[0]), y=float(step[1]))
        out.append(row)
    return out


def plan(extents: Mapping[int, Extent], places: Mapping[int, Sequence[float]], scale: tuple[float, float]) -> CommonSpace:
    """The smallest canvas that holds all slices. Its origin counts from the first of them, mm, on that one's pixels."""
    step, numbers = np.array(scale), sorted(extents)
    at = {n: np.array(places[n]) - places[numbers[0]] + extents[n].origin for n in numbers}
    first = at[numbers[0]]
    exact = {n: (at[n] - first) / step for n in numbers}
    whole = {n: np.rint(exact[n]).astype(int) for n in numbers}
    low = np.min([whole[n] for n in numbers], axis=0)
    high = np.max([whole[n] + extents[n].shape for n in numbers], axis=0)
    origin = first + low * step
    placed = {
        n: Placed(corner=tuple((whole[n] - low).tolist()), origin=tuple((origin + (exact[n] - whole[n]) * step).tolist()))
        for n in numbers
    }
    return CommonSpace(shape=tuple((high - low).tolist()), scale=scale, slices=placed)


class Gap(NamedTuple):
    """Slices that are missing one after the other, and their neighbours."""

    missing: tuple[int, ...]
    before: int
    after: int


def gaps(numbers: Sequence[int]) -> list[Gap]:
    """Where numbers of slices leave some out."""
    return [Gap(tuple(range(a + 1, b)), a, b) for a, b in pairwise(numbers) if b > a + 1]
