"""Agglomerate: which supervoxels are one neurite, on tables only.

`learned`: mean affinity over the region graph of the whole volume, in one task. `classic`: overlaps of sections, for a
batch of sections; what crosses its borders is left to `join_segments`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ..core.params import Methods, Params, param
from ..core.provenance import Task
from ..core.stage import In, Out, OutFiles
from . import agglomeration, region_graph, section_linking, supervoxels
from .segment import HOW, load_tables

CURVE = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)  # thresholds at which a truth is compared
HELD = 1_000_000  # edges that are read once and held: 40 bytes each
Share = Annotated[float, Field(ge=0, le=1)]


class Learned(Params):
    """By mean affinity."""

    segmentation: Literal["learned"] = param("learned", HOW)
    agglomeration_threshold: tuple[Share, ...] = param(
        (0.2,), "Least mean affinity of what is joined; of several values the first makes the labels, all make a table"
    )
    min_segment: int = param(300, "Smaller segments go to the neighbour that they belong to most", unit="voxel", ge=0)


class Forest(Learned):
    """By mean affinity, of `--segmentation forest`."""

    segmentation: Literal["forest"] = param("forest", HOW)  # type: ignore[assignment]


class Linked(Params):
    """By overlap from section to section."""

    segmentation: Literal["classic"] = param("classic", HOW)
    min_overlap: int = param(200, "Least overlap of two supervoxels in adjacent sections", unit="px", ge=1)
    min_iou: float = param(0.35, "And least intersection over union; 0: the overlap alone decides", ge=0, le=1)
    min_seam_iou: float = param(0.5, "The same for the pixels along a tile seam", ge=0, le=1)


Parameters = Methods("segmentation", Learned, Forest, Linked)


def run(
    p: Learned | Linked,
    task: Task,
    *,
    overlaps: list[In],
    block: str,
    components: Out,
    border: Out,
    merge: OutFiles | None = None,
    forest: Out | None = None,
) -> None:
    if isinstance(p, Learned):
        found, edge = by_affinity(p, task, overlaps, merge, forest)
    else:
        found, edge = by_overlap(p, overlaps)
    section_linking.write_components(components, found)
    section_linking.save(border, edge)
    task.report(supervoxels=len(found.supervoxel), components=edge.number)


def by_affinity(
    p: Learned, task: Task, overlaps: list[In], merge: OutFiles | None, kept: Out | None
) -> tuple[section_linking.Components, section_linking.Border]:
    graph = Graph(overlaps)
    forest = graph.forest(min(p.agglomeration_threshold + CURVE))
    first, segments = None, {}
    for threshold in p.agglomeration_threshold:
        root = graph.cut(threshold, forest, p.min_segment)
        # A root is its component's smallest supervoxel, so the rank of the roots numbers the components.
        component = (np.cumsum(root == np.arange(len(root))) - 1)[root]
        found = section_linking.Components(graph.nodes.ids, component, graph.best_inside(root))
        first = first or found
        segments[f"{threshold:g}"] = int(component.max(initial=-1)) + 1
        if merge and len(p.agglomeration_threshold) > 1:
            merge.mkdir(exist_ok=True)
            section_linking.write_merge(merge / f"{threshold:g}.parquet", section_linking.number(found))
    assert first is not None
    if kept:
        with open(kept, "wb") as file:
            np.savez(file, **forest._asdict(), smallest=np.int64(p.min_segment))
    task.report(edges=graph.rows, joins=len(forest.score), segments_at=segments)
    none = np.zeros(0, np.uint64)
    edge = section_linking.Border(
        int(first.component.max(initial=-1)) + 1,
        none,
        none.astype(np.int64),
        none,
        none.astype(np.int64),
        none.astype(np.float32),
    )
    return first, edge


class Graph:
    """The region graph of a volume, from the files of its blocks; edges name their ends by their places among the nodes.

    Nodes are held; edges come block by block as often as they are needed, but for those of a small volume.
    Where each supervoxel lies in one section, segments are made in each section (`within`), then linked (`beyond`)."""

    def __init__(self, overlaps: list[In]):
        self.paths = supervoxels.in_order(overlaps)
        self.nodes = supervoxels.nodes_of(self.paths)
        self.rows = 0
        self.held: list[agglomeration.Piece] | None = None
        found: list[agglomeration.Piece] = []
        for piece in self._read():
            self.rows += len(piece.edges.faces)
            if self.rows <= HELD:
                found.append(piece)
        if self.rows <= HELD:
            self.held = found

    def _read(self) -> Iterator[agglomeration.Piece]:
        for edges, start, waiting in supervoxels.pieces(self.paths):
            places = np.searchsorted(self.nodes.ids, edges.pairs).astype(np.uint64)
            yield agglomeration.Piece(edges._replace(pairs=places), start, np.searchsorted(self.nodes.ids, waiting))

    def pieces(self) -> Iterator[agglomeration.Piece]:
        return iter(self.held) if self.held is not None else self._read()

    def within(self) -> Iterator[agglomeration.Piece]:
        for piece in self.pieces():
            inside = ~agglomeration.across(self.nodes.sections, piece.edges)
            yield piece._replace(edges=region_graph.chosen(piece.edges, inside))

    def beyond(self) -> Iterator[region_graph.Edges]:
        for edges, *_ in self.pieces():
            yield region_graph.chosen(edges, agglomeration.across(self.nodes.sections, edges))

    def forest(self, least: float) -> agglomeration.Forest:
        return agglomeration.join(len(self.nodes.ids), self.within(), least)

    def cut(self, threshold: float, forest: agglomeration.Forest, smallest: int) -> np.ndarray:
        """Smallest supervoxel of the segment of each, int64 (n,)."""
        root = agglomeration.cut(len(self.nodes.ids), forest, threshold)
        root = agglomeration.absorb(root, self.nodes.sizes, (piece.edges for piece in self.within()), smallest)
        return agglomeration.link(root, self.nodes.sections, self.beyond(), threshold) if self.nodes.sections.any() else root

    def best_inside(self, root: np.ndarray) -> np.ndarray:
        """Best mean affinity of each supervoxel with another one of its segment, 0 where it is alone: float32."""
        score = np.zeros(len(root), np.float32)
        for edges, *_ in self.pieces():
            u, v = edges.pairs.T
            inside = root[u] == root[v]
            for ends in (u[inside], v[inside]):
                np.maximum.at(score, ends, (edges.total[inside] / edges.faces[inside] / 255).astype(np.float32))
        return score


def curve_of(overlaps: list[In], kept: In) -> tuple[np.ndarray, Iterator[tuple[float, np.ndarray]]]:
    """Supervoxels, and at each threshold of CURVE the smallest one of the segment of each, from a forest that was kept."""
    graph = Graph(overlaps)
    with np.load(kept) as stored:
        forest = agglomeration.Forest(*(stored[name] for name in agglomeration.Forest._fields))
        smallest = int(stored["smallest"])
    return graph.nodes.ids, ((t, graph.cut(t, forest, smallest)) for t in CURVE)


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
