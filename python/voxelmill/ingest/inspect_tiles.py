"""Inspect tiles: what there is of plain tiles, where the stage says they lie, and what cannot work, before any work.

Tiles that are missing or unreadable are left out by name. Sections are handed out in batches, a task each.
"""

from __future__ import annotations

from pathlib import Path

from ..core import files, plans
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Channel, Given, Grid, Strict, Tasks
from ..core.stage import In, Out
from .tiles.plain import find_tiles
from .tiles.tiling import Tiling, by_section


class Parameters(Given, Grid, Channel, Tasks, Strict):
    """Plain tiles."""

    tile_positions: str = param(
        "",
        "Where tiles lie: CSV (tile,y,x in px) or Fiji's TileConfiguration; the table beside the tiles when not given",
        path=True,
        more="A CZI has positions of its own. Of sections in folders a tile is called FOLDER/FILE; by its file alone it is "
        "meant in every section.",
    )


def run(p: Parameters, task: Task, *, source: In, positions: In | None = None, tiles: Out, section_list: Out) -> None:
    found = find_tiles(source, positions, p.channel, p.input or str(source), p.tile_positions)
    if found.left_out:
        for name, why in found.left_out.items():
            task.quarantine([name], why)
    tiling, remarks = scaled(p, found.tiling), list(found.remarks)
    if None in tiling.scale:
        remarks.append("the voxel size is not known on every axis; give --voxel_size Z,Y,X in nm")
    if remarks and p.strict:
        raise DataError(f"{tiling.source}: {'; '.join(remarks)}; --strict false goes on all the same")
    tiles.write_text(tiling.model_dump_json())
    there = list(by_section(tiling.tiles))
    plan = plans.by_items(there, sections_a_task(p, tiling, len(there)))
    plans.write(section_list, [{**row, "files": key_of(source, tiling, row["block"])} for row in plan])
    task.report(
        sections=len(there),
        tiles=len(tiling.tiles),
        dtype=tiling.dtype,
        planes=tiling.depth,
        voxel_size_nm=list(tiling.scale),
        **({"notes": remarks} if remarks else {}),
    )


def key_of(source: Path, tiling: Tiling, block: str) -> str:
    """Of the files that the sections of a task are read from."""
    if source.is_file():
        return files.key(source.parent, [source.name])
    sections = by_section(tiling.tiles)
    return files.key(source, (tile.name for n in plans.within(block, sections) for tile in sections[n]))


def scaled(p: Parameters, tiling: Tiling) -> Tiling:
    """With the voxel size that the user gives, if any."""
    return tiling.model_copy(update={"scale": p.voxel_size}) if p.voxel_size else tiling


def sections_a_task(p: Parameters, tiling: Tiling, sections: int) -> int:
    """As many as hold about --block_voxels pixels, or as --blocks says."""
    if p.blocks:
        return -(-sections // p.blocks)
    pixels = sum(float(t.height * t.width) for t in tiling.tiles) * tiling.depth / sections
    return max(1, int(p.block_voxels / pixels))
