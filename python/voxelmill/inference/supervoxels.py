"""Supervoxels by a network's affinities, and the region graph of a block (`--segmentation learned`).

A column of a slab is worked on in tiles of SIDE px. Tiles, columns, slabs and blocks meet at planes: each keeps its last
plane of labels, and the next has the affinities of its first plane with it. So the supervoxels and their graph are the
same however slabs are shared among tasks; only where slabs end does the graph depend on the depth of a shard.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core import ids, levels, models
from ..core.errors import DataError
from ..core.provenance import Task
from ..core.volume import Image, Region
from . import affinities, affinity_basins, pixel_forest, region_graph, resampled, scratch, seeded_watershed, slabs, streamed
from .region_graph import Edges, Nodes

SIDE = 512  # px, of a tile
PIECE = 1_000_000  # edges that are read at once
FLAT = 2.0  # voxels so many times as long along z as in the section: each section is cut into supervoxels by itself


class Plane(NamedTuple):
    """One plane of voxels: labels, and their affinities with the plane before."""

    labels: NDArray[np.unsignedinteger]
    affinity: NDArray[np.uint8]


class Part(NamedTuple):
    """What is known of a column of a slab when its supervoxels are written."""

    region: Region
    nodes: Nodes
    edges: Edges
    first: list[Plane]  # by axis
    last: list[NDArray[np.uint64]]


class Cut(NamedTuple):
    """A tile in supervoxels, numbered from 1."""

    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]  # voxels of each
    sections: NDArray[np.int32]  # that each lies in, where none lies in two; else 0
    ends: NDArray[np.bool_]  # whether it touches where data end
    edges: Edges
    affinity: list[NDArray[np.uint8]]  # of its first planes, by axis, with those before


class Seams:
    """Boxes of voxels in raster order: each meets those before it along every axis."""

    def __init__(self) -> None:
        self.last: dict[tuple[int, ...], tuple[int, NDArray[np.unsignedinteger]]] = {}

    def meet(self, region: Region, first: list[Plane], last: list[NDArray[np.unsignedinteger]]) -> Iterator[Edges]:
        """What a box has in common with those before. first, last: its outer planes, by axis."""
        for axis, (here, plane, after) in enumerate(zip(region, first, last, strict=True)):
            place = (axis, *(s.start for k, s in enumerate(region) if k != axis))
            stop, before = self.last.get(place, (None, plane.labels))
            if stop == here.start:
                yield region_graph.between(before, plane.labels, plane.affinity)
            self.last[place] = (here.stop, after)


class Graph(NamedTuple):
    """The region graph of a block, and the planes in which it meets the blocks before and after it."""

    z: slice  # its sections
    blank: list[int]  # of these, the ones without any contrast
    nodes: Iterable[Nodes]  # column by column, to be gone through several times
    edges: Iterable[Edges]  # each in one part
    first: dict[tuple[int, int], Plane]  # by (y, x) of a column's corner
    last: dict[tuple[int, int], NDArray[np.uint64]]
    voxel: float = 0.0  # nm³, 0 where not known

    @property
    def number(self) -> int:
        """Of supervoxels."""
        return sum(len(part.ids) for part in self.nodes)


def segment(
    folder: Path, source: Image, target: Image, block: str, task: Task, steps: resampled.Steps = resampled.SAME
) -> Graph:
    """Write the supervoxels of a block; its graph, on disk. folder: of the model; steps: voxels shown to it as one."""
    lay = source.layout()
    columns, spans, seams = slabs.columns_of(lay), slabs.slabs_of(lay, block), Seams()
    nodes, edges, first, blank = scratch.Shelf(Nodes), scratch.Shelf(Edges), {}, []
    flat, shelved = is_flat(source), scratch.Copies()
    for z in spans:
        around = resampled.reach((z, *columns[0]), source.shape, steps)[0]
        grey = affinities.grey_of(slabs.histograms(source, around, columns, task))
        blank += [n for n in range(z.start, z.stop) if not grey.spread[n - around.start]]
        work = partial(segment_column, folder, source, target, z, (around.start, grey), flat, steps)
        for part in task.each(work, columns, f"columns of sections {z.start} on"):
            nodes.append(part.nodes)
            part.last[0] = shelved(part.last[0])  # these make up a whole section
            for found in (part.edges, *seams.meet(part.region, part.first, part.last)):
                edges.append(found)
            if z.start == spans[0].start:
                first[part.region[1].start, part.region[2].start] = Plane(*map(shelved, part.first[0]))
            scratch.release()
    last = {(y.start, x.start): seams.last[0, y.start, x.start][1] for y, x in columns}
    voxel = float(np.prod(source.space.scale)) if source.space.known else 0.0
    return Graph(slice(spans[0].start, spans[-1].stop), blank, nodes, edges, first, last, voxel)


def is_flat(source: Image) -> bool:
    """Whether sections are so thick that supervoxels stay within one."""
    z, y, x = source.space.scale
    return source.space.known and z >= FLAT * max(y, x)


@cache
def network(folder: Path) -> affinities.Network:
    """The network or forest of a folder, as a function; one a process."""
    model = models.load(folder)
    session = model.session
    if model.card["kind"] == "forest":
        return pixel_forest.network(session)
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: session.run(None, {name: x}, models.freeing())[0][0]


def segment_column(
    folder: Path,
    source: Image,
    target: Image,
    z: slice,
    sections: tuple[int, affinities.Grey],
    flat: bool,
    steps: resampled.Steps,
    column: slabs.Column,
) -> Part:
    """Segment the sections of a slab in one column and write them. sections: the first one that `Grey` is of, and that."""
    y, x = column
    region = (z, y, x)
    shape = tuple(s.stop - s.start for s in region)
    number = seeded_watershed.tiles(source.shape).number(z.start, y.start, x.start)
    whole, seams = np.zeros(shape, np.uint32), Seams()  # numbers within the column
    planes = [np.zeros(np.delete(shape, k), np.uint8) for k in range(3)]
    sizes, sections_of, ends, edges, count = [], [], [], [], 0
    for tile in levels.tiles(region, (shape[0], SIDE, SIDE)):
        cut = segment_tile(network(folder), source, tile, sections, flat, steps)
        sizes.append(cut.sizes)
        sections_of.append(cut.sections)
        ends.append(cut.ends)
        at = tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(tile, region, strict=True))
        found = whole[at]
        np.add(cut.labels, count, out=found, where=cut.labels > 0, casting="unsafe")
        first = [Plane(found.take(0, k), cut.affinity[k]) for k in range(3)]
        for k in range(3):
            if at[k].start == 0:
                planes[k][tuple(s for n, s in enumerate(at) if n != k)] = cut.affinity[k]
        inside = cut.edges._replace(pairs=cut.edges.pairs + np.uint64(count))
        edges += [inside, *seams.meet(tile, first, [found.take(-1, k) for k in range(3)])]
        count += len(cut.sizes)
        del cut  # before the next tile is looked at
    named = ids.encode(number, np.arange(count + 1))
    named[0] = 0
    target.write(region, named[whole])
    between = region_graph.merged(edges)
    return Part(
        region,
        Nodes(named[1:], np.concatenate(sizes).astype(np.int64), np.concatenate(sections_of), np.concatenate(ends)),
        between._replace(pairs=named[between.pairs]),
        [Plane(named[whole.take(0, k)], planes[k]) for k in range(3)],
        [named[whole.take(-1, k)] for k in range(3)],
    )


def segment_tile(
    run: affinities.Network,
    source: Image,
    tile: Region,
    sections: tuple[int, affinities.Grey],
    flat: bool,
    steps: resampled.Steps,
) -> Cut:
    """What holds most memory is of one tile, and is gone before the next one is looked at."""
    affinity, outside = look(run, source, tile, *sections, steps)
    labels = affinity_basins.basins(affinity, outside[1:-1, 1:-1, 1:-1], flat)
    sizes = np.bincount(labels.ravel())[1:]
    ends = np.bincount(labels[affinity_basins.beside(outside, flat)], minlength=len(sizes) + 1)[1:] > 0
    sections_of = np.zeros(len(sizes), np.int32)
    for n, section in enumerate(labels if flat else ()):
        sections_of[section[section > 0] - 1] = tile[0].start + n
    planes = [affinity[k].take(0, k) for k in range(3)]
    return Cut(labels, sizes, sections_of, ends, region_graph.edges(labels, affinity), planes)


def look(
    run: affinities.Network, source: Image, tile: Region, start: int, grey: affinities.Grey, steps: resampled.Steps
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Affinities of a tile, and where there are no data in it and one voxel around it."""
    outer = affinities.reach(tile, source.shape)
    inner = tuple(slice(t.start - o.start, t.stop - o.start) for t, o in zip(tile, outer, strict=True))
    sections = source.read(outer)
    if steps != resampled.SAME:
        found = resampled.seen(run, source, tile, start, grey, steps)
    else:
        part = slice(outer[0].start - start, outer[0].stop - start)
        found = affinities.affinities(run, sections, inner, affinities.Grey(grey.mean[part], grey.spread[part]))
    outside = np.pad(affinity_basins.no_data(sections), 1, constant_values=True)  # so is what lies beyond the volume
    return found, outside[tuple(slice(i.start, i.stop + 2) for i in inner)]


def save(path: Path, graph: Graph) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
        streamed.write(parts, "z", 2, [np.array([graph.z.start, graph.z.stop])])
        streamed.write(parts, "voxel", 1, [np.array(graph.voxel)])
        for kind, tables in ((Nodes, graph.nodes), (Edges, graph.edges)):
            number = sum(len(table[0]) for table in tables)
            for k, name in enumerate(kind._fields):
                streamed.write(parts, name, number, (table[k] for table in tables))
        for (y, x), plane in graph.first.items():
            streamed.write(parts, f"first_{y}_{x}", len(plane.labels), [plane.labels])
            streamed.write(parts, f"affinity_{y}_{x}", len(plane.affinity), [plane.affinity])
        for (y, x), labels in graph.last.items():
            streamed.write(parts, f"last_{y}_{x}", len(labels), [labels])


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Files of blocks, which come in any order, by their sections.

    Raises DataError where a block is missing between two others."""
    found, end = [], 0
    for (start, stop), path in sorted((tuple(np.load(path)["z"].tolist()), path) for path in paths):
        if start != end:
            raise DataError(f"{path}: sections {end} to {start - 1} are missing; rerun the block that holds them")
        found.append(path)
        end = stop
    return found


def nodes_of(paths: Sequence[Path]) -> Nodes:
    """All supervoxels of blocks, `in_order`, in tables on disk."""
    counts = [streamed.length(path, "ids") for path in paths]
    tables = [scratch.zeros(sum(counts), dtype) for dtype in (np.uint64, np.int64, np.int32, np.bool_)]
    start = 0
    for path in paths:
        for columns in streamed.rows(path, Nodes._fields, scratch.BLOCK):
            at = slice(start, start := start + len(columns[0]))
            for table, column in zip(tables, columns, strict=True):
                table[at] = column
            scratch.release()
    return Nodes(*tables)


def pieces(paths: Sequence[Path], most: int = PIECE) -> Iterator[Edges]:
    """Of each block, `in_order`: edges to the block before, then its own, at most about so many at once; each edge once."""
    for before, path in zip((None, *paths), paths):
        if before is not None:
            yield from _between(before, path, most)
        for columns in streamed.rows(path, Edges._fields, most):
            yield Edges(*columns)


def _between(before: Path, after: Path, most: int) -> Iterator[Edges]:
    """Edges between two blocks: a supervoxel lies in one column, so each is found in one place."""
    found, number = [], 0
    with np.load(before) as last, np.load(after) as first:
        for place in (name[5:] for name in last.files if name.startswith("last_")):
            found.append(region_graph.between(last[f"last_{place}"], first[f"first_{place}"], first[f"affinity_{place}"]))
            number += len(found[-1].faces)
            if number >= most:
                yield region_graph.merged(found)
                found, number = [], 0
    if number:
        yield region_graph.merged(found)
