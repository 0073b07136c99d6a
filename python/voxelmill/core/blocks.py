"""Blocks: one task, whole shards, one file each; and how the files become one store again.

A task gets a range of shards (in raster order), reads them with the halo it needs and writes a store
with the full array's metadata and just those shards. Joining hard-links the shard files into one
store: nothing is copied, no two tasks write one file, and the result has the same bytes for any
number of tasks.

      shards 0 1 2 | 3 4 5 | 6        three tasks of a volume of seven shards
             task 0  task 1  task 2

Where a task needs as little as possible of its neighbours, blocks are boxes of shards, with faces on all axes (`boxes`,
`faces`); a halo is put around either (`widen`).
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import manifest
from .errors import DataError, ParameterError
from .volume import Layout, Region

FEW_TASKS, GROWN = 256, 16  # beyond so many tasks of a stage blocks grow, up to so many times: a short task is mostly
# start-up
MOST_TASKS = 20_000  # of one stage: more would outgrow a command line that names all their stores, and the head node


def shard_index(lay: Layout, n: int) -> tuple[int, ...]:
    """Position of the n-th shard (raster order) in the grid of shards."""
    return tuple(int(i) for i in np.unravel_index(n, lay.grid))


def region(lay: Layout, n: int) -> Region:
    """The voxels of the n-th shard."""
    return tuple(slice(i * s, min((i + 1) * s, e)) for i, s, e in zip(shard_index(lay, n), lay.shard, lay.shape, strict=True))


def regions(lay: Layout, block: str) -> Iterator[Region]:
    """The regions of a block's shards, in raster order; a block is a run (`0-3`) or a box (`0-1x0-0x2-5`) of shards."""
    if "x" in block:
        numbers: Iterable[int] = (int(np.ravel_multi_index(i, lay.grid)) for i in itertools.product(*sides(lay, block)))
    else:
        first, last = parse(block, int(np.prod(lay.grid)))
        numbers = range(first, last + 1)
    return (region(lay, n) for n in numbers)


def parse(block: str, count: int) -> tuple[int, int]:
    """`"3-5"` -> (3, 5). Raises ParameterError outside 0..count-1."""
    try:
        first, last = (int(n) for n in block.split("-"))
    except ValueError:
        raise ParameterError(f"--block {block!r}: expected FIRST-LAST, for example 0-3") from None
    if not 0 <= first <= last < count:
        raise ParameterError(f"--block {block!r}: there are shards 0 to {count - 1}")
    return first, last


def sides(lay: Layout, box: str) -> tuple[range, ...]:
    """The shards of a box along each axis. Raises ParameterError for what is none."""
    parts = box.split("x")
    if len(parts) != len(lay.grid):
        raise ParameterError(f"--block {box!r}: expected FIRST-LAST for each of {len(lay.grid)} axes, x between")
    ends = [parse(part, n) for part, n in zip(parts, lay.grid, strict=True)]
    return tuple(range(first, last + 1) for first, last in ends)


def outline(lay: Layout, box: str) -> Region:
    """The voxels of a box."""
    corners = zip(sides(lay, box), lay.shard, lay.shape, strict=True)
    return tuple(slice(r.start * s, min(r.stop * s, n)) for r, s, n in corners)


def boxes(lay: Layout, tasks: int = 0, voxels: float = 32e6) -> list[str]:
    """Divide the shards into boxes of much the same size, as near to cubes as they can be; arguments as `plan`.

    All boxes of a layer have the same sides, and those of a row: they are a grid themselves, so that a face of a box is
    a face of one other box, or the volume's. There are at most as many as `plan` would make."""
    most, parts = number_of(lay, tasks, voxels), [1] * len(lay.grid)
    while True:
        whole = math.prod(parts)
        able = [k for k, n in enumerate(lay.grid) if parts[k] < n and whole // parts[k] * (parts[k] + 1) <= most]
        if not able:
            break
        parts[max(able, key=lambda k: lay.shape[k] / parts[k])] += 1
    ranges = [[f"{a}-{b - 1}" for a, b in itertools.pairwise(even(n, m))] for n, m in zip(lay.grid, parts, strict=True)]
    return ["x".join(box) for box in itertools.product(*ranges)]


class Face(NamedTuple):
    """Where two boxes meet."""

    axis: int
    before: str  # the box with the smaller coordinates
    after: str
    region: Region  # one voxel deep on either side

    def around(self, reach: int, shape: Sequence[int]) -> Region:
        """The face with `reach` voxels on either side, cut at the volume's faces."""
        halo = [reach - 1 if k == self.axis else 0 for k in range(len(shape))]
        return widen(self.region, halo, shape)[0]


def faces(lay: Layout, plan: Sequence[str]) -> list[Face]:
    """All faces between the boxes of a plan, each once, by the box before it, then by axis.

    The box before it owns a face: that task, or one of its own, joins what lies on either side."""
    regions = {box: outline(lay, box) for box in plan}
    at = {tuple(s.start for s in region): box for box, region in regions.items()}
    found = []
    for box, region in regions.items():
        for axis, side in enumerate(region):
            after = at.get(tuple(s.stop if k == axis else s.start for k, s in enumerate(region)))
            if after is not None:
                both = slice(side.stop - 1, side.stop + 1)
                found.append(Face(axis, box, after, tuple(both if k == axis else s for k, s in enumerate(region))))
    return found


def plan(lay: Layout, tasks: int = 0, voxels: float = 32e6, unit: int = 1) -> list[str]:
    """Divide the shards into blocks of consecutive shards.

    Args:
        tasks: number of blocks; 0 means as many as give each about `voxels` voxels, in a large volume more (`size`).
        unit: shards that must stay together (a whole row of sections, say).
    """
    count = math.prod(lay.grid) // unit
    edges = even(count, min(number_of(lay, tasks, voxels), count))
    return [f"{a * unit}-{b * unit - 1}" for a, b in itertools.pairwise(edges)]


def number_of(lay: Layout, tasks: int, voxels: float) -> int:
    """How many blocks: `tasks`, or as many as `voxels` makes of it."""
    whole = math.prod(map(float, lay.shape))
    return max(1, tasks or math.ceil(whole / size(whole, voxels)))


def even(count: int, parts: int) -> list[int]:
    """The ends of so many parts of nearly the same size: 0 first, `count` last."""
    return [round(i * count / parts) for i in range(parts + 1)]


def size(whole: float, voxels: float) -> float:
    """Voxels of a block: `voxels`, but more where that would be more than FEW_TASKS, and never more than MOST_TASKS."""
    return max(voxels, min(whole / FEW_TASKS, GROWN * voxels), whole / MOST_TASKS)


def batches(plan: Sequence[str], lay: Layout, voxels: float) -> list[str]:
    """For each block of a plan the batch it belongs to, written as a block: whole blocks, about `voxels` voxels.

    What follows on tables only would be over in no time, block by block."""
    each = math.prod(map(float, lay.shape)) / math.prod(lay.grid)  # voxels of a shard, on average
    ends = [parse(block, int(np.prod(lay.grid))) for block in plan]
    number = [int((first + last + 1) / 2 * each // voxels) for first, last in ends]
    spans = {n: [e for e, m in zip(ends, number, strict=True) if m == n] for n in number}
    return [f"{spans[n][0][0]}-{spans[n][-1][1]}" for n in number]


def widen(r: Region, halo: Sequence[int], shape: Sequence[int]) -> tuple[Region, Region]:
    """A region with its halo, cut at the volume's faces, and where the region lies in it."""
    outer = tuple(slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(r, halo, shape, strict=True))
    inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(r, outer, strict=True))
    return outer, inner


def join(stores: Sequence[Path], target: Path) -> dict[str, list]:
    """Hard-link the files of block stores into one store; returns the digests already known.

    Metadata must be the same in all; no shard may come twice.
    Raises DataError where stores differ or overlap, or a listed file is missing."""
    known: dict[str, list] = {}
    for store in stores:
        for name, entry in manifest.verify(store)["files"].items():
            if name in known:
                if known[name] != entry:
                    raise DataError(
                        f"{store}/{name}: differs from the same file of another block; blocks of one volume must not overlap"
                    )
                continue
            known[name] = entry
            link(store / name, target / name)
    return known


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the file system cannot."""
    if not target.parent.is_dir():  # there are thousands of files: each system call counts
        target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve() if source.is_symlink() else source
    try:
        os.link(real, target)
    except OSError:
        shutil.copyfile(real, target)


def require(lay: Layout, array: Path) -> None:
    """Raises DataError unless every shard of an array has its file.

    For a store that is passed on unread: who reads a shard that is missing is told so by `Image.read`."""
    root = array / "c" if (array / "zarr.json").exists() else array  # Zarr v2 has no folder `c`
    for n in range(int(np.prod(lay.grid))):
        path = root.joinpath(*map(str, shard_index(lay, n)))
        if not path.exists():
            raise DataError(f"{path}: shard missing; it would read as zeros. Re-run the stage that made the store")
