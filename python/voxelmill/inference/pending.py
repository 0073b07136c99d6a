"""Edges between clusters that may yet be joined: in memory, and on disk in parts of which one is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import scratch

ROOM = 2_000_000  # edges that are worked on at once, some 200 bytes each


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


def summed(n: int, edges: Pending) -> Pending:
    """One edge for each pair of clusters, of ends 0..n-1 in any order."""
    pair = np.minimum(edges.u, edges.v) * n + np.maximum(edges.u, edges.v)
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    total, faces = (np.add.reduceat(x[order], starts) if len(starts) else x for x in (edges.total, edges.faces))
    key = np.minimum.reduceat(edges.key[order], starts) if len(starts) else edges.key
    return Pending(pair[starts] // n, pair[starts] % n, total, faces, key)


class Parts:
    """Edges on disk, divided by their pair of clusters: what becomes one edge meets in one part."""

    def __init__(self, n: int, number: int) -> None:
        self.n, self.rows = n, scratch.Rows(len(Pending._fields))
        self.kept: list[list[tuple[int, int]]] = [[] for _ in range(number)]
        self.added: list[list[tuple[int, int]]] = [[] for _ in range(number)]

    @classmethod
    def of(cls, n: int, edges: Iterable[Pending]) -> Parts:
        """As many parts as it takes, of edges that are not yet counted."""
        rows = scratch.Rows(len(Pending._fields))
        places = [rows.put(*one) for one in edges if len(one.u)]
        parts = cls(n, 1 + sum(number for _, number in places) // ROOM)
        for place in places:
            parts.add(Pending(*rows.get(place)))
        return parts.sum()

    def __len__(self) -> int:
        return sum(number for places in self.kept for _, number in places)

    def __iter__(self) -> Iterator[Pending]:
        """Part by part; what the work on one has touched of tables is released."""
        return (part for _, part in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Pending]]:
        for k, places in enumerate(self.kept):
            if places:
                yield k, together(Pending(*self.rows.get(place)) for place in places)
                scratch.release()

    def keep(self, part: int, edges: Pending) -> None:
        """Edges of a part that are like no other."""
        if len(edges.u):
            self.kept[part].append(self.rows.put(*edges))

    def add(self, edges: Pending) -> None:
        """Edges of any parts; `sum` makes one of those of a pair."""
        low, high = np.minimum(edges.u, edges.v), np.maximum(edges.u, edges.v)
        mixed = (low * 0x9E3779B1 + high) * 0x85EBCA77 & 0x7FFFFFFFFFFFFFFF
        part = (mixed >> 32) % len(self.kept)
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(len(self.kept) + 1))
        for k in np.flatnonzero(np.diff(ends)):
            self.added[k].append(self.rows.put(*those(edges, order[ends[k] : ends[k + 1]])))

    def sum(self) -> Parts:
        for k, places in enumerate(self.added):
            if places:
                self.keep(k, summed(self.n, together(Pending(*self.rows.get(place)) for place in places)))
        self.added = [[] for _ in self.kept]
        return self
