"""Shifts: by how much the tiles of a slice lie elsewhere than those of the slice before, as the stage says (CSV).

    fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm,reliable
    0,1,-12.5,3,-0.125,0.03,1                                            one row for each pair of slices in a row

    shift = corner of the mosaic of `fixed` - corner of that of `moving`, in the frame of the stage
    moving lies at: place of fixed - shift

           stage y ->  (dim 2)
    x  +-----fixed-----+
    |  |    +----moving-----+       moving began further along both: its shift is negative in both,
    v  |    |          |    |       and it lies further along both
       +----|----------+    |
            +---------------+       x_shift is along dim 1 of arrays (tile index mx), y_shift along dim 2 (my)

The columns in mm are the truth; those in px are mm by the raw pixel size, for a reader.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from . import slices, tables
from .errors import DataError

COLUMNS = ("fixed_id", "moving_id", "x_shift", "y_shift", "x_shift_mm", "y_shift_mm", "reliable")
NEEDED = ("fixed_id", "moving_id", "x_shift_mm", "y_shift_mm")


class Shift(NamedTuple):
    """A row: mm along stage x and y; reliable: the two mosaics have the same number of tiles each way."""

    fixed: int
    moving: int
    x: float
    y: float
    reliable: bool = True


class Extent(NamedTuple):
    """Where the mosaic of a slice begins on the stage, mm; and how many tiles there are each way."""

    low: tuple[float, float]
    tiles: tuple[int, int]


def estimate(extents: Mapping[int, Extent]) -> list[Shift]:
    """Shifts of slices in a row, also where a mosaic got a row of tiles more: its store begins that much earlier."""
    found = []
    for fixed, moving in pairwise(sorted(extents)):
        one, other = extents[fixed], extents[moving]
        x, y = (one.low[k] - other.low[k] for k in range(2))
        found.append(Shift(fixed, moving, x, y, one.tiles == other.tiles))
    return found


def places(found: Sequence[Shift], present: Iterable[int] | None = None) -> dict[int, tuple[float, float]]:
    """Place (x, y) of each slice, mm; the first one at 0. `present`: slices that need one.

    Raises DataError for a slice that has none, and where the pairs are no chain."""
    place: dict[int, tuple[float, float]] = {}
    for shift in sorted(found, key=lambda s: s.fixed):
        if not place:
            place[shift.fixed] = (0.0, 0.0)
        if shift.fixed not in place or shift.moving in place:
            raise DataError(
                f"--shifts_xy: the row {shift.fixed} -> {shift.moving} does not go on from the rows before it; "
                "expected a row for each pair of slices in a row"
            )
        x, y = place[shift.fixed]
        place[shift.moving] = (x - shift.x, y - shift.y)
    wanted = set(present or ())
    if not place and len(wanted) == 1:
        return dict.fromkeys(wanted, (0.0, 0.0))
    missing = sorted(wanted - set(place))
    if missing:
        raise DataError(
            f"--shifts_xy: no row for {', '.join(map(slices.name_of, missing))}; expected one for each pair of slices in a "
            "row, or these slices with use=false in --slice_config"
        )
    return place


def read(path: Path) -> list[Shift]:
    """Raises DataError for a table that lacks a column, or holds what is no number."""
    return [_row(row, f"{path.name}, line {line}") for line, row in tables.read(path, NEEDED, COLUMNS)[1]]


def _row(row: Mapping[str, str], where: str) -> Shift:
    x, y = _or_nan(row["x_shift_mm"]), _or_nan(row["y_shift_mm"])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise DataError(f"{where}: x_shift_mm {row['x_shift_mm']!r}, y_shift_mm {row['y_shift_mm']!r}; expected two numbers")
    reliable = _or_nan(row.get("reliable") or "1")
    if math.isnan(reliable):
        raise DataError(f"{where}: reliable {row['reliable']!r}; expected 0 or 1")
    return Shift(slices.number_of(row["fixed_id"], where), slices.number_of(row["moving_id"], where), x, y, reliable != 0)


def write(path: Path, found: Iterable[Shift], pixel: tuple[float, float]) -> None:
    """pixel: mm along x and y."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for s in found:
            px = (f"{v / size:.4f}" for v, size in zip((s.x, s.y), pixel, strict=True))
            table.writerow([s.fixed, s.moving, *px, f"{s.x:.7f}", f"{s.y:.7f}", int(s.reliable)])


def pixel_of(path: Path) -> tuple[float, float]:
    """mm of a raw pixel along x and y, by the columns in px and in mm of a table; 1 where it does not say."""
    _, rows = tables.read(path, NEEDED, COLUMNS)
    sizes = []
    for axis in "xy":
        pairs = [(_or_nan(row[f"{axis}_shift_mm"]), _or_nan(row.get(f"{axis}_shift"))) for _, row in rows]
        known = sorted(mm / px for mm, px in pairs if mm and px and math.isfinite(mm / px) and mm / px > 0)
        sizes.append(known[len(known) // 2] if known else math.nan)
    fallback = next((s for s in sizes if math.isfinite(s)), 1.0)
    x, y = (s if math.isfinite(s) else fallback for s in sizes)
    return x, y


def _or_nan(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
