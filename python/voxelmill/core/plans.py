"""How a volume on any grid is divided among tasks, and the lists by which the engine knows: a row a task.

    id,block,batch            id      names the task, its record and its files; lists are in the order of the numbers in it
    0-3,0-3,0-15              block   what the task does, as `core/blocks.py` reads it
    4-7,4-7,0-15              ...     whatever else a workflow wants to know of it: batch, slice, fov

The engine makes an open map of a row, `meta`, that goes with whatever the task leaves. A stage that makes a volume on a
grid of its own (resampled, in a common space, of an atlas) writes the lists for it beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import blocks, levels
from .errors import ParameterError
from .shared import Tasks
from .volume import Layout

# How much one task takes, where that is not --block_voxels: it should work for seconds, at 0.5 s to start.
READ_BLOCKS = 16  # blocks whose voxels a task reads
PYRAMID_BLOCKS = 8  # blocks of level 0 that a task makes the lower levels of: 2 to 7 s
TABLE_VOXELS = 2e9  # voxels of the slabs whose tables a task joins: below 1 GB of memory, a few seconds

Row = dict[str, str]
PLAIN = re.compile(r"[\w.+-]+")


def rows(plan: Iterable[str], **more: Iterable[str]) -> list[Row]:
    """A row for each block, named by it; `more` are further columns."""
    plan = list(plan)
    columns = {"id": plan, "block": plan, **more}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def write(path: Path, found: Sequence[Mapping[str, str]]) -> None:
    """Write a list. Raises ParameterError for a value that would have to be quoted in a command."""
    for row in found:
        for name, value in row.items():
            if not PLAIN.fullmatch(value):
                raise ParameterError(f"{path.name}: {name} is {value!r}; expected letters, digits and . + - _ alone")
    lines = [list(found[0]), *(list(row.values()) for row in found)]
    path.write_text("".join(",".join(line) + "\n" for line in lines))


def read(path: Path) -> list[Row]:
    """The rows of a list."""
    names, *lines = (line.split(",") for line in path.read_text().splitlines())
    return [dict(zip(names, line, strict=True)) for line in lines]


def by_shards(lay: Layout, p: Tasks) -> list[Row]:
    """Runs of shards, for what looks at each shard by itself or with a small halo."""
    return rows(blocks.plan(lay, p.blocks, p.block_voxels))


def by_boxes(lay: Layout, p: Tasks) -> list[Row]:
    """Boxes of shards, for what needs a wide halo or joins across faces."""
    return rows(blocks.boxes(lay, p.blocks, p.block_voxels))


def by_sections(lay: Layout, p: Tasks, times: int = 1) -> list[Row]:
    """Slabs: whole layers of shards, `times` --block_voxels each; `batch` is those whose tables one task joins."""
    plan = blocks.plan(lay, p.blocks, times * p.block_voxels, unit=math.prod(lay.grid[1:]))
    return rows(plan, batch=plan if p.blocks else blocks.batches(plan, lay, TABLE_VOXELS))


def by_superblocks(lay: Layout, scale: tuple[float, ...], p: Tasks) -> list[Row]:
    """Runs of superblocks (`core/levels.py`), for the lower levels of a pyramid."""
    return rows(blocks.plan(levels.superblocks(lay, scale)[1], p.blocks, PYRAMID_BLOCKS * p.block_voxels))


def by_levels(layouts: Sequence[Layout], p: Tasks) -> list[Row]:
    """Runs of shards of every level, `1.0-3`: what is done to a volume with all its levels."""
    return rows(f"{n}.{block}" for n, lay in enumerate(layouts) for block in blocks.plan(lay, p.blocks, p.block_voxels))


def within(block: str, numbers: Iterable[int]) -> list[int]:
    """Those of some numbers that a block `4-7` of `by_items` holds."""
    first, last = map(int, block.split("-"))
    return [n for n in numbers if first <= n <= last]


def by_items(numbers: Sequence[int], size: int) -> list[Row]:
    """`size` neighbours in a list of numbers (fields of view, slices) at a time, named by the first and last."""
    parts = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    return rows(f"{part[0]}-{part[-1]}" for part in parts)
