"""Components of graphs, whole and in batches."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from voxelmill.core import graphs


@pytest.mark.parametrize("waiting", [1, 50, 10**6])
@pytest.mark.parametrize("n, edges", [(0, 0), (5, 0), (200, 90), (60, 300)])
def test_components_in_any_number_of_batches(n: int, edges: int, waiting: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(graphs, "WAITING", waiting)
    u, v = np.random.default_rng(edges).integers(0, max(n, 1), (2, edges))
    graph = nx.Graph(zip(u.tolist(), v.tolist(), strict=True))
    graph.add_nodes_from(range(n))
    wanted = np.zeros(n, np.int64)
    for nodes in nx.connected_components(graph):
        wanted[list(nodes)] = min(nodes)
    assert np.array_equal(graphs.components(n, u, v), wanted)
    batches = [(u[k : k + 7], v[k : k + 7]) for k in range(0, edges, 7)]
    assert np.array_equal(graphs.components_of(n, batches), wanted)
