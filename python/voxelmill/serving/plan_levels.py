"""Plan levels: which levels of the subject's volume are made block by block, and the list of these blocks.

A stack of no more voxels than a task of `pyramid` reads is not divided: its levels are made when it is published.
"""

from __future__ import annotations

from pathlib import Path

from ..core import blocks, plans
from ..core.provenance import Task
from ..core.shared import Tasks
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .resolutions import Level, Resolutions, plan, voxels


class Parameters(Resolutions, Tasks):
    """Planning levels."""


def run(p: Parameters, task: Task, *, volume: In, block_list: Out) -> None:
    image = open_image(volume)
    found = plan(p, image)
    rows = divided(p, found, image)
    write(block_list, rows)
    task.report(levels_um=[round(level.space.scale[0] * 1e3, 3) for level in found], blocks=len(rows))


def divided(p: Parameters, found: list[Level], image: Image) -> list[plans.Row]:
    """A row for each block: `1.0-3` are shards 0 to 3 of level 1. None where there is little to read."""
    most, stack = plans.PYRAMID_BLOCKS * p.block_voxels, voxels(image.shape)
    if stack <= most and p.blocks < 2:
        return []
    rows: list[plans.Row] = []
    for n, level in enumerate(found):
        if not level.linked:
            plan = blocks.plan(level.lay, p.blocks, most * voxels(level.lay.shape) / stack)
            rows += plans.rows(f"{n}.{block}" for block in plan)
    return rows


def write(path: Path, rows: list[plans.Row]) -> None:
    """The list, or its header alone."""
    if rows:
        plans.write(path, rows)
    else:
        path.write_text("id,block\n")
