"""Pyramid: the lower levels of a published volume, for a run of superblocks.

Images are averaged, labels take the most frequent one. With version 0.4 level 0 is converted too, and so is that of the
aligned volume: grey levels up to here, shares of white as --aligned_dtype from here on. Superblocks, and the
level up to which they are made, are described in `core/levels.py`; `multiscale` joins them and makes the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks, levels
from ..core.device import choose, on_host
from ..core.errors import DataError
from ..core.pool import each
from ..core.provenance import Task
from ..core.released import create_v2
from ..core.shared import Device, Precision, Released
from ..core.stage import In, Out
from ..core.volume import Image, Layout, Region, create_array, is_label, open_image


class Published(Released, Precision, Device):
    """Published volumes."""


class Parameters(Published):
    """Pyramid levels."""


def run(p: Parameters, task: Task, *, volume: In, labels: In | None = None, name: str = "", block: str, output: Out) -> None:
    """`name` is what the volume is: raw, aligned, supervoxels."""
    task.arrays(p.use_gpu)
    output.mkdir(parents=True)
    for pyramid in pyramids(p, volume, labels, name, output):
        lower, grid = levels.superblocks(pyramid.lay, pyramid.image.scale, pyramid.spatial)
        for part in task.progress(list(blocks.regions(grid, block)), f"superblocks of {pyramid.image.root.name}"):
            for n in range(len(pyramid.down[: lower + 1])):
                pyramid.make(n, part)


def pyramids(p: Published, volume: Path, labels: Path | None, name: str, output: Path) -> Iterator[Pyramid]:
    """Of the volume, and of its labels, if any."""
    count = 1 if p.save_minimal else p.max_levels
    dtype = p.aligned_dtype if name == "aligned" else None
    yield Pyramid(open_image(volume), output, p.ome_zarr_version, count, is_label(volume), p.use_gpu, dtype)
    if labels is not None:
        yield Pyramid(open_image(labels), output / "labels/neurites", p.ome_zarr_version, count, True, p.use_gpu)


class Pyramid:
    """The levels of one image: `down` (cumulative steps) and `layouts` of each, and how to make them.

    Args:
        image: what is published; its level 0 is read.
        root: folder that gets the levels as `0`, `1`, ...
        version: "0.5" or "0.4", which has a level 0 of its own.
        count: most levels, level 0 included.
        label: take the most frequent voxel, not the mean.
        use_gpu: as `Device`; without a GPU, shards are made by all workers of the task.
        dtype: floating type to publish grey levels (uint8) in, 0 to 1; None for the image's own type.
    """

    def __init__(
        self, image: Image, root: Path, version: str, count: int, label: bool, use_gpu: bool = False, dtype: str | None = None
    ):
        self.image, self.target, self.label, self.use_gpu = image, Image(root, image.space), label, use_gpu
        self.old, self.lay, self.shares = version == "0.4", image.layout(), None
        if dtype and self.lay.dtype != dtype:
            if self.lay.dtype != "uint8":
                raise DataError(f"{image.root}: {self.lay.dtype} values; expected uint8 grey levels, to publish as {dtype}")
            self.lay, self.shares = replace(self.lay, dtype=dtype), (np.arange(256) / 255.0).astype(dtype)
        self.spatial = [axis.type == "space" for axis in image.axes]
        self.down = levels.factors(self.lay.shape, image.scale, count, self.spatial)
        first = Layout(self.lay.shape, self.lay.dtype, self.lay.chunk, self.lay.chunk) if self.old else self.lay
        self.layouts = levels.layouts(first, self.down)

    @property
    def own(self) -> bool:
        """Whether level 0 is written anew; else it is that of the image, linked."""
        return self.old or self.shares is not None

    def level_0(self, region: Region) -> np.ndarray:
        """A region of level 0 as it is published."""
        values = self.image.read(region)
        return values if self.shares is None else self.shares[values]

    def make(self, n: int, part: Region) -> None:
        """Write a part (a region of level 0; whole superblocks) of level n, from the level below or from level 0.

        Raises DataError where a chunk that is read is missing or damaged."""
        if n == 0 and not self.own:
            return
        lay = self.layouts[n]
        if self.old:
            create_v2(self.target.path(n), lay)
        else:
            create_array(self.target.path(n), lay, names=[axis.name for axis in self.image.axes])
        shards = levels.tiles(levels.part_of(lay, part, self.down[n]), self.lay.shard if n == 0 else lay.shard)
        for _ in (map if choose(self.use_gpu)[1] != "cpu" else each)(partial(self.write, n), shards):
            pass

    def write(self, n: int, shard: Region) -> None:
        """Write a shard of level n, which has been created."""
        self.target.write(shard, self.smaller(n, shard) if n else self.level_0(shard), n)

    def smaller(self, n: int, region: Region) -> np.ndarray:
        """A region of level n, tile by tile: no more than a shard of the level below is held."""
        step = tuple(b // a for a, b in zip(self.down[n - 1], self.down[n]))
        made = np.empty([r.stop - r.start for r in region], self.lay.dtype)
        for tile in levels.tiles(region, [-(-s // f) for s, f in zip(self.layouts[n].shard, step)]):
            part = tuple(slice(t.start * f, min(t.stop * f, e)) for t, f, e in zip(tile, step, self.layouts[n - 1].shape))
            values = self.level_0(part) if n == 1 else self.target.read(part, n - 1)
            made[tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(tile, region))] = (
                most_frequent(values, step) if self.label else mean(values, step, choose(self.use_gpu)[0])
            )
        return made


def most_frequent(values: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """Label that most voxels of a cell of `step` voxels have, of several the first; cells as in `mean`."""
    held = np.pad(values, [(0, -n % f) for n, f in zip(values.shape, step)], mode="edge")
    cells = [held[tuple(slice(a, None, f) for a, f in zip(at, step))] for at in np.ndindex(*step)]
    best, votes = cells[0].copy(), np.zeros(cells[0].shape, np.uint8)
    for one in cells:
        count = np.zeros(votes.shape, np.uint8)
        for other in cells:
            count += one == other
        np.copyto(best, one, where=count > votes)
        np.maximum(votes, count, out=votes)
    return best


def mean(values: np.ndarray, step: tuple[int, ...], xp: Any = np) -> np.ndarray:
    """Mean over cells of `step` voxels; a cell cut by the volume's end has its last plane repeated.

    Integers are rounded half up. Exact for integers on CPU and GPU; float32 within 1e-6 of each other."""
    held = xp.asarray(values)
    rest = [(0, -n % f) for n, f in zip(values.shape, step)]
    if any(more for _, more in rest):
        held = xp.pad(held, rest, mode="edge")
    wide = {"f": "float32", "i": "int64", "u": "uint32" if values.dtype.itemsize < 4 else "uint64"}[values.dtype.kind]
    total = xp.zeros(tuple(n // f for n, f in zip(held.shape, step)), wide)
    for at in np.ndindex(*step):
        total += held[tuple(slice(a, None, f) for a, f in zip(at, step))]
    count = int(np.prod(step))
    made = (total / count if values.dtype.kind == "f" else (total + count // 2) // count).astype(values.dtype)
    return on_host(made, xp)
