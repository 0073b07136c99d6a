"""What a task of `segment` works on: the sections of its shards, slab by slab, in columns."""

from __future__ import annotations

import functools

import numpy as np

from ..core import blocks, levels
from ..core.provenance import Task
from ..core.volume import Image, Layout
from . import seeded_watershed

Column = tuple[slice, ...]  # (y, x) of the sections of a slab


def slabs_of(lay: Layout, block: str) -> list[slice]:
    """The z ranges of a block that holds whole rows of shards."""
    ends = {(r[0].start, r[0].stop) for r in blocks.regions(lay, block)}
    return [slice(start, stop) for start, stop in sorted(ends)]


def columns_of(lay: Layout) -> list[Column]:
    """The (y, x) parts of a section that are segmented one at a time: whole tiles of the watershed and whole shards."""
    step = [int(np.lcm(s, seeded_watershed.MAX_TILE)) if s < n else n for s, n in zip(lay.shard[1:], lay.shape[1:])]
    return list(levels.tiles(tuple(slice(0, n) for n in lay.shape[1:]), step))


def histograms(source: Image, z: slice, columns: list[Column], task: Task) -> np.ndarray:
    """Grey-level counts of whole sections: int64 (z, 256)."""
    counts = task.each(functools.partial(_count, source, z), columns, f"histograms of sections {z.start} on")
    return functools.reduce(np.add, counts)


def _count(source: Image, z: slice, column: Column) -> np.ndarray:
    return seeded_watershed.histogram(source.read((z, *column)))
