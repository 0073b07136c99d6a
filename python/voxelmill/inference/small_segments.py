"""Segments that are too small go to a neighbour; those of thick sections are linked with the sections beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from . import scratch
from .pending import Parts, Pending, summed, those
from .region_graph import Edges, added
from .scratch import take


def absorb(root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], smallest: int) -> NDArray[np.int64]:
    """Give clusters of fewer than `smallest` voxels to the neighbour that they belong to most, whatever the threshold.

    root: smallest node of each node's cluster, changed in place; sizes: voxels of each node. Returns root. Those that
    touch nothing stay."""
    return _merged(root, sizes, pieces, smallest, 0.0, False)


def join_smaller(
    root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], large: int, least: float
) -> NDArray[np.int64]:
    """Join clusters that are each other's best, one of them of fewer than `large` voxels, as long as two of these have a
    mean affinity of `least`.

    root: smallest node of each node's cluster, changed in place; sizes: voxels of each node. Returns root. Looked at are
    those that have an edge of such a mean: others never will, for no sum of edges is above its greatest."""
    n, m = len(root), 0
    size, hopeful, rank = _summed(root, sizes), scratch.zeros(n, np.bool_), scratch.zeros(n, np.int64)
    between = Parts(n, _of_small(renamed(root, pieces), size, large))
    for one in between:
        for end in (one.u, one.v):
            scratch.put(hopeful, end[one.mean >= least], True)
    for at in scratch.blocks(n):
        rank[at] = np.cumsum(hopeful[at]) + m - 1
        m += int(hopeful[at].sum())
    name, into, of = (scratch.zeros(m, np.int64) for _ in range(3))
    for at in scratch.blocks(n):
        name[rank[at][hopeful[at]]], of[rank[at][hopeful[at]]] = scratch.numbers(at)[hopeful[at]], size[at][hopeful[at]]
    for at in scratch.blocks(m):
        into[at] = scratch.numbers(at)

    def theirs() -> Iterator[Edges]:
        for one in between:
            one = those(one, take(hopeful, one.u) & take(hopeful, one.v))
            yield Edges(np.stack([take(rank, one.u), take(rank, one.v)], 1), one.total, one.faces)

    _merged(into, of, theirs(), large, least, True)
    for at in scratch.blocks(n):
        few = take(hopeful, root[at])
        root[at][few] = take(name, take(into, take(rank, root[at][few])))
    return root


def _summed(root: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Voxels of each cluster."""
    size = scratch.zeros(len(root), np.int64)
    for at in scratch.blocks(len(root)):
        scratch.gather(np.add, size, root[at], sizes[at])
    return size


def _merged(
    root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], smallest: int, least: float, mutual: bool
) -> NDArray[np.int64]:
    n, size = len(root), _summed(root, sizes)
    between, moved = Parts(n, _of_small(renamed(root, pieces), size, smallest)), True
    while len(between) and moved:
        up, moved = ends_of(_picked(between, size, smallest, least, mutual)), False
        for at in scratch.blocks(n):
            root[at] = take(up, root[at])
            gone = up[at] != scratch.numbers(at)
            moved |= bool(gone.any())
            scratch.gather(np.add, size, up[at][gone], size[at][gone])
        named = (_edges(take(up, one.u), take(up, one.v), one.total, one.faces) for one in between)
        between = Parts(n, _of_small(named, size, smallest))
    return root


def renamed(root: NDArray[np.int64], pieces: Iterable[Edges]) -> Iterator[Pending]:
    """Edges between clusters, of edges between nodes."""
    for edges in pieces:
        yield _edges(take(root, edges.pairs[:, 0]), take(root, edges.pairs[:, 1]), edges.total, edges.faces)
        scratch.release()


def _edges(u: NDArray, v: NDArray, total: NDArray, faces: NDArray) -> Pending:
    """Edges whose key says nothing; none of a cluster with itself."""
    return those(Pending(u, v, total, faces, np.zeros_like(total)), u != v)


def _of_small(edges: Iterable[Pending], size: NDArray, smallest: int) -> Iterator[Pending]:
    for one in edges:
        small = (take(size, one.u) < smallest) | (take(size, one.v) < smallest)
        yield summed(len(size), those(one, small))


def _picked(between: Parts, size: NDArray, smallest: int, least: float, mutual: bool) -> NDArray[np.int64]:
    """The neighbour that each small cluster belongs to most, of equal ones the first; itself where there is none, or,
    with `mutual`, where that one belongs to another still more."""
    n = len(size)
    pick, best = scratch.zeros(n, np.int64), scratch.zeros(n, np.float64)
    for at in scratch.blocks(n):
        pick[at], best[at] = scratch.numbers(at), -1
    for one in between:
        ends, others = np.concatenate([one.u, one.v]), np.concatenate([one.v, one.u])
        mean = np.tile(one.mean, 2)
        chosen = (mean >= least) & (mutual | (take(size, ends) < smallest))
        ends, others, mean = ends[chosen], others[chosen], mean[chosen]
        order = np.lexsort((others, -mean, ends))
        order = order[np.diff(ends[order], prepend=-1) > 0]
        ends, others, mean = ends[order], others[order], mean[order]
        known = take(best, ends)
        better = (mean > known) | ((mean == known) & (others < take(pick, ends)))
        scratch.put(pick, ends[better], others[better])
        scratch.put(best, ends[better], mean[better])
    if not mutual:
        return pick
    both = scratch.zeros(n, np.int64)
    for at in scratch.blocks(n):
        here = scratch.numbers(at)
        both[at] = np.where(take(pick, pick[at]) == here, pick[at], here)
    return both


def ends_of(pick: NDArray[np.int64]) -> NDArray[np.int64]:
    """Smallest of those that picks lead together. Where they go round, two have picked each other: no mean is above the
    next one's, and of equal ones the smallest is picked."""
    n = len(pick)
    for at in scratch.blocks(n):
        here, to = scratch.numbers(at), pick[at]
        pick[at] = np.where((take(pick, to) == here) & (here < to), here, to)
    moved = True
    while moved:
        moved = False
        for at in scratch.blocks(n):
            jumped = take(pick, pick[at])
            moved |= not np.array_equal(jumped, pick[at])
            pick[at] = jumped
    first = scratch.zeros(n, np.int64)
    for at in scratch.blocks(n):
        first[at] = scratch.numbers(at)
    for at in scratch.blocks(n):
        scratch.gather(np.minimum, first, pick[at], scratch.numbers(at))
    for at in scratch.blocks(n):
        pick[at] = take(first, pick[at])
    return pick


def across(sections: NDArray, edges: Edges) -> NDArray[np.bool_]:
    """Edges between nodes of different sections (n,)."""
    return take(sections, edges.pairs[:, 0]) != take(sections, edges.pairs[:, 1])


def link(root: NDArray[np.int64], sections: NDArray, pieces: Iterable[Edges], least: float) -> NDArray[np.int64]:
    """Join clusters, each in one section, with what is each other's best in the sections beside: roots, changed in place.

    pieces: edges across sections, in any division. The best shares most affinity over all faces; its mean is `least` or
    more. From thick section to thick section a single wrong join would go on through the volume; of a branching neurite
    one branch is left alone."""
    rows = scratch.Rows(4)
    places: dict[int, list[tuple[int, int]]] = {}
    for edges in pieces:
        upper = np.minimum(*(take(sections, end) for end in edges.pairs.T))
        for z in np.unique(upper).tolist():
            u, v = edges.pairs[upper == z].T
            places.setdefault(z, []).append(rows.put(u, v, edges.total[upper == z], edges.faces[upper == z]))
        scratch.release()
    pick = scratch.zeros(len(root), np.int64)  # of each cluster the one above it, itself where there is none
    for at in scratch.blocks(len(root)):
        pick[at] = scratch.numbers(at)
    for z in sorted(places):
        u, v, total, faces = np.concatenate([rows.get(place) for place in places[z]], 1)
        between = added(take(root, u), take(root, v), total, faces)
        a, b = between.pairs.astype(np.int64).T
        of_a, of_b = take(sections, a), take(sections, b)
        best = _foremost(a, of_b, between.total) & _foremost(b, of_a, between.total)
        best &= between.total >= least * 255 * between.faces
        above = of_a < of_b
        scratch.put(pick, np.where(above, b, a)[best], np.where(above, a, b)[best])
        scratch.release()
    up = ends_of(pick)
    for at in scratch.blocks(len(root)):
        root[at] = take(up, root[at])
    return root


def _foremost(node: NDArray, section: NDArray, total: NDArray) -> NDArray[np.bool_]:
    """Edges (n,) that are the greatest of those which lead from their node to that section; of equal ones the first."""
    order = np.lexsort((-total, section, node))
    first = np.ones(len(order), bool)
    first[1:] = (node[order][1:] != node[order][:-1]) | (section[order][1:] != section[order][:-1])
    best = np.zeros(len(order), bool)
    best[order[first]] = True
    return best
