"""Regions that a release is made without: nothing of them is left in volumes and tables.

    image    voxels of the region are 0, at every level; a coarse voxel that touches it, too
    labels   supervoxels that reach into the region are 0, wherever they lie: as the tables have it

Shards that nothing of this touches stay the same files.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..catalog.regions import SYNAPSES, shards_of
from ..core import blocks, manifest
from ..core.space import Space
from ..core.volume import Image, Layout, Region, is_label, list_labels, open_image
from ..postprocess.rescore import OVERLAP, SKELETONS

NEAR = 1e-6  # of a voxel: faces that close are one


def without(results: Path, supervoxels: Image, masked: np.ndarray, boxes: Sequence[Region]) -> None:
    """Results without regions, but for what hangs on their merge table. Files are replaced, never written into.

    Args:
        supervoxels: as they were; regions are in its voxels.
        masked: those that reach into a region, ascending."""
    without_synapses(results / SYNAPSES, masked, boxes)
    for name, columns in ((OVERLAP, ("supervoxel",)), (SKELETONS, ("supervoxel_a", "supervoxel_b"))):
        if (results / name).exists():
            without_rows(results / name, columns, masked)
    for path in results.glob("tables/merge_at/**/*.parquet"):
        without_roots(path, masked)
    without_voxels(results, supervoxels, masked, boxes)


def without_synapses(path: Path, masked: np.ndarray, boxes: Sequence[Region]) -> None:
    """The table without synapses that lie in a region, or one of whose sides does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    gone = np.zeros(len(table), bool)
    for side in ("pre", "post"):
        gone |= np.isin(table[f"{side}_pt_supervoxel_id"].fill_null(0).to_numpy(), masked)
    place = [table[axis].fill_null(-1).to_numpy() for axis in "zyx"]
    for box in boxes:
        gone |= np.all([(at >= s.start) & (at < s.stop) for at, s in zip(place, box, strict=True)], axis=0)
    path.unlink()
    pq.write_table(table.filter(pa.array(~gone)), path)


def without_rows(path: Path, columns: Sequence[str], masked: np.ndarray) -> None:
    """A table without the rows in which a column names one of these supervoxels: they are not scored."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    path.unlink()
    gone = np.any([np.isin(table[name].to_numpy(), masked) for name in columns], axis=0)
    pq.write_table(table.filter(pa.array(~gone)), path, compression="zstd")


def without_roots(path: Path, masked: np.ndarray) -> None:
    """A part of a merge table in which these supervoxels are background."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    at = table.schema.get_field_index("root_id")
    roots = np.where(np.isin(table["supervoxel"].to_numpy(), masked), 0, table["root_id"].to_numpy())
    path.unlink()
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(roots).cast(table.schema.field(at).type)), path)


def without_voxels(results: Path, supervoxels: Image, masked: np.ndarray, boxes: Sequence[Region]) -> None:
    """Volumes of results without regions, and their manifests."""
    theirs = [blocks.region(supervoxels.layout(), n) for n in shards_of(supervoxels, masked)]
    for name in sorted(results.rglob("*.zarr.manifest.json")):
        root = name.with_name(name.name.removesuffix(".manifest.json"))
        held, changed = manifest.read(root), set[str]()
        for image in (open_image(root), *(open_image(root, labels) for labels in list_labels(root))):
            for n in range(image.levels):
                ids = is_label(image.root) and n < supervoxels.levels and image.level(n).shape == supervoxels.level(n).shape
                for path in _emptied(image, n, supervoxels, theirs if ids else boxes, masked if ids else None):
                    changed.add(path.relative_to(root).as_posix())
        if held and changed:
            manifest.write(root, {file: row for file, row in held["files"].items() if file not in changed})


def _emptied(
    image: Image, level: int, supervoxels: Image, boxes: Sequence[Region], masked: np.ndarray | None
) -> Iterator[Path]:
    """Empty what lies in regions, or in them is of these supervoxels; yields the shards that changed."""
    lay = image.layout(level)
    names = [axis.name for axis in image.axes]
    if not set("zyx") <= set(names):
        return
    spaces = supervoxels.space, image.at_level(level).part("zyx")
    there = [whole(at_level(box, *spaces), names, lay.shape) for box in boxes]
    for at in sorted({index for box in there for index in shards(lay, box)}):
        shard = tuple(slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(at, lay.shard, lay.shape, strict=True))
        values = image.read(shard, level)
        before = values.copy()
        if masked is not None:
            values[np.isin(supervoxels.read(shard, level), masked)] = 0
        else:
            for box in there:
                values[tuple(slice(max(b.start - s.start, 0), max(b.stop - s.start, 0)) for b, s in zip(box, shard))] = 0
        if not np.array_equal(values, before):
            path = image.path(level) / ("" if image.version == "0.4" else "c") / "/".join(map(str, at))
            os.unlink(path)  # a link to the bytes of another release
            image.write(shard, values, level)
            yield path


def at_level(box: Region, of: Space, space: Space) -> Region:
    """A region in voxels of one space in those of another: all that it touches, from 0."""
    sides = []
    for side, scale, origin, step, first in zip(box, of.scale, of.origin, space.scale, space.origin, strict=True):
        start, stop = ((origin + (end - 0.5) * scale - first) / step + 0.5 for end in (side.start, side.stop))
        sides.append(slice(max(math.floor(start + NEAR), 0), max(math.ceil(stop - NEAR), 0)))
    return tuple(sides)


def whole(box: Region, names: Sequence[str], shape: tuple[int, ...]) -> Region:
    """A region (z, y, x) in an array of these axes: all of any other axis."""
    sides = dict(zip("zyx", box, strict=True))
    return tuple(
        slice(sides[a].start, min(sides[a].stop, n)) if a in sides else slice(0, n) for a, n in zip(names, shape, strict=True)
    )


def shards(lay: Layout, box: Region) -> Iterator[tuple[int, ...]]:
    """Places in the grid of shards that a region meets."""
    return itertools.product(*(range(b.start // s, -(-b.stop // s)) for b, s in zip(box, lay.shard, strict=True)))
