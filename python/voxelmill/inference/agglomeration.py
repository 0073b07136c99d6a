"""Agglomeration by mean affinity: the pair that belongs together most is joined first, and so on.

Of a cluster's edges the best one is a fact that no merge elsewhere can change for the better: a joined cluster's affinity
with a third is the mean over the faces of both, so never above the larger of the two. Pairs that are each other's best
can therefore be joined at once, in any order, and the result is that of the queue (reciprocal nearest neighbours; F. Murtagh,
"A survey of recent advances in hierarchical clustering algorithms", The Computer Journal 1983). So the graph may come in
pieces: what has edges in a later piece waits, and so does what would rather join with what waits (R. Lu, A. Zlateski and
H. S. Seung, "Large-scale image segmentation based on distributed clustering algorithms", arXiv:2106.10795).

    piece 0              piece 1
    o--o  o--o--o--(o)---|-(o)--o--o   (o) has edges in another piece: neither it nor those whose best leads to it
      |__o final         |             are joined; all others are, and clusters with no edge good enough are forgotten

Pieces come in order, and two neighbours that stand for as many pieces become one: of each edge log2(pieces) times is seen
what is still pending: up to a quarter of all where pieces are thin.

What comes out is a forest of joins, which is cut at any threshold without doing anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.graphs import components
from .region_graph import Edges, added, chosen, merged


class Piece(NamedTuple):
    """A part of a region graph; each edge is in one piece, those between two sections all in the same one."""

    edges: Edges  # pairs are numbers of nodes
    start: int  # nodes before this one have edges in earlier pieces
    waiting: NDArray[np.int64]  # nodes that have edges in later pieces


class Forest(NamedTuple):
    """Joins: cluster `a`, known by its smallest node, took in cluster `b` (ascending) at a mean affinity of `score`, 0..1."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    score: NDArray[np.float64]


class Pending(NamedTuple):
    """Edges between clusters that may yet be joined, in columns."""

    u: NDArray[np.int64]
    v: NDArray[np.int64]  # above u
    total: NDArray[np.int64]
    faces: NDArray[np.int64]
    key: NDArray[np.int64]  # least number of the edges between nodes that it consists of: of equal means it decides

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.total / self.faces / 255


class Group(NamedTuple):
    """What adjacent pieces have left."""

    level: int  # of 2^level pieces
    edges: Pending
    start: int
    waiting: NDArray[np.int64]


def join(n: int, pieces: Iterable[Piece], least: float = 0.0) -> Forest:
    """Join nodes 0..n-1 as long as two have a mean affinity of `least`: the same however the graph is divided.

    Held are a piece and what is pending."""
    made: list[Forest] = [Forest(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    groups: list[Group] = []
    for edges, start, waiting in pieces:
        u, v = edges.pairs.astype(np.int64).T
        groups.append(_settled(Group(0, Pending(u, v, edges.total, edges.faces, u * n + v), start, waiting), least, made))
        while len(groups) > 1 and groups[-1].level == groups[-2].level:
            groups.append(_settled(_both(groups), least, made))
    while len(groups) > 1:
        groups.append(_settled(_both(groups), least, made))
    forest = Forest(*map(np.concatenate, zip(*made, strict=True)))
    order = np.argsort(forest.b)
    return Forest(forest.a[order], forest.b[order], forest.score[order])


def _both(groups: list[Group]) -> Group:
    """The last two, taken from the list, as one."""
    after, before = groups.pop(), groups.pop()
    edges = Pending(*map(np.concatenate, zip(before.edges, after.edges, strict=True)))
    return Group(before.level + 1, edges, before.start, after.waiting)


def _settled(group: Group, least: float, made: list[Forest]) -> Group:
    """A group whose joins are made, as far as they do not wait for others."""
    u, v = group.edges.u, group.edges.v
    if not len(u):
        return group
    low = int(u.min())
    there = np.zeros(int(v.max()) + 1 - low, bool)
    there[u - low] = there[v - low] = True
    names, place = np.flatnonzero(there) + low, np.cumsum(there) - 1
    local = group.edges._replace(u=place[u - low], v=place[v - low])
    joins, left = _exhausted(local, (names < group.start) | np.isin(names, group.waiting), least)
    made += [Forest(names[a], names[b], score) for a, b, score in joins]
    return group._replace(edges=left._replace(u=names[left.u], v=names[left.v]))


def _exhausted(edges: Pending, waits: NDArray[np.bool_], least: float) -> tuple[list[Forest], Pending]:
    """All joins that can be made now, and the edges of what is not final; nodes are 0..len(waits)-1."""
    n, made = len(waits), []
    while len(edges.u):
        mean = edges.mean
        joined = _reciprocal(n, edges, mean) & (mean >= least) & ~waits[edges.u] & ~waits[edges.v]
        if not joined.any():
            break
        a, b = edges.u[joined], edges.v[joined]
        made.append(Forest(a, b, mean[joined]))
        into, touched = np.arange(n), np.zeros(n, bool)
        into[b] = a
        touched[a] = touched[b] = True
        edges = _those(edges, ~joined)
        near = touched[edges.u] | touched[edges.v]
        part = _those(edges, near)
        part = _summed(n, part._replace(u=into[part.u], v=into[part.v]))
        edges = Pending(*map(np.concatenate, zip(_those(edges, ~near), part, strict=True)))
    good = edges.mean >= least
    waits = waits.copy()
    waits[edges.u[good]] = waits[edges.v[good]] = True
    return made, _those(edges, waits[edges.u] & waits[edges.v])


def _those(edges: Pending, chosen: NDArray[np.bool_]) -> Pending:
    return Pending(*(column[chosen] for column in edges))


def _summed(n: int, edges: Pending) -> Pending:
    """One edge for each pair of clusters."""
    pair = np.minimum(edges.u, edges.v) * n + np.maximum(edges.u, edges.v)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    total, faces = (np.add.reduceat(x[order], starts) if len(starts) else x for x in (edges.total, edges.faces))
    key = np.minimum.reduceat(edges.key[order], starts) if len(starts) else edges.key
    return Pending(pair[starts] // n, pair[starts] % n, total, faces, key)


def cut(n: int, forest: Forest, threshold: float) -> NDArray[np.int64]:
    """Smallest node of the cluster that each of n nodes is in, where joins below the threshold are not made."""
    made = forest.score >= threshold
    root = np.arange(n)
    root[forest.b[made]] = forest.a[made]
    while True:  # pointer jumping: a cluster is taken in once, by one whose smallest node is smaller
        jumped = root[root]
        if np.array_equal(jumped, root):
            return root
        root = jumped


def absorb(root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], smallest: int) -> NDArray[np.int64]:
    """Give clusters of fewer than `smallest` voxels to the neighbour that they belong to most, whatever the threshold.

    root: smallest node of each node's cluster; sizes: voxels of each node. Held are the edges of small clusters. Returns
    new roots. Those that touch nothing stay."""
    n = len(root)
    small = np.bincount(root, sizes, n) < smallest
    between = merged([chosen(one, small[one.pairs[:, 0]] | small[one.pairs[:, 1]]) for one in _renamed(root, pieces)])
    while True:
        size = np.bincount(root, sizes, n)
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
        up = components(n, ends[first], others[first])
        root = up[root]
        between = added(up[u], up[v], between.total, between.faces)


def _renamed(root: NDArray[np.int64], pieces: Iterable[Edges]) -> Iterator[Edges]:
    """Edges between clusters, of those between nodes."""
    for edges in pieces:
        yield added(root[edges.pairs[:, 0]], root[edges.pairs[:, 1]], edges.total, edges.faces)


def across(sections: NDArray, edges: Edges) -> NDArray[np.bool_]:
    """Edges between nodes of different sections (n,)."""
    return sections[edges.pairs[:, 0]] != sections[edges.pairs[:, 1]]


def link(root: NDArray[np.int64], sections: NDArray, pieces: Iterable[Edges], least: float) -> NDArray[np.int64]:
    """Join clusters, each in one section, with what is each other's best in the sections beside: new roots.

    pieces: edges across sections. The best shares most affinity over all faces; its mean is `least` or more. From thick
    section to thick section a single wrong join would go on through the volume; of a branching neurite one branch is left
    alone."""
    links = [np.zeros((0, 2), np.int64)]
    for between in _renamed(root, pieces):
        a, b = between.pairs.astype(np.int64).T
        best = _foremost(a, sections[b], between.total) & _foremost(b, sections[a], between.total)
        best &= between.total >= least * 255 * between.faces
        links.append(np.stack([a[best], b[best]], 1))
    return components(len(root), *np.concatenate(links).T)[root]


def _foremost(node: NDArray, section: NDArray, total: NDArray) -> NDArray[np.bool_]:
    """Edges (n,) that are the greatest of those which lead from their node to that section; of equal ones the first."""
    order = np.lexsort((-total, section, node))
    first = np.ones(len(order), bool)
    first[1:] = (node[order][1:] != node[order][:-1]) | (section[order][1:] != section[order][:-1])
    best = np.zeros(len(order), bool)
    best[order[first]] = True
    return best


def _reciprocal(n: int, edges: Pending, mean: NDArray) -> NDArray[np.bool_]:
    """Edges that are the best one of both their ends; of equal means that with the least key.

    Two edges that become one have a mean between theirs and the lesser key: never better than both, so that the order in
    which pairs are joined does not matter."""
    u, v, key = edges.u, edges.v, edges.key
    best = np.full(n, -1.0)
    np.maximum.at(best, u, mean)
    np.maximum.at(best, v, mean)
    top_u, top_v = mean == best[u], mean == best[v]
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, u[top_u], key[top_u])
    np.minimum.at(first, v[top_v], key[top_v])
    return (first[u] == key) & (first[v] == key)
