"""Levels of a pyramid: how much smaller each is, how it lies on disk, and the superblocks that lower levels come from.

A superblock is as many shards along each axis as one voxel of level k is voxels of level 0. Its part of every level
up to k is then whole shards, so that tasks make these levels without sharing a file. Along an axis on which a level
fits into one shard, a superblock reaches through the whole volume.

    level 0   [s][s][s][s]|[s][s][s]      k = 2, halved twice along this axis: four shards a superblock
    level 1   [ s  ][ s  ]|[ s  ][s]
    level 2   [    s     ]|[   s   ]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from .shared import MOST_LEVELS
from .volume import Layout, Region, layout

SMALLEST = 64  # px: no further level once the longer in-plane side is this short


def factors(
    shape: tuple[int, ...], scale: tuple[float, ...], levels: int, spatial: Sequence[bool] = ()
) -> list[tuple[int, ...]]:
    """Cumulative downsampling (z, y, x) of each level. Axes that are not `spatial`, as c and t, stay as they are."""
    found: list[tuple[int, ...]] = [(1,) * len(shape)]
    size, voxel = np.array(shape), np.where(np.array(spatial or [True] * len(shape)), scale, np.inf)
    while len(found) < levels and max(size[-2:]) > SMALLEST:
        step = np.where((voxel < 2 * voxel.min()) & (size > 1), 2, 1)
        size, voxel = -(-size // step), voxel * step
        found.append(tuple(int(v) for v in np.array(found[-1]) * step))
    return found


def layouts(lay: Layout, down: Sequence[tuple[int, ...]]) -> list[Layout]:
    """The layout of every level, from that of level 0 and the cumulative downsampling."""
    found = [lay]
    for step in down[1:]:
        small = [-(-n // f) for n, f in zip(lay.shape, step, strict=True)]
        found.append(layout(small, lay.dtype, found[-1].shard, found[-1].chunk))
    return found


def superblocks(lay: Layout, scale: tuple[float, ...], spatial: Sequence[bool] = ()) -> tuple[int, Layout]:
    """The highest level k that is made in superblocks, and the volume with superblocks for shards.

    Superblocks are made side by side, what lies above level k then by one task: k is where one superblock and the
    voxels of level k are together the fewest. It does not depend on how many levels a user wants, since ingest
    writes the list of superblocks and should not run again when that changes."""
    down = factors(lay.shape, scale, MOST_LEVELS, spatial)

    def edge(k: int) -> tuple[int, ...]:
        return tuple(min(s * f, n) for s, f, n in zip(lay.shard, down[k], lay.shape, strict=True))

    def longest(k: int) -> int:
        above = math.prod(-(-n // f) for n, f in zip(lay.shape, down[k], strict=True)) if k < len(down) - 1 else 0
        return math.prod(edge(k)) + above

    k = min(range(len(down)), key=longest)
    return k, Layout(lay.shape, lay.dtype, lay.chunk, edge(k))


def part_of(lay: Layout, part: Region, step: tuple[int, ...]) -> Region:
    """Where a part of level 0 lies on a level of layout `lay`, `step` times smaller."""
    return tuple(slice(r.start // f, min(-(-r.stop // f), n)) for r, f, n in zip(part, step, lay.shape, strict=True))


def tiles(region: Region, size: Sequence[int]) -> Iterator[Region]:
    """A region cut into tiles of `size`, the last along each axis perhaps smaller."""
    for corner in itertools.product(*(range(r.start, r.stop, s) for r, s in zip(region, size, strict=True))):
        yield tuple(slice(c, min(c + s, r.stop)) for c, s, r in zip(corner, size, region, strict=True))
