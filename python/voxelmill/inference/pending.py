"""Edges between clusters that may yet be joined: in memory, and on disk in parts of which one is held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.graphs import components
from . import scratch

ROOM = 2_000_000  # edges that are worked on at once, some 200 bytes each
MOST_NODES = math.isqrt(2**63 - 1)  # each pair of these has a number of its own
SEEN = 2000  # pairs by which parts are made equal: so many of those that there is room for


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


def those(edges: Pending, chosen: NDArray) -> Pending:
    return Pending(*(column[chosen] for column in edges))


def together(parts: Iterable[Pending]) -> Pending:
    return Pending(*map(np.concatenate, zip(*parts, strict=True)))


def pair_of(n: int, edges: Pending) -> NDArray[np.int64]:
    """A number for each pair of clusters, whichever end comes first."""
    return np.minimum(edges.u, edges.v) * n + np.maximum(edges.u, edges.v)


def summed(n: int, edges: Pending) -> Pending:
    """One edge for each pair of clusters, of ends 0..n-1 in any order."""
    pair = pair_of(n, edges)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    total, faces = (np.add.reduceat(x[order], starts) if len(starts) else x for x in (edges.total, edges.faces))
    key = np.minimum.reduceat(edges.key[order], starts) if len(starts) else edges.key
    return Pending(pair[starts] // n, pair[starts] % n, total, faces, key)


def connect(edges: Iterable[Pending], chosen: Callable[[Pending], NDArray[np.bool_]], root: NDArray[np.int64]) -> None:
    """Fill in the smallest node of each node's component, by the edges that are chosen, part by part."""
    for at in scratch.blocks(len(root)):
        root[at] = scratch.numbers(at)
    for part in edges:
        few = chosen(part)
        ends = np.concatenate([top(root, part.u[few]), top(root, part.v[few])])
        names, place = np.unique(ends, return_inverse=True)
        scratch.put(root, names, names[components(len(names), *place.reshape(2, -1))])
    for at in scratch.blocks(len(root)):
        root[at] = top(root, scratch.numbers(at))


def top(root: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the ways of nodes end, each of which leads to smaller ones; they are shorter from now on."""
    end = scratch.take(root, nodes)
    while not np.array_equal(up := scratch.take(root, end), end):
        end = up
    scratch.put(root, nodes, end)
    return end


def folded(n: int, parts: Iterable[Pending]) -> Pending:
    """`summed` of all parts, without holding the many edges of a pair that become one."""
    held: list[Pending] = []
    for part in parts:
        held.append(part)
        if sum(len(one.u) for one in held) > ROOM:
            held = [summed(n, together(held))]
    return summed(n, together(held))


class Parts:
    """Edges on disk, in order of their pairs of clusters: what becomes one edge meets in one part, and the clusters of a
    part lie close together in tables."""

    def __init__(self, n: int, edges: Iterable[Pending]) -> None:
        """Ends in any order; of a pair one edge is made."""
        self.n, columns = n, len(Pending._fields)
        found, seen = scratch.Rows(columns), [np.zeros(0, np.int64)]
        places, rows, step = [], 0, max(1, ROOM // SEEN)
        for one in edges:
            one = summed(n, one)
            places.append(found.put(*one))
            seen.append(pair_of(n, one)[-rows % step :: step])  # of all edges one in so many
            rows += len(one.u)
        pairs = np.sort(np.concatenate(seen))
        number = 1 + rows // ROOM
        bounds = pairs[np.arange(1, number) * len(pairs) // number]
        mixed = scratch.Bins(columns, number)
        for place in places if number > 1 else ():
            one = Pending(*found.get(place))
            mixed.put(one, np.searchsorted(bounds, pair_of(n, one), "right"))
        whole = [map(found.get, places)] if rows and number == 1 else []
        self.rows = scratch.Rows(columns)
        self.kept = [self.rows.put(*folded(n, map(Pending._make, some))) for some in (whole or mixed)]

    def __len__(self) -> int:
        return sum(number for _, number in self.kept)

    def __iter__(self) -> Iterator[Pending]:
        """Part by part; what the work on one has touched of tables is released."""
        for place in self.kept:
            yield Pending(*self.rows.get(place))
            scratch.release()
