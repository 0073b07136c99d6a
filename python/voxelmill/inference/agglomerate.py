"""Agglomerate: which supervoxels are one neurite, on tables only.

`learned`: mean affinity over the region graph of the whole volume, in one task. `classic`: overlaps of sections, for a
batch of sections; what crosses its borders is left to `join_segments`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ..core.errors import DataError
from ..core.params import Methods, Params, param
from ..core.provenance import Task
from ..core.stage import In, Out, OutFiles
from . import agglomeration, enclosed, pending, region_graph, scratch, section_linking, small_segments, streamed, supervoxels
from .region_graph import Edges
from .segment import HOW, load_tables

CURVE = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)  # thresholds at which a truth is compared
VOXEL = 1000.0  # nm³, where the size of voxels is not known
Share = Annotated[float, Field(ge=0, le=1)]


class ByAffinity(Params):
    """By mean affinity."""

    agglomeration_threshold: tuple[Share, ...] = param(
        (0.2,), "Least mean affinity of what is joined; of several values the first makes the labels, all make a table"
    )
    min_segment: int = param(300, "Smaller segments go to the neighbour that they belong to most", unit="voxel", ge=0)
    join_enclosed: bool = param(
        True, "Segments that together touch but one other, at least twice as large, are part of it, as mitochondria are"
    )


class Learned(ByAffinity):
    """By mean affinity, of `--segmentation learned`."""

    segmentation: Literal["learned"] = param("learned", HOW)
    large_segment: float = param(
        0.02, "Two segments of this size are joined from --large_margin above the threshold on", unit="um3", ge=0
    )
    large_margin: Share = param(
        0.1, "How much more affinity that takes: where neurites run together the harm goes with their size"
    )


class Forest(ByAffinity):
    """By mean affinity, of `--segmentation forest`."""

    segmentation: Literal["forest"] = param("forest", HOW)


class Linked(Params):
    """By overlap from section to section."""

    segmentation: Literal["classic"] = param("classic", HOW)
    min_overlap: int = param(200, "Least overlap of two supervoxels in adjacent sections", unit="px", ge=1)
    min_iou: float = param(0.35, "And least intersection over union; 0: the overlap alone decides", ge=0, le=1)
    min_seam_iou: float = param(0.5, "The same for the pixels along a tile seam", ge=0, le=1)


Parameters = Methods("segmentation", Learned, Forest, Linked)


def run(
    p: ByAffinity | Linked,
    task: Task,
    *,
    overlaps: list[In],
    block: str,
    components: Out,
    border: Out,
    merge: OutFiles | None = None,
    forest: Out | None = None,
) -> None:
    if isinstance(p, ByAffinity):
        learned(p, task, overlaps, components, border, merge, forest)
        return
    found, edge = by_overlap(p, overlaps)
    section_linking.write_components(components, [found])
    section_linking.save(border, edge)
    task.report(supervoxels=len(found.supervoxel), components=edge.number)


def learned(
    p: ByAffinity, task: Task, overlaps: list[In], components: Out, border: Out, merge: OutFiles | None, kept: Out | None
) -> None:
    """By affinity, block by block of tables on disk: memory does not go with the volume."""
    graph = Graph(overlaps)
    forest = graph.forest(min(p.agglomeration_threshold + CURVE))
    segments: list[int] = []
    how = how_of(p)
    for k, threshold in enumerate(p.agglomeration_threshold):
        root = graph.cut(threshold, forest, how)
        score = graph.best_inside(root)
        segments.append(sum(int((root[at] == scratch.numbers(at)).sum()) for at in scratch.blocks(len(root))))
        if k == 0:
            section_linking.write_components(components, graph.components(root, score))
        if merge and len(p.agglomeration_threshold) > 1:
            merge.mkdir(exist_ok=True)
            numbered = (section_linking.number(found) for found in graph.components(root, score))
            section_linking.write_merge_parts(merge / f"{threshold:g}.parquet", numbered)
    if kept:
        keep(kept, forest, how)
    joins = sum(int((forest.score[at] >= 0).sum()) for at in scratch.blocks(len(forest.score)))
    at = {f"{t:g}": number for t, number in zip(p.agglomeration_threshold, segments)}
    task.report(edges=graph.rows, joins=joins, segments_at=at)
    none = np.zeros(0, np.uint64)
    places = none.astype(np.int64)
    section_linking.save(border, section_linking.Border(segments[0], none, places, none, places, none.astype(np.float32)))
    task.report(supervoxels=graph.number, components=segments[0])


class How(NamedTuple):
    """By what segments are made of joins, but for the threshold."""

    large: float  # um³ of each of two segments, for whose join ...
    margin: float  # ... the threshold is so much higher
    smallest: int  # voxels of a segment
    enclosed: bool  # whether what lies inside a segment is part of it


def how_of(p: ByAffinity) -> How:
    large = (p.large_segment, p.large_margin) if isinstance(p, Learned) else (0.0, 0.0)
    return How(*large, p.min_segment, p.join_enclosed)


class Graph:
    """The region graph of a volume, from the files of its blocks; edges name their ends by their places among the nodes.

    Nodes and edges are on disk, edges in pieces. Where each supervoxel lies in one section, segments are made in each
    section (`within`), then linked (`beyond`)."""

    def __init__(self, overlaps: list[In]):
        paths = supervoxels.in_order(overlaps)
        self.nodes = supervoxels.nodes_of(paths)
        with np.load(paths[0]) as stored:
            self.voxel = float(stored["voxel"]) or VOXEL
        self.number = len(self.nodes.ids)
        if self.number > pending.MOST_NODES:
            raise DataError(
                f"agglomerate: {self.number:,} supervoxels; expected at most {pending.MOST_NODES:,}, whose pairs "
                "have numbers of 63 bits; segment a part by --cutout, or all by --segmentation classic"
            )
        self.stored, self.places = scratch.Rows(4), list[tuple[int, int]]()
        self.first, self.last = (scratch.zeros(self.number, np.int32) for _ in range(2))  # piece of each node, from 1
        for edges in supervoxels.pieces(paths):
            ends = self._placed(edges.pairs)
            self.places.append(self.stored.put(*ends.T, edges.total, edges.faces))
            ends = ends.ravel()
            scratch.put(self.last, ends, len(self.places))
            scratch.put(self.first, ends[scratch.take(self.first, ends) == 0], len(self.places))
            scratch.release()
        self.rows = sum(number for _, number in self.places)

    def _placed(self, ids: np.ndarray) -> np.ndarray:
        """Places of supervoxels among all, which lie close together."""
        if not len(ids):
            return ids.astype(np.int64)
        low = int(np.searchsorted(self.nodes.ids, ids.min()))
        high = int(np.searchsorted(self.nodes.ids, ids.max(), "right"))
        return np.searchsorted(self.nodes.ids[low:high], ids) + low

    def pieces(self) -> Iterator[Edges]:
        for place in self.places:
            u, v, total, faces = self.stored.get(place)
            yield Edges(np.stack([u, v], 1), total, faces)
            scratch.release()

    def within(self) -> Iterator[Edges]:
        for edges in self.pieces():
            yield region_graph.chosen(edges, ~small_segments.across(self.nodes.sections, edges))

    def beyond(self) -> Iterator[Edges]:
        for edges in self.pieces():
            yield region_graph.chosen(edges, small_segments.across(self.nodes.sections, edges))

    def forest(self, least: float) -> agglomeration.Forest:
        return agglomeration.join(agglomeration.Divided(self.within(), self.first, self.last, 1), least)

    def cut(self, threshold: float, forest: agglomeration.Forest, how: How) -> np.ndarray:
        """Smallest supervoxel of the segment of each, int64 (n,)."""
        root = agglomeration.cut(forest, threshold + how.margin)
        between = pending.Parts(self.number, small_segments.renamed(root, self.within()))
        if how.margin:
            root = small_segments.join_smaller(root, self.nodes.sizes, edges_of(between), self.voxels(how.large), threshold)
        root = small_segments.absorb(root, self.nodes.sizes, edges_of(between), how.smallest)
        if how.enclosed:
            root = enclosed.enclose(root, self.nodes.sizes, self.nodes.ends, edges_of(between))
        flat = any(self.nodes.sections[at].any() for at in scratch.blocks(self.number))
        return small_segments.link(root, self.nodes.sections, self.beyond(), threshold) if flat else root

    def voxels(self, um3: float) -> int:
        return round(um3 * 1e9 / self.voxel)

    def best_inside(self, root: np.ndarray) -> np.ndarray:
        """Best mean affinity of each supervoxel with another one of its segment, 0 where it is alone: float32."""
        score = scratch.zeros(len(root), np.float32)
        for edges in self.pieces():
            u, v = edges.pairs.T
            inside = scratch.take(root, u) == scratch.take(root, v)
            mean = (edges.total[inside] / edges.faces[inside] / 255).astype(np.float32)
            for ends in (u[inside], v[inside]):
                scratch.gather(np.maximum, score, ends, mean)
        return score

    def components(self, root: np.ndarray, score: np.ndarray) -> Iterator[section_linking.Components]:
        """Supervoxels with the components that they are in, block by block."""
        rank, count = scratch.zeros(self.number, np.int64), 0
        for at in scratch.blocks(self.number):  # a root is its component's smallest supervoxel: their rank is the number
            own = root[at] == scratch.numbers(at)
            rank[at] = np.cumsum(own) + count - 1
            count += int(own.sum())
            yield section_linking.Components(self.nodes.ids[at], scratch.take(rank, root[at]), score[at])


def edges_of(between: pending.Parts) -> Iterator[Edges]:
    for one in between:
        yield Edges(np.stack([one.u, one.v], 1).astype(np.uint64), one.total, one.faces)


def curve_of(overlaps: list[In], kept: In) -> tuple[np.ndarray, Iterator[tuple[float, np.ndarray]]]:
    """Supervoxels, and at each threshold of CURVE the smallest one of the segment of each, from a forest that was kept."""
    graph = Graph(overlaps)
    forest = agglomeration.alone(graph.number)
    for a, b, score in streamed.rows(kept, ("a", "b", "score"), scratch.BLOCK):
        forest.note(a, b, score)
        scratch.release()
    with np.load(kept) as stored:
        how = How(*(stored[name].item() for name in How._fields))
    return graph.nodes.ids, ((t, graph.cut(t, forest, how)) for t in CURVE)


def keep(path: Out, forest: agglomeration.Forest, how: How) -> None:
    """Write joins: cluster `a` took in cluster `b` (ascending) at a mean affinity of `score`."""
    count = sum(int((forest.score[at] >= 0).sum()) for at in scratch.blocks(len(forest.score)))

    def column(name: str) -> Iterator[np.ndarray]:
        for at in scratch.blocks(len(forest.score)):
            made = forest.score[at] >= 0
            yield {"a": forest.parent[at], "b": scratch.numbers(at), "score": forest.score[at]}[name][made]

    with zipfile.ZipFile(path, "w") as parts:
        for name in ("a", "b", "score"):
            streamed.write(parts, name, count, column(name))
        for name, value in how._asdict().items():
            streamed.write(parts, name, 1, [np.array(value)])


def by_overlap(p: Linked, overlaps: list[In]) -> tuple[section_linking.Components, section_linking.Border]:
    ids, sections, seams, first_ends = zip(*(load_tables(path) for path in overlaps))
    return section_linking.link(
        np.concatenate(ids),
        section_linking.concatenate(sections),
        section_linking.concatenate(seams),
        first_ends=min(first_ends),
        min_overlap=p.min_overlap,
        min_iou=p.min_iou,
        min_seam_iou=p.min_seam_iou,
    )
