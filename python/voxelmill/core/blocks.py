"""Blocks: one task, whole shards, one file each; and how the files become one store again.

A task gets a range of shards (in raster order), reads them with the halo it needs and writes a store
with the full array's metadata and just those shards. Joining hard-links the shard files into one
store: nothing is copied, no two tasks write one file, and the result has the same bytes for any
number of tasks.

      shards 0 1 2 | 3 4 5 | 6        three tasks of a volume of seven shards
             task 0  task 1  task 2
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    return tuple(slice(i * s, min((i + 1) * s, e)) for i, s, e in zip(shard_index(lay, n), lay.shard, lay.shape))


def regions(lay: Layout, block: str) -> Iterator[Region]:
    """The regions of a block's shards; a block is written `first-last`, inclusive."""
    first, last = parse(block, int(np.prod(lay.grid)))
    return (region(lay, n) for n in range(first, last + 1))


def parse(block: str, count: int) -> tuple[int, int]:
    """`"3-5"` -> (3, 5). Raises ParameterError outside 0..count-1."""
    try:
        first, last = (int(n) for n in block.split("-"))
    except ValueError:
        raise ParameterError(f"--block {block!r}: expected FIRST-LAST, for example 0-3") from None
    if not 0 <= first <= last < count:
        raise ParameterError(f"--block {block!r}: there are shards 0 to {count - 1}")
    return first, last


def plan(lay: Layout, tasks: int = 0, voxels: float = 32e6, unit: int = 1) -> list[str]:
    """Divide the shards into blocks of consecutive shards.

    Args:
        tasks: number of blocks; 0 means as many as give each about `voxels` voxels, in a large volume more (`size`).
        unit: shards that must stay together (a whole row of sections, say).
    """
    count = int(np.prod(lay.grid)) // unit
    if not tasks:
        whole = float(np.prod([float(n) for n in lay.shape]))
        tasks = int(np.ceil(whole / size(whole, voxels)))
    tasks = max(1, min(tasks, count))
    edges = [round(i * count / tasks) * unit for i in range(tasks + 1)]
    return [f"{a}-{b - 1}" for a, b in itertools.pairwise(edges)]


def size(whole: float, voxels: float) -> float:
    """Voxels of a block: `voxels`, but more where that would be more than FEW_TASKS, and never more than MOST_TASKS."""
    return max(voxels, min(whole / FEW_TASKS, GROWN * voxels), whole / MOST_TASKS)


def batches(plan: Sequence[str], lay: Layout, voxels: float) -> list[str]:
    """For each block of a plan the batch it belongs to, written as a block: whole blocks, about `voxels` voxels.

    What follows on tables only would be over in no time, block by block."""
    each = float(np.prod([float(n) for n in lay.shape])) / np.prod(lay.grid)  # voxels of a shard, on average
    ends = [parse(block, int(np.prod(lay.grid))) for block in plan]
    number = [int((first + last + 1) / 2 * each // voxels) for first, last in ends]
    spans = {n: [e for e, m in zip(ends, number) if m == n] for n in number}
    return [f"{spans[n][0][0]}-{spans[n][-1][1]}" for n in number]


def widen(r: Region, halo: Sequence[int], shape: Sequence[int]) -> tuple[Region, Region]:
    """A region with its halo, cut at the volume's faces, and where the region lies in it."""
    outer = tuple(slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(r, halo, shape))
    inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(r, outer))
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
    target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve()
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
