"""A region of a release: the tasks, files, neurites and synapses in it; and what a neurite is made of.

A region is (z0, y0, x0, z1, y1, x1) in voxels of the published volume, from 0, ends left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks
from ..core.errors import DataError, ParameterError
from ..core.ids import decode
from ..core.runs import volumes_in
from ..core.volume import Image, Layout, Region, open_image
from ..inference import seeded_watershed
from . import limits
from .manifests import manifest_of
from .store import NotThere, Store, reading

BLOCK = re.compile(r"(?:^|\.)(\d+-\d+(?:x\d+-\d+)*)$")
SHARD = re.compile(r"^(.*?)/(\d+)/(?:c/)?(\d+(?:/\d+)*)$")
LOOKED_AT = 64  # shards of a neurite that are read to see whether it lies in them
SUPERVOXELS, MERGE, SYNAPSES = "volumes/supervoxels.ome.zarr", "tables/merge", "tables/synapses.parquet"


def parse(text: str) -> Region:
    """`Z0,Y0,X0,Z1,Y1,X1` -> region. Raises ParameterError for anything else."""
    try:
        ends = [int(word) for word in text.split(",")]
        if len(ends) != 6 or not all(0 <= a < b for a, b in zip(ends[:3], ends[3:], strict=True)):
            raise ValueError
    except ValueError:
        raise ParameterError(
            f"--bbox {text!r}: expected Z0,Y0,X0,Z1,Y1,X1 in voxels from 0, each end beyond its start"
        ) from None
    return tuple(slice(a, b) for a, b in zip(ends[:3], ends[3:], strict=True))


def meet(a: Region, b: Region) -> bool:
    return all(x.start < y.stop and y.start < x.stop for x, y in zip(a, b, strict=True))


def masked(store: Store, tag: str, box: Region) -> bool:
    """Whether all of a region lies in one that a release is made without."""
    boxes = map(parse, manifest_of(store, tag).get("edits", {}).get("masks", ()))
    return any(all(m.start <= s.start and s.stop <= m.stop for m, s in zip(mask, box, strict=True)) for mask in boxes)


def files_of(store: Store, tag: str) -> Path:
    return store.release(tag) / "files"


def volume_of(store: Store, tag: str) -> Image | None:
    """The volume whose shards blocks are counted in: that of supervoxels, or the first there is."""
    folder = files_of(store, tag)
    found = [path for path in (folder / SUPERVOXELS, *volumes_in(folder)) if path.is_dir()]
    return open_image(found[0]) if found else None


def supervoxel_image_of(store: Store, tag: str) -> Image:
    """Raises DataError where the release has no volume of supervoxels."""
    if not (files_of(store, tag) / SUPERVOXELS).is_dir():
        raise NotThere(f"release {tag}: no {SUPERVOXELS}; it is not one of neurites")
    return open_image(files_of(store, tag) / SUPERVOXELS)


def touches(lay: Layout, block: str, box: Region) -> bool:
    """Whether a task's block meets a region; a task without a block works on all."""
    found = BLOCK.search(block)
    if not found:
        return True
    try:
        return any(meet(one, box) for one in blocks.regions(lay, found[1]))
    except ParameterError:  # a block of something else than these shards, as batches of neurites: it may touch all
        return True


def in_region(found: dict[str, Any], store: Store, tag: str, box: Region) -> list[str]:
    """Of the tasks of a trace those whose blocks meet a region."""
    image = volume_of(store, tag)
    if image is None:
        raise NotThere(f"release {tag}: holds no volume; --bbox has no meaning in it")
    grids = [(image.layout(), box)]
    for path in volumes_in(files_of(store, tag)):  # a task's blocks are of one of these, and its record does not say of which
        other = open_image(path)
        there = carried(box, image, other)
        if there is not None and (other.layout(), there) not in grids:
            grids.append((other.layout(), there))
    return [task["id"] for task in found["tasks"] if any(touches(lay, task["block"], there) for lay, there in grids)]


def carried(box: Region, of: Image, to: Image) -> Region | None:
    """A region of one volume in voxels of another that may be resampled, cropped or moved; None where that is not known."""
    if of.shape == to.shape and (of.space == to.space or not (of.space.known and to.space.known)):
        return box
    if len(of.shape) != 3 or len(to.shape) != 3 or not (of.space.known and to.space.known):
        return None
    ends = [[getattr(side, end) - 0.5 for side in box] for end in ("start", "stop")]  # faces, not centres
    first, last = (to.space.index(of.space.position(end)) for end in ends)
    # A thousandth of a voxel is how positions were rounded, and no voxel more.
    return tuple(slice(max(0, floor(a + 0.501)), max(0, ceil(b + 0.499))) for a, b in zip(first, last, strict=True))


def elsewhere(store: Store, tag: str) -> list[str]:
    """Volumes of a release of which it is not known where they lie beside that whose voxels regions are counted in."""
    folder, image, any_box = files_of(store, tag), volume_of(store, tag), (slice(0, 1),) * 3
    paths = [path for path in volumes_in(folder) if image and carried(any_box, image, open_image(path)) is None]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def shards_in(store: Store, paths: Sequence[dict[str, Any]], box: Region) -> list[dict[str, Any]]:
    """Of files of releases those that are no shards, and of the shards those that meet a region of `volume_of`. Shards of a
    volume of which it is not known where it lies beside that may meet it."""
    base = {tag: volume_of(store, tag) for tag in {row["tag"] for row in paths}}
    layouts: dict[tuple[str, str, str], tuple[Layout, list[float], Region] | None] = {}

    def inside(row: dict[str, Any]) -> bool:
        part = SHARD.match(row["path"])
        if not part or ".zarr/" not in f"{part[1]}/":
            return True
        key = (row["tag"], part[1], part[2])
        if key not in layouts:
            layouts[key] = _level(files_of(store, row["tag"]) / part[1], int(part[2]), base[row["tag"]], box)
        level = layouts[key]
        index = [int(i) for i in part[3].split("/")]
        if level is None or len(index) != 3:
            return True
        lay, step, there = level
        shard = tuple(slice(int(i * s * f), int((i + 1) * s * f)) for i, s, f in zip(index, lay.shard, step, strict=True))
        return meet(shard, there)

    return [row for row in paths if inside(row)]


def _level(root: Path, n: int, base: Image | None, box: Region) -> Any:
    """Layout of a level, how many voxels of level 0 one of its voxels stands for, along each axis, and a region of `base` in
    voxels of level 0; None where something of it is not known."""
    try:
        store, _, labels = str(root).partition("/labels/")
        image = open_image(Path(store), labels or None)
        if len(image.shape) != 3 or n >= image.levels:
            return None
        there = carried(box, base, image) if base else box
        step = [a / b for a, b in zip(image.shape, image.level(n).shape, strict=True)]
        return (image.layout(n), step, there) if there is not None else None
    except (DataError, OSError):
        return None


def merge_table(store: Store, tag: str, columns: Sequence[str] = ("supervoxel", "root_id")) -> dict[str, np.ndarray]:
    """The merge table of a release: supervoxels ascending, and their root ids. Raises DataError where it has none."""
    import pyarrow.dataset as ds

    folder = files_of(store, tag) / MERGE
    if not folder.is_dir():
        raise NotThere(f"release {tag}: no {MERGE}; it is not one of neurites")
    with reading(folder):
        table = ds.dataset(sorted(folder.glob("*.parquet")), format="parquet").to_table(columns=list(columns))
    found = {name: table[name].to_numpy() for name in columns}
    keys = found["supervoxel"]
    if len(keys) and not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        found = {name: values[order] for name, values in found.items()}
    return found


def roots_in(store: Store, tag: str, box: Region) -> np.ndarray:
    """Root ids of the neurites in a region."""
    table = merge_table(store, tag)
    found = np.unique(table["root_id"][np.searchsorted(table["supervoxel"], supervoxels_in(store, tag, box))])
    return found[found > 0]


def supervoxels_in(store: Store, tag: str, box: Region) -> np.ndarray:
    """Supervoxels that have voxels in a region, ascending; read at full resolution, a slab at a time."""
    image = supervoxel_image_of(store, tag)
    box = tuple(slice(s.start, min(s.stop, n)) for s, n in zip(box, image.shape, strict=True))
    found = [np.zeros(0, np.uint64)]
    area = max(1, (box[1].stop - box[1].start) * (box[2].stop - box[2].start))
    step = max(1, int(32e6 // area))
    for z in range(box[0].start, box[0].stop, step):
        limits.check()
        found.append(np.unique(image.read((slice(z, min(z + step, box[0].stop)), *box[1:]))))
    names = np.unique(np.concatenate(found)).astype(np.uint64)
    return names[names > 0]


def synapses_in(store: Store, tag: str, box: Region) -> list[int]:
    """Ids of the synapses whose centres lie in a region."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = files_of(store, tag) / SYNAPSES
    if not path.exists():
        return []
    with reading(path):
        table = pq.read_table(path, columns=["id", "z", "y", "x"])
    mask = np.ones(len(table), bool)
    for name, side in zip("zyx", box, strict=True):
        values = pc.fill_null(table[name], -1).to_numpy()
        mask &= (values >= side.start) & (values < side.stop)
    return table["id"].to_numpy()[mask].tolist()


def neurite(store: Store, tag: str, root: int) -> dict[str, Any]:
    """What a neurite is made of: its supervoxels, and the region of the shards that they lie in.

    Raises DataError where the release has no such neurite."""
    table = merge_table(store, tag)
    own = table["supervoxel"][table["root_id"] == np.uint64(root)]
    if not len(own):
        raise NotThere(f"{root}: no neurite of release {tag}")
    image = supervoxel_image_of(store, tag)
    corners = [blocks.region(image.layout(), n) for n in shards_of(image, own)]
    if len(corners) <= LOOKED_AT:  # exactly those, where that is soon seen
        corners = [corner for corner in corners if np.isin(read(image, corner), own).any()]
    return {"root_id": str(root), "supervoxels": [str(one) for one in own.tolist()], "shards": corners}


def read(image: Image, region: Region) -> np.ndarray:
    limits.check()
    return image.read(region)


def shards_of(image: Image, supervoxels: np.ndarray) -> list[int]:
    """Numbers of the shards that supervoxels may lie in: an id says the tile of a section in which it begins, and it may
    reach on into the next shard along each axis."""
    lay, tiles = image.layout(), seeded_watershed.tiles(image.shape)
    begins = np.stack(np.unravel_index(np.unique(decode(supervoxels)[0]).astype(int), tiles.grid), axis=1) * tiles.cell
    ends = np.minimum(begins + tiles.cell, image.shape) - 1
    found = set[int]()
    for first, last in zip(begins // lay.shard, ends // lay.shard, strict=True):
        sides = (range(max(0, a - 1), min(b + 2, n)) for a, b, n in zip(first.tolist(), last.tolist(), lay.grid, strict=True))
        found.update(int(np.ravel_multi_index(index, lay.grid)) for index in itertools.product(*sides))
    return sorted(found)


def of_neurite(found: dict[str, Any], store: Store, tag: str, shards: Sequence[Region]) -> list[str]:
    """Of the tasks of a trace those whose blocks meet one of the shards that a neurite lies in."""
    image = volume_of(store, tag)
    if image is None:
        raise NotThere(f"release {tag}: holds no volume")
    lay = image.layout()
    return [t["id"] for t in found["tasks"] if any(touches(lay, t["block"], one) for one in shards)]
