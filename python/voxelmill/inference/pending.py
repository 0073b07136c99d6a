"""Edges between clusters that may yet be joined: in memory, and on disk in parts of which one is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import scratch

ROOM = 2_000_000  # edges that are worked on at once, some 200 bytes each
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


class Parts:
    """Edges on disk, in order of their pairs of clusters: what becomes one edge meets in one part, and the clusters of a
    part lie close together in tables."""

    def __init__(self, n: int, edges: Iterable[Pending]) -> None:
        """Ends in any order; of a pair one edge is made."""
        self.n, columns = n, len(Pending._fields)
        found, seen = scratch.Rows(columns), [np.zeros(0, np.int64)]
        places = []
        for one in edges:
            places.append(found.put(*one))
            seen.append(pair_of(n, one)[:: max(1, ROOM // SEEN)])
        pairs = np.sort(np.concatenate(seen))
        number = 1 + sum(rows for _, rows in places) // ROOM
        bounds = pairs[np.arange(1, number) * len(pairs) // number]
        self.rows = scratch.Rows(columns)
        self.kept: list[tuple[int, int]] = []
        divided: list[list[tuple[int, int]]] = [[] for _ in range(number)]
        mixed = scratch.Rows(columns)
        for place in places:
            one = Pending(*found.get(place))
            part = np.searchsorted(bounds, pair_of(n, one), "right")
            order = np.argsort(part, kind="stable")
            ends = np.searchsorted(part[order], np.arange(number + 1))
            for k in np.flatnonzero(np.diff(ends)):
                divided[k].append(mixed.put(*those(one, order[ends[k] : ends[k + 1]])))
        for some in divided:
            if some:
                self.kept.append(self.rows.put(*summed(n, together(Pending(*mixed.get(place)) for place in some))))

    def __len__(self) -> int:
        return sum(number for _, number in self.kept)

    def __iter__(self) -> Iterator[Pending]:
        """Part by part; what the work on one has touched of tables is released."""
        for place in self.kept:
            yield Pending(*self.rows.get(place))
            scratch.release()
