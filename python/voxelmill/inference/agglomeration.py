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

Pieces come in order, and two neighbours that stand for as many pieces become one, as long as what both have left has room
in memory. What is left then goes to disk, and is joined level by level of affinity (`_by_level`): above a level only those
can be joined that edges above it connect, so each such component is joined by itself.

What comes out is a forest of joins, which is cut at any threshold without doing anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.graphs import components
from . import pending, scratch
from .pending import Parts, Pending, summed, those, together
from .region_graph import Edges

BINS = 1 << 16  # levels of affinity that are told apart


class Divided(NamedTuple):
    """A region graph in pieces; each edge is in one, pairs are numbers of nodes 0..n-1."""

    pieces: Iterable[Edges]
    first: NDArray[np.int32]  # (n,): of each node the first piece that it has an edge in
    last: NDArray[np.int32]  # (n,): ... and the last
    begin: int = 0  # number of the first piece


class Forest(NamedTuple):
    """Joins, by node: the cluster known by it, its smallest node, was taken in by `parent` at a mean affinity of `score`."""

    parent: NDArray[np.int64]  # below the node; the node itself where it was never taken in
    score: NDArray[np.float64]  # 0..1, and -1 there

    def note(self, a: NDArray[np.int64], b: NDArray[np.int64], score: NDArray[np.float64]) -> None:
        scratch.put(self.parent, b, a)
        scratch.put(self.score, b, score)


class Group(NamedTuple):
    """What adjacent pieces have left."""

    level: int  # of about 2^level pieces
    first: int
    last: int
    edges: Pending


def alone(n: int) -> Forest:
    """A forest without joins."""
    forest = Forest(scratch.zeros(n, np.int64), scratch.zeros(n, np.float64))
    for at in scratch.blocks(n):
        forest.parent[at], forest.score[at] = scratch.numbers(at), -1
    return forest


def join(graph: Divided, least: float = 0.0) -> Forest:
    """Join nodes as long as two have a mean affinity of `least`: the same however the graph is divided.

    Held are a piece and, of what is pending, what there is room for."""
    n = len(graph.first)
    forest, groups, rows = alone(n), [], scratch.Rows(len(Pending._fields))
    apart: list[tuple[int, int]] = []
    for k, edges in enumerate(graph.pieces, graph.begin):
        u, v = edges.pairs.astype(np.int64).T
        groups.append(_settled(Group(0, k, k, Pending(u, v, edges.total, edges.faces, u * n + v)), graph, least, forest))
        while len(groups) > 1 and groups[-1].level >= groups[-2].level and _size(groups[-2:]) <= pending.ROOM:
            groups.append(_settled(_both(groups), graph, least, forest))
        while _size(groups) > pending.ROOM and len(groups) > 1:
            apart.append(rows.put(*groups.pop(0).edges))
        scratch.release()
    if not apart:
        while len(groups) > 1:
            groups.append(_settled(_both(groups), graph, least, forest))
        return forest
    apart += [rows.put(*group.edges) for group in groups]
    groups.clear()
    _by_level(Parts(n, _hopeful(n, rows, apart, least)), least, forest)
    return forest


def _size(groups: list[Group]) -> int:
    return sum(len(group.edges.u) for group in groups)


def _both(groups: list[Group]) -> Group:
    """The last two, taken from the list, as one."""
    after, before = groups.pop(), groups.pop()
    return Group(max(before.level, after.level) + 1, before.first, after.last, together((before.edges, after.edges)))


def _settled(group: Group, graph: Divided, least: float, forest: Forest) -> Group:
    """A group whose joins are made, as far as they do not wait for others."""
    if not len(group.edges.u):
        return group
    names, local = named(group.edges)
    waits = (scratch.take(graph.first, names) < group.first) | (scratch.take(graph.last, names) > group.last)
    joins, left = _joined(local, waits, Level(least))
    for a, b, score in joins:
        forest.note(names[a], names[b], score)
    good = left.mean >= least
    waits[left.u[good]] = waits[left.v[good]] = True
    left = those(left, waits[left.u] & waits[left.v])
    return group._replace(edges=left._replace(u=names[left.u], v=names[left.v]))


def named(edges: Pending) -> tuple[NDArray[np.int64], Pending]:
    """Ends in ascending order, and the edges with places among these as their ends."""
    low, high = int(edges.u.min()), int(edges.v.max())
    if high - low > 4 * len(edges.u):
        names, place = np.unique(np.concatenate([edges.u, edges.v]), return_inverse=True)
        u, v = np.split(place, 2)
        return names, edges._replace(u=u, v=v)
    there = np.zeros(high + 1 - low, bool)
    there[edges.u - low] = there[edges.v - low] = True
    names, place = np.flatnonzero(there) + low, np.cumsum(there) - 1
    return names, edges._replace(u=place[edges.u - low], v=place[edges.v - low])


Joins = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]  # a, b and score, as in `Forest`


def _joined(edges: Pending, waits: NDArray[np.bool_], level: Level) -> tuple[list[Joins], Pending]:
    """All joins of a level that can be made now, and the edges that are left; nodes are 0..len(waits)-1."""
    n, made = len(waits), []
    while len(edges.u):
        mean = edges.mean
        joined = reciprocal(n, edges, mean) & level.has(edges, mean) & ~waits[edges.u] & ~waits[edges.v]
        if not joined.any():
            break
        a, b = edges.u[joined], edges.v[joined]
        made.append((a, b, mean[joined]))
        into = np.arange(n)
        into[b] = a
        edges = contracted(edges, joined, into)
    return made, edges


def contracted(edges: Pending, joined: NDArray[np.bool_], into: NDArray[np.int64]) -> Pending:
    """The edges left when some were joined; into: what each node (n,) became."""
    touched = np.zeros(len(into), bool)
    touched[edges.u[joined]] = touched[edges.v[joined]] = True
    edges = those(edges, ~joined)
    near = touched[edges.u] | touched[edges.v]
    part = those(edges, near)
    part = summed(len(into), part._replace(u=into[part.u], v=into[part.v]))
    return together((those(edges, ~near), part))


def reciprocal(n: int, edges: Pending, mean: NDArray) -> NDArray[np.bool_]:
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


def _hopeful(n: int, rows: scratch.Rows, places: list[tuple[int, int]], least: float) -> Iterator[Pending]:
    """Of what groups have left, the edges between clusters that have one of `least` or more."""
    hopeful = scratch.zeros(n, bool)
    for place in places:
        edges = Pending(*rows.get(place))
        good = edges.mean >= least
        for end in (edges.u[good], edges.v[good]):
            scratch.put(hopeful, end, True)
        scratch.release()
    for place in places:
        edges = Pending(*rows.get(place))
        yield those(edges, scratch.take(hopeful, edges.u) & scratch.take(hopeful, edges.v))
        scratch.release()


def _by_level(edges: Parts, least: float, forest: Forest) -> None:
    """Join what waits for nothing any more, from the highest affinity to the lowest.

     .9    .6    .9      above .8: two components, each is joined by itself, with all edges inside it;
    o===o-----o===o      what leads from one to another has no say in it, for no sum of edges is above its greatest

    A level that leaves too large a component is raised. No two edges are equal: at the highest level there is one edge."""
    root, room, most = scratch.zeros(edges.n, np.int64), max(1, pending.ROOM // 2), pending.ROOM
    while (level := _level(edges, least, most)) is not None:
        pending.connect(edges, lambda part: level.has(part, part.mean), root)
        batch, number, largest = _batches(edges, root, room)
        if largest > room:
            most = max(1, min(most, len(edges)) // 4)
        else:
            edges = Parts(edges.n, _above(edges, level, root, batch, number, forest))
            most *= 2


class Level(NamedTuple):
    """Edges from the best on, in the order in which they are joined: from the highest mean to the lowest, of equal ones
    from the least key on."""

    mean: float
    key: int = np.iinfo(np.int64).max  # the last one

    def has(self, edges: Pending, mean: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (mean > self.mean) | ((mean == self.mean) & (edges.key <= self.key))


def _level(edges: Parts, least: float, most: int) -> Level | None:
    """The least level that no more than so many edges have, or nothing where none has `least`."""
    counts = np.zeros(BINS + 1, np.int64)
    for part in edges:
        mean = part.mean
        counts += np.bincount((mean[mean >= least] * BINS).astype(np.int64), minlength=BINS + 1)
    if not counts.any():
        return None
    above = np.cumsum(counts[::-1])[::-1]
    few = np.flatnonzero((above <= most) & (above > 0))
    if len(few):
        return Level(max(least, float(few[0] / BINS)))
    return _best(edges, max(least, float(np.flatnonzero(counts)[-1] / BINS)), min(most, pending.ROOM))


def _best(edges: Parts, least: float, most: int) -> Level:
    """The level that just so many edges have, of those of `least` or more."""
    best, keys = np.zeros(0), np.zeros(0, np.int64)
    for part in edges:
        mean = part.mean
        best, keys = np.concatenate([best, mean[mean >= least]]), np.concatenate([keys, part.key[mean >= least]])
        order = np.lexsort((keys, -best))[:most]
        best, keys = best[order], keys[order]
    return Level(float(best[-1]), int(keys[-1]))


def _batches(edges: Parts, root: NDArray[np.int64], room: int) -> tuple[NDArray[np.int64], int, int]:
    """By its root, the batch that a component is joined in, of about so many edges; number of batches; most edges inside
    one component."""
    batch, count, largest = scratch.zeros(edges.n, np.int64), 0, 0
    for part in edges:
        here = scratch.take(root, part.u)
        roots, inside = np.unique(here[here == scratch.take(root, part.v)], return_counts=True)
        scratch.gather(np.add, batch, roots, inside)
    for at in scratch.blocks(edges.n):
        largest = max(largest, int(batch[at].max(initial=0)))
        until = np.cumsum(batch[at]) + count
        batch[at], count = until // room, int(until[-1]) if len(until) else count
    return batch, count // room + 1, largest


def _above(
    edges: Parts, level: Level, root: NDArray[np.int64], batch: NDArray[np.int64], number: int, forest: Forest
) -> Iterator[Pending]:
    """What is left when components are joined as far as a level."""
    inner = scratch.Bins(len(Pending._fields), number)
    for part in edges:
        here = scratch.take(root, part.u)
        inside = here == scratch.take(root, part.v)
        inner.put(those(part, inside), scratch.take(batch, here[inside]))
    into = scratch.zeros(edges.n, np.int64)  # what a cluster became, from 1
    for found in inner:
        yield _component(together(map(Pending._make, found)), level, into, forest)
        scratch.release()
    for part in edges:
        rest = those(part, scratch.take(root, part.u) != scratch.take(root, part.v))
        u, v = (np.where(now > 0, now - 1, end) for end in (rest.u, rest.v) for now in [scratch.take(into, end)])
        yield rest._replace(u=u, v=v)


def _component(edges: Pending, level: Level, into: NDArray[np.int64], forest: Forest) -> Pending:
    """Join components as far as a level: the edges left."""
    names, local = named(edges)
    joins, left = _joined(local, np.zeros(len(names), bool), level)
    for a, b, score in joins:
        forest.note(names[a], names[b], score)
    ends = [np.zeros((2, 0), np.int64), *(np.stack([a, b]) for a, b, _ in joins)]
    scratch.put(into, names, names[components(len(names), *np.concatenate(ends, 1))] + 1)
    return left._replace(u=names[left.u], v=names[left.v])


def cut(forest: Forest, threshold: float) -> NDArray[np.int64]:
    """Smallest node of the cluster that each node is in, where joins below the threshold are not made."""
    n = len(forest.parent)
    root = scratch.zeros(n, np.int64)
    for at in scratch.blocks(n):  # a cluster is taken in by one whose smallest node is smaller: no later block matters
        root[at] = np.where(forest.score[at] >= threshold, forest.parent[at], scratch.numbers(at))
        while True:
            jumped = scratch.take(root, root[at])
            if np.array_equal(jumped, root[at]):
                break
            root[at] = jumped
    return root
