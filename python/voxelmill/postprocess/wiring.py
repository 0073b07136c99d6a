"""Statistics of a directed, weighted graph whose edges lie in a file; a few arrays of its nodes are held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.graphs import components_of

EDGE = np.dtype([("pre", "<i8"), ("post", "<i8"), ("weight", "<i8")])
BATCH = 1 << 18  # edges in memory at a time
ROWS = 1 << 17  # of a table, in memory at a time

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Four = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Edges:
    """(pre, post, weight) arrays of at most `BATCH` edges on each walk through; nodes are numbered from 0."""

    path: Path

    @classmethod
    def write(cls, path: Path, parts: Iterable[Arrays]) -> Edges:
        with open(path, "wb") as file:
            for pre, post, weight in parts:
                rows = np.empty(len(pre), EDGE)
                rows["pre"], rows["post"], rows["weight"] = pre, post, weight
                rows.tofile(file)
        return cls(path)

    def ends(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Where edges begin and end; of more than `most` edges the first `most` and one, for a mark that there are more."""
        rows = np.fromfile(self.path, EDGE, most + 1)
        return np.ascontiguousarray(rows["pre"]), np.ascontiguousarray(rows["post"])

    def __iter__(self) -> Iterator[Arrays]:
        with open(self.path, "rb") as file:
            while len(rows := np.fromfile(file, EDGE, BATCH)):
                yield rows["pre"], rows["post"], rows["weight"]


def degrees(n: int, edges: Iterable[Arrays]) -> Four:
    """Summed weights in, summed weights out, number of edges in, number of edges out; int64 (n,) each."""
    came, went, before, behind = np.zeros((4, n), np.int64)
    for pre, post, weight in edges:
        np.add.at(came, post, weight)
        np.add.at(went, pre, weight)
        np.add.at(before, post, 1)
        np.add.at(behind, pre, 1)
    return came, went, before, behind


def pagerank(went: np.ndarray, edges: Iterable[Arrays], damping: float = 0.85) -> np.ndarray:
    """Power iteration (Page et al. 1999) as networkx does it, to 1e-12; equal to it within 1e-6.

    went: (n,) summed weights of the edges that leave each node, of `degrees`."""
    n = max(len(went), 1)
    rank = np.full(len(went), 1.0 / n)
    for _ in range(1000):
        new = np.zeros(len(went))
        for pre, post, weight in edges:  # added one by one in the edges' order: batches leave no trace
            np.add.at(new, post, rank[pre] * (weight / went[pre]))
        new += rank[went == 0].sum() / n
        new *= damping
        new += (1 - damping) / n
        if np.abs(new - rank).sum() < 1e-12:
            return new
        rank = new
    return rank


def components(n: int, edges: Iterable[Arrays]) -> np.ndarray:
    """Weakly connected component of each of n nodes, numbered by size, largest 0; of equals the one with the
    first node comes first."""
    _, label, size = np.unique(
        components_of(n, ((pre, post) for pre, post, _ in edges)), return_inverse=True, return_counts=True
    )
    place = np.empty(len(size), np.int64)
    place[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return place[np.ravel(label)]


def columns_of(path: Path, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Columns of a Parquet file, at most `ROWS` rows at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=list(names)):
            yield tuple(batch[name].to_numpy() for name in names)
