"""Connected components of graphs whose nodes are numbered, by SciPy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

WAITING = 1_000_000  # edges that are worth a pass over all nodes


def components(n: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smallest node of each of `n` nodes' connected component, given edges `(u, v)`; int64 `(n,)`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(coo_array((np.ones(len(u), bool), (u, v)), shape=(n, n)), directed=False)
    _, first = np.unique(label, return_index=True)
    return first[label]


def components_of(n: int, edges: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """As `components`, of edges that come in batches and would not fit into memory together: a few times `n` is held."""
    root, waiting, rows = np.arange(n), [], 0
    for pair in edges:
        waiting.append(pair)
        rows += len(pair[0])
        if rows >= max(n, WAITING):
            root, waiting, rows = _joined(root, waiting), [], 0
    return _joined(root, waiting) if waiting else root


def _joined(root: np.ndarray, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Each node hangs on its root, which is an edge like the others."""
    u, v = zip(*edges, (np.arange(len(root)), root), strict=True)
    return components(len(root), np.concatenate(u), np.concatenate(v))
