"""Segments that are too small go to a neighbour; those of thick sections are linked with the sections beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..core.graphs import components
from . import pending, scratch
from .agglomeration import contracted, named, reciprocal
from .pending import Parts, Pending, pair_of, those, together, top
from .region_graph import Edges, added
from .scratch import take


def absorb(root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], smallest: int) -> NDArray[np.int64]:
    """Give clusters of fewer than `smallest` voxels to the neighbour that they belong to most, whatever the threshold.

    root: smallest node of each node's cluster, changed in place; sizes: voxels of each node. Returns root. Those that
    touch nothing stay."""
    n, size = len(root), _summed(root, sizes)
    between, more = Parts(n, _of_small(renamed(root, pieces), size, smallest)), True
    while len(between) and more:
        up, more = ends_of(_picked(between, size, smallest)), False
        for at in scratch.blocks(n):
            root[at] = take(up, root[at])
            gone = up[at] != scratch.numbers(at)
            more |= bool(gone.any())
            scratch.gather(np.add, size, up[at][gone], size[at][gone])
        between = Parts(n, _of_small(moved(up, between), size, smallest))
    return root


def join_smaller(
    root: NDArray[np.int64], sizes: NDArray[np.int64], pieces: Iterable[Edges], large: int, least: float
) -> NDArray[np.int64]:
    """Join clusters that are each other's best, one of them of fewer than `large` voxels, as long as two of these have a
    mean affinity of `least`: the best pair first, of equal ones that which has the first edge.

    root: smallest node of each node's cluster, changed in place; sizes: voxels of each node. Returns root. Looked at are
    those that have an edge of such a mean: others never will, for no sum of edges is above its greatest."""
    n, size = len(root), _summed(root, sizes)
    numbered = (one._replace(key=pair_of(n, one)) for one in renamed(root, pieces))
    between, up = Parts(n, _of_small(numbered, size, large)), scratch.zeros(n, np.int64)
    for at in scratch.blocks(n):
        up[at] = scratch.numbers(at)
    while len(between := Parts(n, _hopeful(between, size, large, least))) > pending.ROOM:
        _join_best(between, size, large, least, up)
        between = Parts(n, _of_small(moved(up, between), size, large))
    if len(between):
        _join_rest(together(between), size, large, least, up)
    for at in scratch.blocks(n):
        root[at] = top(up, root[at])
    return root


def _good(edges: Pending, size: NDArray, large: int, least: float) -> NDArray[np.bool_]:
    return (edges.mean >= least) & ((take(size, edges.u) < large) | (take(size, edges.v) < large))


def _hopeful(between: Parts, size: NDArray, large: int, least: float) -> Iterator[Pending]:
    """Edges between clusters that have one by which they may be joined."""
    hopeful = scratch.zeros(len(size), np.bool_)
    for one in between:
        good = _good(one, size, large, least)
        for end in (one.u, one.v):
            scratch.put(hopeful, end[good], True)
    for one in between:
        yield those(one, take(hopeful, one.u) & take(hopeful, one.v))


def _join_best(between: Parts, size: NDArray, large: int, least: float, up: NDArray[np.int64]) -> None:
    """Join those that are each other's best; up: what each cluster became part of, changed in place as `size` is."""
    n = len(size)
    best, first, last = scratch.zeros(n, np.float64), scratch.zeros(n, np.int64), np.iinfo(np.int64).max
    for at in scratch.blocks(n):
        best[at], first[at] = -1, last
    for one in between:
        good = _good(one, size, large, least)
        for end in (one.u, one.v):
            scratch.gather(np.maximum, best, end[good], one.mean[good])
    for one in between:
        for end in (one.u, one.v):
            scratch.gather(np.minimum, first, end, np.where(one.mean == take(best, end), one.key, last))
    for one in between:
        one = those(one, (take(first, one.u) == one.key) & (take(first, one.v) == one.key))
        one = those(one, _good(one, size, large, least))
        a, b = np.minimum(one.u, one.v), np.maximum(one.u, one.v)
        scratch.put(up, b, a)
        scratch.gather(np.add, size, a, take(size, b))


def _join_rest(edges: Pending, size: NDArray, large: int, least: float, up: NDArray[np.int64]) -> None:
    """All joins that are left, in memory; up: as in `_join_best`.

    a  A  c    Two large ones are never joined, so what becomes of a changes nothing between A and c. A large one is
       A  c    another one to each group of small ones that touch each other: many around it need not wait for each other.
    """
    names, edges = named(edges)
    size = take(size, names)
    while (good := _good(edges, size, large, least)).any():
        hopeful, small = np.zeros(len(names), bool), size < large
        hopeful[edges.u[good]] = hopeful[edges.v[good]] = True
        some, edges = named(those(edges, hopeful[edges.u] & hopeful[edges.v] & (small[edges.u] | small[edges.v])))
        names, size, small = names[some], size[some], small[some]
        both = small[edges.u] & small[edges.v]
        group = components(len(names), edges.u[both], edges.v[both])
        inner, other = (np.where(small[edges.u], *pair) for pair in ((edges.u, edges.v), (edges.v, edges.u)))
        apart = ~both  # a large one is another one to each group
        many, other[apart] = np.unique(group[inner[apart]] * len(names) + other[apart], return_inverse=True)
        other[apart] += len(names)
        joined = reciprocal(len(names) + len(many), edges._replace(u=inner, v=other), edges.mean)
        joined &= edges.mean >= least
        into = components(len(names), edges.u[joined], edges.v[joined])
        gone = np.flatnonzero(into != np.arange(len(names)))
        scratch.put(up, names[gone], names[into[gone]])
        np.add.at(size, into[gone], size[gone])
        edges = contracted(edges, joined, into)


def _summed(root: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Voxels of each cluster."""
    size = scratch.zeros(len(root), np.int64)
    for at in scratch.blocks(len(root)):
        scratch.gather(np.add, size, root[at], sizes[at])
    return size


def moved(up: NDArray[np.int64], edges: Iterable[Pending]) -> Iterator[Pending]:
    """Edges between what their ends became part of; none of a cluster with itself."""
    for one in edges:
        one = one._replace(u=take(up, one.u), v=take(up, one.v))
        yield those(one, one.u != one.v)


def renamed(root: NDArray[np.int64], pieces: Iterable[Edges]) -> Iterator[Pending]:
    """Edges between clusters, whose key says nothing, of edges between nodes."""
    for edges in pieces:
        u, v = (take(root, end) for end in edges.pairs.T)
        yield those(Pending(u, v, edges.total, edges.faces, np.zeros_like(edges.total)), u != v)
        scratch.release()


def _of_small(edges: Iterable[Pending], size: NDArray, smallest: int) -> Iterator[Pending]:
    for one in edges:
        small = (take(size, one.u) < smallest) | (take(size, one.v) < smallest)
        yield those(one, small)


def _picked(between: Parts, size: NDArray, smallest: int) -> NDArray[np.int64]:
    """The neighbour that each small cluster belongs to most, of equal ones the first; itself where there is none."""
    n = len(size)
    pick, best = scratch.zeros(n, np.int64), scratch.zeros(n, np.float64)
    for at in scratch.blocks(n):
        pick[at], best[at] = scratch.numbers(at), -1
    for one in between:
        ends, others = np.concatenate([one.u, one.v]), np.concatenate([one.v, one.u])
        mean = np.tile(one.mean, 2)
        chosen = take(size, ends) < smallest
        ends, others, mean = ends[chosen], others[chosen], mean[chosen]
        order = np.lexsort((others, -mean, ends))
        order = order[np.diff(ends[order], prepend=-1) > 0]
        ends, others, mean = ends[order], others[order], mean[order]
        known = take(best, ends)
        better = (mean > known) | ((mean == known) & (others < take(pick, ends)))
        scratch.put(pick, ends[better], others[better])
        scratch.put(best, ends[better], mean[better])
    return pick


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
