"""Where a stage says that tiles lie: tables as people have them, in px of the tiles, y down and x right.

CSV                     tile,y,x            further columns are passed over: `tile_positions.csv` as it is written here
                        a.tif,0,0           can be given again
                        b.tif,0,230.5

Fiji, BigStitcher       dim = 2             x comes first; with dim = 3 all tiles must lie at one z
(TileConfiguration)     a.tif; ; (0, 0)
                        b.tif; ; (230.5, 0)
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ...core import tables
from ...core.errors import DataError

Positions = dict[str, tuple[float, float]]  # tile -> (y, x), px
USUAL = "TileConfiguration.txt"
LINE = re.compile(r"(?P<tile>[^;]+);(?P<series>[^;]*);\s*\((?P<at>[^()]*)\)\s*")
SETTING = re.compile(r"\s*\w+\s*=.*")


def read_positions(path: Path, name: str = "") -> Positions:
    """Of each tile its (y, x), in the order of the table; `name` is what the table is called in errors.

    Raises DataError naming the line where a table is malformed or names a tile twice."""
    name = name or path.name
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{name}: no text; expected a CSV (tile,y,x) or a {USUAL}") from None
    lines = [line if not line.lstrip().startswith("#") else "" for line in lines]
    first = next((line for line in lines if line.strip()), "")
    rows = _configuration(lines, name) if SETTING.fullmatch(first) or LINE.fullmatch(first) else _csv(lines, name)
    found: Positions = {}
    for tile, y, x in rows:
        if tile in found:
            raise DataError(f"{name}: tile {tile} stands there twice; expected one position for each tile")
        found[tile] = y, x
    if not found:
        raise DataError(f"{name}: no tile in it; expected a CSV (tile,y,x) or a {USUAL}")
    return found


def _csv(lines: list[str], name: str) -> list[tuple[str, float, float]]:
    found = [row for _, row in tables.parse(lines, name, ("tile", "y", "x"))[1]]
    return [(row["tile"], *(_number(row[axis], name, row["tile"]) for axis in "yx")) for row in found]  # type: ignore[misc]


def _configuration(lines: list[str], name: str) -> list[tuple[str, float, float]]:
    rows, depths = [], set()
    for n, line in enumerate(lines, 1):
        if not line.strip() or SETTING.fullmatch(line):
            continue
        found = LINE.fullmatch(line)
        at = [_number(v, name, found["tile"]) for v in found["at"].split(",")] if found else []
        if not found or len(at) not in (2, 3):
            raise DataError(f"{name}, line {n}: {line.strip()[:60]!r}; expected `tile; ; (x, y)`")
        if found["series"].strip() not in ("", "0"):
            raise DataError(f"{name}, line {n}: image {found['series'].strip()} of a file of several; expected a file a tile")
        rows.append((found["tile"].strip(), at[1], at[0]))
        depths.add(at[2] if len(at) == 3 else 0.0)
    if len(depths) > 1:
        raise DataError(f"{name}: tiles at {len(depths)} different z; expected one. Give each layer as a section of its own")
    return rows


def _number(text: str, name: str, tile: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{name}: position {text!r} of tile {tile}; expected a number of px")
    return value


def table_in(folder: Path, name: str) -> Path:
    """The table that lies beside the tiles of a folder. Raises DataError where there is none, or no telling which."""
    usual = folder / USUAL
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".csv", ".txt") and p.name[0] != ".")
    if usual in found or len(found) == 1:
        return usual if usual in found else found[0]
    what = f"several tables ({', '.join(p.name for p in found[:3])})" if found else "no table of positions"
    raise DataError(f"{name}: {what} beside its tiles; give --tile_positions FILE (CSV with tile,y,x in px, or a {USUAL})")
