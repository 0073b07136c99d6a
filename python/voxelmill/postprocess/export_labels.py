"""Export labels: supervoxels through the merge table into a flat label volume, and the table itself.

The table is written in parts, one a layer of shards, so that its files do not depend on the number of tasks; a task reads
the rows of its own layers.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from ..core import blocks, levels
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out, OutFiles
from ..core.volume import Image, Layout, Region, create_image, open_image
from ..inference import section_linking, seeded_watershed

TILE = (64, 512, 512)  # voxels that are looked up at once


class Parameters(Params):
    """Exporting has nothing to choose."""


def run(
    p: Parameters,
    task: Task,
    *,
    supervoxels: In,
    components: In,
    joined: In | None = None,
    block: str,
    output: Out,
    merge: OutFiles,
) -> None:
    source = open_image(supervoxels)
    lay = source.layout()
    others = section_linking.load(joined, section_linking.Joined) if joined else None
    stored = section_linking.StoredComponents(components)
    count = others.segments if others else stored.number
    dtype = "uint32" if count < 2**32 else "uint64"
    target = create_image(output, Layout(lay.shape, dtype, lay.chunk, lay.shard), source.space, label=True)
    merge.mkdir()
    shards = []
    for z, layer in itertools.groupby(blocks.regions(lay, block), key=lambda region: region[0]):
        ranges = seeded_watershed.tiles(lay.shape).ranges((z, slice(0, lay.shape[1]), slice(0, lay.shape[2])))
        part = section_linking.number(stored.within(ranges), others)
        section_linking.write_merge(merge / f"z{z.start:07d}.parquet", part)
        shards += [(region, part) for region in layer]
    task.do(partial(label, source, target), shards, "shards labelled")
    task.report(segments=count, rows_read=stored.rows_read)


def label(source: Image, target: Image, one: tuple[Region, section_linking.MergeTable]) -> None:
    """Write the segments of a region, given the part of the merge table that its supervoxels are in."""
    region, table = one
    found = np.empty([s.stop - s.start for s in region], target.dtype)
    for tile in levels.tiles(region, TILE):  # with 64-bit numbers a tile is held, not the shard
        at = tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(tile, region, strict=True))
        found[at] = section_linking.remap(source.read(tile), table)
    target.write(region, found)
