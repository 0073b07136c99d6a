"""Agglomeration by mean affinity: the pair that belongs together most is joined first, and so on.

Of a cluster's edges the best one is a fact that no merge elsewhere can change for the better: a joined cluster's affinity
with a third is the mean over the faces of both, so never above the larger of the two. Pairs that are each other's best
can therefore all be joined at once, and the result is that of the queue (reciprocal nearest neighbours; F. Murtagh,
"A survey of recent advances in hierarchical clustering algorithms", The Computer Journal 1983). What comes out is a
forest of joins with falling scores, which is cut at any threshold without doing anything again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.graphs import components
from .region_graph import Edges, added


class Forest(NamedTuple):
    """Joins: cluster `a`, known by its smallest node, took in cluster `b` at a mean affinity of `score`, 0..1."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    score: NDArray[np.float64]


def join(n: int, edges: Edges, least: float = 0.0) -> Forest:
    """Join nodes 0..n-1 as long as two have a mean affinity of `least`; `edges.pairs` are numbers of nodes."""
    u, v = edges.pairs.astype(np.int64).T
    total, faces = edges.total, edges.faces
    made: list[tuple[NDArray, NDArray, NDArray]] = []
    while len(u):
        mean = total / 255 / faces
        joined = _reciprocal(n, u, v, mean, least)
        if not joined.any():
            break
        made.append((u[joined], v[joined], mean[joined]))
        into = np.arange(n)
        into[v[joined]] = u[joined]
        touched = np.zeros(n, bool)
        touched[u[joined]] = touched[v[joined]] = True
        u, v, total, faces = (x[~joined] for x in (u, v, total, faces))
        near = touched[u] | touched[v]
        part = added(into[u[near]], into[v[near]], total[near], faces[near])
        renamed = (*part.pairs.astype(np.int64).T, part.total, part.faces)
        u, v, total, faces = (np.concatenate([x[~near], y]) for x, y in zip((u, v, total, faces), renamed, strict=True))
    if not made:
        return Forest(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Forest(*(np.concatenate(column) for column in zip(*made, strict=True)))


def cut(n: int, forest: Forest, threshold: float) -> NDArray[np.int64]:
    """Smallest node of the cluster that each of n nodes is in, where joins below the threshold are not made."""
    made = forest.score >= threshold
    return components(n, forest.a[made], forest.b[made])


def absorb(root: NDArray[np.int64], sizes: NDArray[np.int64], edges: Edges, smallest: int) -> NDArray[np.int64]:
    """Give clusters of fewer than `smallest` voxels to the neighbour that they belong to most, whatever the threshold.

    root: smallest node of each node's cluster; sizes: voxels of each node. Returns new roots. Those that touch nothing
    stay."""
    n = len(root)
    while True:
        size = np.bincount(root, sizes, n)
        between = added(root[edges.pairs[:, 0]], root[edges.pairs[:, 1]], edges.total, edges.faces)
        u, v = between.pairs.astype(np.int64).T
        ends, others = np.concatenate([u, v]), np.concatenate([v, u])
        mean = np.tile(between.total / between.faces, 2)
        small = size[ends] < smallest
        ends, others, mean = ends[small], others[small], mean[small]
        if not len(ends):
            return root
        order = np.lexsort((others, -mean, ends))
        ends, others = ends[order], others[order]
        first = np.flatnonzero(np.concatenate(([True], ends[1:] != ends[:-1])))
        root = components(n, ends[first], others[first])[root]


def across(sections: NDArray, edges: Edges) -> NDArray[np.bool_]:
    """Edges between nodes of different sections (n,)."""
    return sections[edges.pairs[:, 0]] != sections[edges.pairs[:, 1]]


def link(root: NDArray[np.int64], sections: NDArray, edges: Edges, least: float) -> NDArray[np.int64]:
    """Join clusters, each in one section, with what is each other's best in the sections beside: new roots.

    edges: across sections. The best shares most affinity over all faces; its mean is `least` or more. From thick section to
    thick section a single wrong join would go on through the volume; of a branching neurite one branch is left alone."""
    between = added(root[edges.pairs[:, 0]], root[edges.pairs[:, 1]], edges.total, edges.faces)
    a, b = between.pairs.astype(np.int64).T
    best = _foremost(a, sections[b], between.total) & _foremost(b, sections[a], between.total)
    best &= between.total >= least * 255 * between.faces
    return components(len(root), a[best], b[best])[root]


def _foremost(node: NDArray, section: NDArray, total: NDArray) -> NDArray[np.bool_]:
    """Edges (n,) that are the greatest of those which lead from their node to that section; of equal ones the first."""
    order = np.lexsort((-total, section, node))
    first = np.ones(len(order), bool)
    first[1:] = (node[order][1:] != node[order][:-1]) | (section[order][1:] != section[order][:-1])
    best = np.zeros(len(order), bool)
    best[order[first]] = True
    return best


def _reciprocal(n: int, u: NDArray, v: NDArray, mean: NDArray, least: float) -> NDArray[np.bool_]:
    """Edges that are the best one of both their ends; of equal ones that with the smaller nodes."""
    best = np.full(n, -1.0)
    np.maximum.at(best, u, mean)
    np.maximum.at(best, v, mean)
    top_u, top_v = mean == best[u], mean == best[v]
    key = u * n + v
    first = np.full(n, n * n, np.int64)
    np.minimum.at(first, u[top_u], key[top_u])
    np.minimum.at(first, v[top_v], key[top_v])
    return (first[u] == key) & (first[v] == key) & (mean >= least)
