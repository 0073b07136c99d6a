"""Segments that lie inside another one, as mitochondria do, become part of it.

    A A A A A B      b and c touch each other and A, and nothing else: whatever they are, they lie inside A;
    A b c A d B      d does not, nor would b and c if one of them touched the end of the data: who knows what comes
    A b c A d B      then. What is more than half as large as A is not A's: a sheath belongs to its axon, if to any
    A A A A A B

Segments are looked at by size. Of those below a level such groups are connected components, and the one around them is
at least that large; levels are powers of two, so that every group of at most half the size of what is around it is found.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from . import scratch
from .pending import Parts, connect
from .region_graph import Edges
from .scratch import take
from .small_segments import ends_of, moved, renamed


def enclose(root: NDArray[np.int64], sizes: NDArray, ends: NDArray, pieces: Iterable[Edges]) -> NDArray[np.int64]:
    """Give groups of clusters that touch one other cluster alone to that one, where it is twice as large as they are.

    root: smallest node of each node's cluster, changed in place; sizes: voxels of each node; ends: whether it touches where
    data end. Returns root."""
    rank, m = scratch.zeros(len(root), np.int64), 0
    for at in scratch.blocks(len(root)):
        own = root[at] == scratch.numbers(at)
        rank[at] = np.cumsum(own) + m - 1
        m += int(own.sum())
    name, size, open_ = scratch.zeros(m, np.int64), scratch.zeros(m, np.int64), scratch.zeros(m, np.bool_)
    for at in scratch.blocks(len(root)):
        rank[at] = cluster = take(rank, root[at])  # a root comes first, so its own rank stands
        own = root[at] == scratch.numbers(at)
        scratch.put(name, cluster[own], root[at][own])
        scratch.gather(np.add, size, cluster, sizes[at])
        scratch.gather(np.logical_or, open_, cluster, ends[at])
    edges = Parts(m, renamed(rank, pieces))
    into = scratch.zeros(m, np.int64)
    for at in scratch.blocks(m):
        into[at] = scratch.numbers(at)
    level, most, found = 2, _octaves(size), True
    while level < 2 ** (len(most) - 1) and len(edges):
        # where nothing is of this size, all is as it was one level before
        pick = _inside(edges, size, open_, level) if found or most[level.bit_length() - 1] else None
        if found := pick is not None:
            up = ends_of(pick)
            for at in scratch.blocks(m):
                into[at] = take(up, into[at])
                gone = up[at] != scratch.numbers(at)
                scratch.gather(np.add, size, up[at][gone], size[at][gone])
                scratch.gather(np.logical_or, open_, up[at][gone], open_[at][gone])
            edges = Parts(m, moved(up, edges))
            most = _octaves(size)
        level *= 2
    for at in scratch.blocks(len(root)):
        root[at] = take(name, take(into, rank[at]))
    return root


def _octaves(size: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many clusters are of 2^(k - 1) to 2^k - 1 voxels, by k: as far as the largest one."""
    counts = np.zeros(64, np.int64)
    for at in scratch.blocks(len(size)):
        counts += np.bincount(np.frexp(size[at])[1], minlength=64)
    return np.trim_zeros(counts, "b")


def _inside(edges: Parts, size: NDArray, ends: NDArray, level: int) -> NDArray[np.int64] | None:
    """What each cluster below a level lies inside of, itself where it does not; nothing where none does."""
    m = len(size)
    group, first, last, pick = (scratch.zeros(m, np.int64) for _ in range(4))
    connect(edges, lambda one: (take(size, one.u) < level) & (take(size, one.v) < level), group)
    for at in scratch.blocks(m):
        first[at], last[at] = m, -1
    for one in edges:
        small, other = take(size, one.u) < level, take(size, one.v) < level
        rim = small != other
        inner, around = (np.where(small, *pair)[rim] for pair in ((one.u, one.v), (one.v, one.u)))
        inner = take(group, inner)
        scratch.gather(np.minimum, first, inner, around)
        scratch.gather(np.maximum, last, inner, around)
    whole, open_ = scratch.zeros(m, np.int64), scratch.zeros(m, np.bool_)
    for at in scratch.blocks(m):
        few = size[at] < level
        scratch.gather(np.add, whole, group[at][few], size[at][few])
        scratch.gather(np.logical_or, open_, group[at][few], ends[at][few])
    found = False
    for at in scratch.blocks(m):
        around = take(first, group[at])
        inside = (size[at] < level) & (around == take(last, group[at])) & ~take(open_, group[at])
        inside[inside] = 2 * take(whole, group[at][inside]) <= take(size, around[inside])
        pick[at] = np.where(inside, around, scratch.numbers(at))
        found |= bool(inside.any())
    return pick if found else None
