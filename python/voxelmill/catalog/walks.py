"""Walks in the wiring: neighbourhoods and shortest paths, by the rows of an index. Bounded: what was left out is said."""

from __future__ import annotations

from collections import deque

import numpy as np

from . import limits
from .index import Index

MOST = 50_000  # neurites that one query may visit
WAYS = 2_000_000  # of two steps that one query may follow: 0.05 s


def hops(index: Index, node: int, k: int, out: bool, limit: int) -> tuple[list[tuple[int, int, float]], bool]:
    """Neurites within k steps: (number, steps, weight), nearest first, then strongest; whether the walk was cut short.

    The weight of a neurite is the largest product of shares along a way to it: of each step, the share of its neurite's
    synapses that go there."""
    best, seen, cut = {node: 1.0}, {node: 0}, False
    ring = [node]
    for step in range(1, k + 1):
        reached: dict[int, float] = {}
        for one in ring:
            limits.check()
            partner, weight = index.partners(one, out)
            total = int(weight.sum())
            if len(seen) + len(reached) > MOST:
                cut = True
                break
            for other, share in zip(partner.tolist(), (weight * (best[one] / max(total, 1))).tolist(), strict=True):
                if other not in seen and share > reached.get(other, 0.0):
                    reached[other] = share
        seen |= dict.fromkeys(reached, step)
        best |= reached
        ring = list(reached)
    rows = sorted(((n, s, best[n]) for n, s in seen.items() if n != node), key=lambda r: (r[1], -r[2], r[0]))
    return rows[:limit], cut or len(rows) > limit


def two_hops(index: Index, node: int, out: bool, limit: int, most: int = WAYS) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """The strongest neurites two steps away (partners left out): numbers, weights (sum over ways of the product of
    synapses), how many there are in all, and whether some ways, by the weakest partners, were left out."""
    partner, weight = index.partners(node, out)
    starts = index.out_starts if out else index.into_starts
    rows, weights = (index.out_partner, index.out_weight) if out else (index.into_partner, index.into_weight)
    counts = starts[partner + 1] - starts[partner]
    cut = int(counts.sum()) > most
    if cut:
        kept = max(1, int(np.searchsorted(np.cumsum(counts), most, side="right")))
        partner, weight, counts = partner[:kept], weight[:kept], counts[:kept]
    at = np.repeat(starts[partner] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    ends, products = rows[at], weights[at].astype(np.int64) * np.repeat(weight, counts)
    if 8 * len(ends) > len(index.roots):  # many ways: one pass over all neurites is less than a sort
        all_sums = np.bincount(ends, products, minlength=len(index.roots))
        found = np.flatnonzero(all_sums)
        sums = all_sums[found].astype(np.int64)
    else:
        found, inverse = np.unique(ends, return_inverse=True)
        sums = np.bincount(inverse, products, minlength=len(found)).astype(np.int64)
    keep = ~np.isin(found, np.append(index.partners(node, out)[0], node))
    found, sums = found[keep], sums[keep]
    if len(sums) > limit:  # the ties of the last one, too, so that the order among them is told by number
        some = sums >= np.partition(sums, len(sums) - limit)[len(sums) - limit]
        total, found, sums = len(found), found[some], sums[some]
    else:
        total = len(found)
    first = np.lexsort((found, -sums))[:limit]
    return found[first], sums[first], total, cut


def path(index: Index, start: int, end: int, most: int = MOST) -> tuple[list[int] | None, bool]:
    """The way of fewest steps along synapses, at equal length by way of stronger partners first; None where there is none.
    Whether the search was cut short."""
    before: dict[int, int] = {start: start}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        limits.check()
        if node == end:
            way = [end]
            while way[-1] != start:
                way.append(before[way[-1]])
            return way[::-1], False
        if len(before) > most:
            return None, True
        for other in index.partners(node, True)[0].tolist():
            if other not in before:
                before[other] = node
                queue.append(other)
    return None, False
