"""Motifs of three neurites (Milo et al. 2002): how often each of the 13 occurs, and how often in graphs of equal degrees.

Names are those of the triad census (Holland and Leinhardt 1976): pairs that are mutual, that have one direction, or none.

    021D  a <- b -> c     030T  a -> b -> c, a -> c       201   a <-> b <-> c
    021U  a -> b <- c     030C  a -> b -> c -> a          120D  a <- b -> c, a <-> c
    021C  a -> b -> c     111D  a <-> b <- c              120U  a -> b <- c, a <-> c
                          111U  a <-> b -> c              120C  a -> b -> c, a <-> c
    210   a <-> b <-> c, a -> c                           300   all three mutual
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = ("021D", "021U", "021C", "111D", "111U", "030T", "030C", "201", "120D", "120U", "120C", "210", "300")
MOST_EDGES, MOST_PATHS = 1_000_000, 300_000_000  # of a graph that is counted: 100 bytes an edge, 0.2 us a path of two
MOST_SHUFFLED = 5_000_000  # paths of one that is compared with others of its degrees
SAMPLES, ROUNDS = 20, 10  # shuffled graphs, and how often each edge is offered an exchange between two of them
PATHS = 2_000_000  # that are in memory at a time


def census(n: int, pre: NDArray, post: NDArray) -> dict[str, int]:
    """Mutual pairs (`mutual`), and motifs by their names, of a graph of n nodes without loops, each edge once.

    Motifs in which all three touch are counted along paths; of the others what the degrees say is left when those are off."""
    from scipy.sparse import csr_array

    whole = csr_array((np.ones(len(pre), np.int64), (pre, post)), (n, n))
    both = whole.multiply(whole.T).tocsr()
    one = (whole - both).tocsr()
    one.eliminate_zeros()
    turned = one.T.tocsr()
    out, into, mutual = (np.asarray(m.sum(1)).ravel() for m in (one, turned, both))
    found = {
        "030T": closed(one, one, one),
        "030C": closed(one, one, turned) // 3,
        "120D": closed(turned, one, both) // 2,
        "120U": closed(one, turned, both) // 2,
        "120C": closed(one, one, both),
        "210": closed(both, both, one),
        "300": closed(both, both, both) // 6,
    }
    t, c, d, u, m, two = (found[name] for name in ("030T", "030C", "120D", "120U", "120C", "210"))
    found |= {
        "021D": int((out * (out - 1) // 2).sum()) - t - d,
        "021U": int((into * (into - 1) // 2).sum()) - t - u,
        "021C": int((into * out).sum()) - t - 3 * c - m,
        "111D": int((mutual * into).sum()) - 2 * d - m - two,
        "111U": int((mutual * out).sum()) - 2 * u - m - two,
        "201": int((mutual * (mutual - 1) // 2).sum()) - two - 3 * found["300"],
    }
    return {"mutual": int(mutual.sum()) // 2, **{name: found[name] for name in NAMES}}


def closed(first: Any, second: Any, between: Any) -> int:
    """Paths of an edge of `first` and one of `second` whose ends are joined by one of `between`; some rows at a time."""
    steps = np.cumsum(first @ np.diff(second.indptr))
    total, row = 0, 0
    while row < first.shape[0]:
        begun = steps[row - 1] if row else 0
        stop = max(row + 1, int(np.searchsorted(steps, begun + PATHS, side="right")))
        total += int((first[row:stop] @ second).multiply(between[row:stop]).sum())
        row = stop
    return total


def shuffled(n: int, pre: NDArray, post: NDArray, rng: np.random.Generator, rounds: int = ROUNDS) -> tuple[NDArray, NDArray]:
    """A graph with the same degrees: pairs of edges a -> b, c -> d become a -> d, c -> b, where that makes no loop and
    no edge twice (Maslov and Sneppen 2002)."""
    pre, post = pre.copy(), post.copy()
    for _ in range(rounds):
        order = rng.permutation(len(pre))
        one, other = np.split(order[: len(order) // 2 * 2], 2)
        new = np.concatenate([pre[one] * n + post[other], pre[other] * n + post[one]])
        _, place, count = np.unique(new, return_inverse=True, return_counts=True)
        good = (count[place] == 1) & ~np.isin(new, pre * n + post) & (new // n != new % n)
        good = np.logical_and(*np.split(good, 2))
        post[one[good]], post[other[good]] = post[other[good]], post[one[good]]
    return pre, post


def table(n: int, pre: NDArray, post: NDArray, paths: int) -> dict[str, list]:
    """Columns `motif, count, expected, sd, z`; the last three of SAMPLES shuffled graphs, empty where there are none.

    paths: of two edges each. A graph that is too large is not counted: no row."""
    found = census(n, pre, post) if len(pre) <= MOST_EDGES and paths <= MOST_PATHS else {}
    rows: list[dict[str, int]] = []
    if found and len(pre) > 1 and paths <= MOST_SHUFFLED:
        rng = np.random.default_rng(0)
        graph = shuffled(n, pre, post, rng, 2 * ROUNDS)
        for _ in range(SAMPLES):
            rows.append(census(n, *graph))
            graph = shuffled(n, *graph, rng)
    columns: dict[str, list] = {"motif": list(found), "count": list(found.values()), "expected": [], "sd": [], "z": []}
    for name, count in found.items():
        values = np.array([row[name] for row in rows], float)
        columns["expected"].append(float(values.mean()) if rows else None)
        columns["sd"].append(float(values.std()) if rows else None)
        columns["z"].append(float((count - values.mean()) / values.std()) if rows and values.std() else None)
    return columns
