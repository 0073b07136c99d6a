"""What there is of plain tiles: a `Tiling` goes from task to task as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel

from ...core.errors import DataError

STREWN = 1000  # times what tiles cover: a wider canvas is a mistake of positions


class Tile(BaseModel, frozen=True):
    """One tile: its name below the input, its section, and where pixel [0, 0] lies (y, x; px)."""

    name: str
    section: int
    y: float
    x: float
    height: int
    width: int


class Tiling(BaseModel, frozen=True):
    """What there is of tiles. Scale is z, y, x in nm, None where it is not known; depth is planes a tile."""

    source: str
    kind: Literal["tiff", "czi"]
    channel: int
    dtype: str
    depth: int
    scale: tuple[float | None, float | None, float | None]
    sections: list[str]  # names by number; "" where one is missing
    corners: dict[int, tuple[float, float]]  # least y and x of all tiles that a section should have, by its number
    tiles: list[Tile]


def by_section(tiles: Iterable[Tile]) -> dict[int, list[Tile]]:
    """Tiles of each section that has any, in their order."""
    found: dict[int, list[Tile]] = {}
    for tile in tiles:
        found.setdefault(tile.section, []).append(tile)
    return dict(sorted(found.items()))


def positions_of(tiles: Iterable[Tile]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and shapes (n, 2) of tiles, y, x, px."""
    rows = [(t.y, t.x, t.height, t.width) for t in tiles]
    table = np.array(rows, float).reshape(-1, 4)
    return table[:, :2], table[:, 2:].astype(int)


class Found(BaseModel):
    """A tiling, and what a user must know: tiles left out and why, remarks."""

    tiling: Tiling
    left_out: dict[str, str]
    remarks: list[str]


def check_places(tiles: Sequence[Tile], called: str) -> None:
    """Raises DataError where two tiles of a section have one position, or one lies far from all others."""
    at: dict[tuple[int, float, float], str] = {}
    for tile in tiles:
        first = at.setdefault((tile.section, tile.y, tile.x), tile.name)
        if first != tile.name:
            raise DataError(
                f"{called}: {first} and {tile.name} both lie at y {tile.y:g}, x {tile.x:g} px; expected one tile a place"
            )
    for section in by_section(tiles).values():
        places, shapes = positions_of(section)
        sides = (places + shapes).max(0) - places.min(0)
        if sides.prod() > STREWN * shapes.prod(1).sum():
            off = np.abs(places - np.median(places, 0)).max(1)
            far = section[int(off.argmax())]
            raise DataError(
                f"{called}: the positions span {sides[0]:g} x {sides[1]:g} px, over {STREWN} times what the tiles cover, and "
                f"{far.name} lies farthest out, at y {far.y:g}, x {far.x:g}; expected px of these tiles"
            )
