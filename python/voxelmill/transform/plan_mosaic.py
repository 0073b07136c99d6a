"""Plan mosaic: one canvas for the tiles of all sections, and how it is divided among tasks.

Positions on the canvas count from its first pixel. Sections keep their places beside each other where the stage's
frame is one: where what they cover is mostly the same. Else (sections scattered over a wafer, scenes of a slide) each
begins at its own corner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core import blocks, files, plans, tables
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Storage, Tasks
from ..core.space import NM, ZYX, Axis, Space
from ..core.stage import In, Out, OutFiles
from ..core.volume import Layout, layout
from ..ingest.tiles.tiling import Tile, Tiling, by_section, positions_of
from . import illumination
from .place_tiles import POSITIONS, SEAMS, write_csv

SHARED = 0.5  # of what each section covers, by all: one frame
UNEVEN = 0.03  # of the mean: light that differs so much over a tile shows at its rim
MOST_TILES = 1000  # whose light is looked at
POOR = 0.3  # quality of a seam that should be looked at


class Parameters(Storage, Tasks):
    """The canvas and the light."""

    tile_illumination: bool = param(
        False, "Even out the light of the tiles, by one smooth field that is found from all of them"
    )
    tile_dark: float = param(0.0, "With --tile_illumination, what a pixel reads without light", unit="grey level", ge=0)


class Mosaic(Tiling, frozen=True):
    """A tiling whose tiles lie where they were found, on a canvas."""

    layout: Layout
    space: Space
    light: tuple[float, ...] = ()  # coefficients of the field that tiles are divided by; none: tiles stay as they are
    dark: float = 0.0

    @property
    def field(self) -> illumination.Field | None:
        return illumination.Field(np.array(self.light), spread=float("nan"), dark=self.dark) if self.light else None

    @classmethod
    def load(cls, path: Path) -> Mosaic:
        return cls.model_validate_json(path.read_text())


def run(
    p: Parameters,
    task: Task,
    *,
    tiles: In,
    sections: In,
    positions: list[In],
    seams: list[In],
    light: list[In],
    mosaic: Out,
    of_blocks: OutFiles,
    tile_positions: Out,
    tile_seams: Out,
    block_list: Out,
    superblock_list: Out,
) -> None:
    """A block has a mosaic of its own and, in the list, the key of its files: what changes in sections that it does not
    show changes neither."""
    tiling = Tiling.model_validate_json(tiles.read_text())
    rows = {row["tile"]: row for path in positions for row in tables.rows(path)}
    met = sorted((row for path in seams for row in tables.rows(path)), key=lambda row: int(row["section"]))
    if not rows:
        raise DataError(f"{tiling.source}: no section could be placed")
    found = [
        moved(tile, float(rows[tile.name]["y"]), float(rows[tile.name]["x"])) for tile in tiling.tiles if tile.name in rows
    ]
    corners, one = frames(tiling, found)
    placed = [moved(t, t.y - corners[t.section][0], t.x - corners[t.section][1]) for t in found]
    made = planned(p, tiling, placed, corners[placed[0].section] if one else np.zeros(2))
    field = found_light(p, made, light)
    if p.tile_illumination and field:
        made = made.model_copy(update={"light": tuple(field.coefficients.tolist()), "dark": p.tile_dark})
    mosaic.write_text(made.model_dump_json())
    write_csv(tile_positions, POSITIONS, [(t.name, f"{t.y:.3f}", f"{t.x:.3f}", rows[t.name]["quality"]) for t in placed])
    write_csv(tile_seams, SEAMS, [[row[name] for name in SEAMS] for row in met])
    of_blocks.mkdir()
    plan, keys = plans.by_shards(made.layout, p), plans.read(sections)
    for row in plan:
        shown = sections_of(made, row["block"])
        (of_blocks / f"{row['id']}.json").write_text(only(made, shown).model_dump_json())
        row["files"] = key_of(keys, shown)
    plans.write(block_list, plan)
    plans.write(superblock_list, plans.by_superblocks(made.layout, made.space.scale, p))
    report(task, made, rows, met, one, uneven(field))


def moved(tile: Tile, y: float, x: float) -> Tile:
    return tile.model_copy(update={"y": round(y, 3), "x": round(x, 3)})


def sections_of(made: Mosaic, block: str) -> set[int]:
    """The sections that a block of shards shows."""
    spans = {(z.start, z.stop) for z, *_ in blocks.regions(made.layout, block)}
    return {s for start, stop in spans for s in range(start // made.depth, -(-stop // made.depth))}


def only(made: Mosaic, shown: set[int]) -> Mosaic:
    """With the tiles of some sections alone."""
    corners = {s: corner for s, corner in made.corners.items() if s in shown}
    names = [name if s in shown else "" for s, name in enumerate(made.sections)]
    return made.model_copy(
        update={"corners": corners, "sections": names, "tiles": [t for t in made.tiles if t.section in shown]}
    )


def key_of(batches: Sequence[plans.Row], shown: set[int]) -> str:
    """Of the files of all batches of sections (`inspect_tiles`) that have one of these."""
    return files.key_of(row["files"] for row in batches if plans.within(row["block"], shown))


def frames(tiling: Tiling, found: list[Tile]) -> tuple[dict[int, np.ndarray], bool]:
    """The corner (y, x; whole px) from which each section counts, and whether it is the same for all."""
    sections = by_section(found)
    nearest, farthest = {}, {}
    for section, tiles in sections.items():
        at, size = positions_of(tiles)
        nearest[section], farthest[section] = at.min(0), (at + size).max(0)
    # of all tiles that should be there: one that is lost shifts nothing
    own = {section: np.minimum(tiling.corners[section], nearest[section]) for section in sections}
    lows, highs = np.array(list(own.values())), np.array(list(farthest.values()))
    common = np.clip(highs.min(0) - lows.max(0), 0, None).prod()
    one = bool((common >= SHARED * (highs - lows).prod(1)).all())
    corner = np.floor(np.min(list(nearest.values()), 0) + 1e-6)
    return {s: corner if one else np.floor(own[s] + 1e-6) for s in sections}, one


def planned(p: Parameters, tiling: Tiling, placed: list[Tile], corner: np.ndarray) -> Mosaic:
    """The mosaic of tiles on its canvas, whose first pixel lies at `corner` (px) of the stage's frame."""
    at, size = positions_of(placed)
    ny, nx = np.ceil((at + size).max(0) - 1e-6).astype(int).tolist()
    lay = layout((len(tiling.sections) * tiling.depth, ny, nx), tiling.dtype, p.shard, p.chunk)
    axes = [Axis(axis.name, axis.type, NM if size else None) for axis, size in zip(ZYX, tiling.scale)]
    scale = [size or 1.0 for size in tiling.scale]
    origin = [0.0, *(c * s if known else 0.0 for c, s, known in zip(corner, scale[1:], tiling.scale[1:]))]
    return Mosaic(**{**tiling.model_dump(), "tiles": placed}, layout=lay, space=Space.of(axes, scale, origin))


def found_light(p: Parameters, made: Mosaic, light: Sequence[Path]) -> illumination.Field | None:
    """The field of the tiles, of the size that most have; None where they show nothing."""
    tiles = {t.name: t for t in made.tiles}
    sizes = Counter((t.height, t.width) for t in made.tiles)
    usual = [t for t in made.tiles if (t.height, t.width) == max(sizes, key=lambda size: sizes[size])]
    usual = usual[:: -(-len(usual) // MOST_TILES)]
    wanted = {t.name for t in usual}
    cells: dict[str, np.ndarray] = {}
    for path in light:
        with np.load(path) as held:
            cells |= {name: held[name] for name in held.files if name in wanted}
    these = [tiles[name] for name in cells]
    at, size = positions_of(these)
    at[:, 0] += [3 * t.section * made.layout.shape[1] for t in these]  # tiles of two sections are no neighbours
    try:
        return illumination.estimate(np.stack(list(cells.values())), at * illumination.CELLS / size.max(), p.tile_dark)
    except DataError:  # all dark
        return None


def uneven(field: illumination.Field | None) -> float | None:
    """Relative standard deviation of the light over a tile."""
    return None if field is None else round(float(field.flat((illumination.CELLS, illumination.CELLS)).std()), 4)


def report(
    task: Task, made: Mosaic, rows: dict[str, dict[str, str]], met: list[dict[str, str]], one: bool, light: float | None
) -> None:
    """Quality figures; what a user must look at as notes."""
    quality = np.array([float(row["quality"]) for row in met])
    poor = [f"{row['tile_a']} - {row['tile_b']}" for row in met if float(row["quality"]) < POOR]
    unheld = [name for name, row in rows.items() if float(row["quality"]) == 0]
    notes = []
    if len(rows) > 1 and unheld:
        more = f"{', '.join(unheld[:3])}{', ...' if len(unheld) > 3 else ''}"
        notes.append(f"{len(unheld)} tiles share nothing with a neighbour and lie where the positions say: {more}")
    if poor:
        more = f"{', '.join(poor[:3])}{', ...' if len(poor) > 3 else ''}"
        asked = ". Are the positions in px, y and x the right way round?" if len(poor) > len(met) / 2 else ""
        notes.append(f"{len(poor)} of {len(met)} seams are poor (quality below {POOR:g}), look at them: {more}{asked}")
    if not made.light and (light or 0) > UNEVEN:
        notes.append(f"light differs by {light:.1%} over a tile (RMS); --tile_illumination true evens it out")
    if not one:
        notes.append("what the sections cover is not the same: each begins at its own corner")
    task.report(
        shape=list(made.layout.shape),
        tiles=len(made.tiles),
        uneven_light=light,
        seams=len(met),
        seam_quality_median=round(float(np.median(quality)), 3) if len(met) else None,
        seam_residual_px=round(float(np.median([float(row["residual_px"]) for row in met])), 3) if met else None,
        **({"notes": notes} if notes else {}),
    )
