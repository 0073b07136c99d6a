"""Place tiles: where the tiles of each section lie, from what neighbours share (`tile_positions.py`).

A tile that cannot be read is left out by name; a section of which none can, too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..ingest.tiles.plain import Reader
from ..ingest.tiles.tiling import Tile, Tiling, by_section, positions_of
from . import illumination
from .tile_positions import LEAST, Placement, judged, measure, neighbours, solve

WHOLE = 0.9  # of a tile that its nearest neighbour shows, too: no stage steps so little
POSITIONS = ("tile", "y", "x", "quality")
SEAMS = ("section", "tile_a", "tile_b", "dy", "dx", "correlation", "residual_px", "quality")


class Parameters(Strict):
    """Placing tiles."""

    refine_tile_positions: bool = param(True, "Place tiles by what neighbours share; false: as the positions say")
    tile_reach: int = param(
        0, "How far the positions may be off from tile to tile; 0: a tenth of the longest tile, at least 32", unit="px", ge=0
    )


@dataclass
class Section:
    """What is found of a section: rows of the two tables, each tile's cells (`illumination.reduced`), what cannot be read,
    and how many pixels of a tile are no number."""

    positions: list[tuple[Any, ...]]
    seams: list[tuple[Any, ...]]
    cells: dict[str, np.ndarray]
    bad: dict[str, str]
    lost: dict[str, int]


def run(p: Parameters, task: Task, *, source: Path, tiles: In, block: str, positions: Out, seams: Out, light: Out) -> None:
    """`source` is no `In`: its digest stands in the record of `inspect_tiles`."""
    tiling = Tiling.model_validate_json(tiles.read_text())
    first, last = (int(n) for n in block.split("-"))
    every = by_section(tiling.tiles)
    sections = [(n, of) for n, of in every.items() if first <= n <= last]
    placed: list[tuple[Any, ...]] = []
    met: list[tuple[Any, ...]] = []
    cells: dict[str, np.ndarray] = {}
    lost: dict[str, int] = {}
    work = partial(place_section, p, Reader(source, tiling.model_copy(update={"tiles": []})))
    if len(every) == 1:  # without it there is nothing to go on with
        results: Iterable[Any] = [(one, work(one)) for one in sections]
    else:
        results = task.each_sound(work, sections, "sections placed", name=lambda one: tiling.sections[one[0]])
    for (number, _), section in results:
        placed += section.positions
        met += [(number, *row) for row in section.seams]
        cells |= section.cells
        lost |= section.lost
        for name, why in section.bad.items():
            task.quarantine([name], why)
    write_csv(positions, POSITIONS, placed)
    write_csv(seams, SEAMS, met)
    with open(light, "wb") as file:
        np.savez(file, **cells)  # type: ignore[arg-type]
    task.report(tiles=len(placed), seams=len(met), **no_numbers(lost))


def no_numbers(lost: dict[str, int]) -> dict[str, str]:
    """What a user must know of pixels that are no number, by tile."""
    if not lost:
        return {}
    told = f"{sum(lost.values())} pixels of {len(lost)} tiles are NaN or infinite, most in {max(lost, key=lambda n: lost[n])}"
    return {"notes": f"{told}; they count as not acquired"}


def place_section(p: Parameters, reader: Reader, section: tuple[int, list[Tile]]) -> Section:
    """Place the tiles of a section (number, tiles), each read once.

    Raises DataError where none can, or where no two overlap although they should, or nearly all lie upon each other."""
    number, tiles = section
    nominal, shapes = positions_of(tiles)
    cells: dict[str, np.ndarray] = {}
    bad: dict[str, str] = {}
    lost: dict[str, int] = {}

    def read(k: int) -> np.ndarray:
        try:
            pixels = np.asarray(reader(tiles[k]))
            if pixels.dtype.kind == "f" and (n := int(np.isnan(pixels).sum())):
                lost[tiles[k].name] = n
                pixels = np.nan_to_num(pixels)
            cells[tiles[k].name] = illumination.reduced(pixels.mean(0, dtype=np.float32) if len(pixels) > 1 else pixels[0])
            return pixels
        except DataError as error:
            bad[tiles[k].name] = str(error)
            return np.zeros((reader.tiling.depth, *shapes[k]), reader.tiling.dtype)

    pairs = neighbours(nominal, shapes)
    shared = covered(nominal, shapes)
    if len(tiles) > 1 and p.refine_tile_positions and (not pairs or shared > WHOLE):
        what = f"no two of {len(tiles)} tiles overlap by {LEAST} px"
        what = f"tiles lie upon each other by {shared:.0%}" if pairs else what
        raise DataError(
            f"{reader.tiling.source}{named(reader.tiling, number)}: {what}; are the positions in px of these tiles, "
            "y and x the right way round, and each field there once? --refine_tile_positions false lays them as they are"
        )
    reach = p.tile_reach or max(32, int(shapes.max()) // 10)
    seams = sorted(measure(read, nominal, shapes, pairs, reach), key=lambda s: (s.a, s.b))
    for alone in set(range(len(tiles))) - {k for pair in pairs for k in pair}:
        read(alone)  # whether it can be
    placement = solve(seams, nominal, shapes) if p.refine_tile_positions else judged(seams, nominal)
    if len(bad) == len(tiles):
        raise DataError(f"none of its {len(tiles)} tiles can be read; the first: {next(iter(bad.values()))}")
    return Section(*rows_of(placement, tiles, set(bad)), cells, bad, lost)


def covered(nominal: np.ndarray, shapes: np.ndarray) -> float:
    """Share of a tile that the nearest other one shows, too: the median over the tiles; 0 of one tile."""
    if len(nominal) < 2:
        return 0.0
    other = cKDTree(nominal + shapes / 2).query(nominal + shapes / 2, k=2)[1][:, 1]
    sides = np.minimum(nominal + shapes, (nominal + shapes)[other]) - np.maximum(nominal, nominal[other])
    return float(np.median(np.clip(sides, 0, None).prod(1) / shapes.prod(1)))


def named(tiling: Tiling, section: int) -> str:
    return f", section {tiling.sections[section]}" if len(tiling.sections) > 1 else ""


def rows_of(placement: Placement, tiles: Sequence[Tile], bad: set[str]) -> tuple[list[tuple], list[tuple]]:
    """Rows of the two tables, without tiles that could not be read."""
    placed = [
        (tile.name, *(f"{v:.3f}" for v in (*at, quality)))
        for tile, at, quality in zip(tiles, placement.positions, placement.quality)
        if tile.name not in bad
    ]
    seams = [
        (tiles[s.a].name, tiles[s.b].name, *(f"{v:.3f}" for v in (*s.offset, s.correlation, s.residual, s.quality)))
        for s in placement.seams
        if not {tiles[s.a].name, tiles[s.b].name} & bad
    ]
    return placed, seams


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
