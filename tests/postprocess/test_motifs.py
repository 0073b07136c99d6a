"""Motifs: equal to networkx's census; shuffled graphs keep their degrees; a planted motif stands out."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.postprocess import motifs

pairs = st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda e: e[0] != e[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, max_size=40, unique=True), st.sampled_from([1, 7, 10**6]))
def test_as_networkx_counts(edges: list[tuple[int, int]], paths: int):
    net = nx.DiGraph()
    net.add_nodes_from(range(9))
    net.add_edges_from(edges)
    wanted = nx.triadic_census(net)
    at = np.array(edges, np.int64).reshape(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motifs, "PATHS", paths)
        found = motifs.census(9, *at)
    assert found.pop("mutual") == sum(net.has_edge(b, a) for a, b in edges) // 2
    assert found == {name: wanted[name] for name in motifs.NAMES}


def graph(n: int = 60, edges: int = 400) -> tuple[np.ndarray, np.ndarray]:
    keys = np.random.default_rng(3).choice(n * n, edges, replace=False)
    keys = keys[keys // n != keys % n]
    return keys // n, keys % n


def test_shuffled_graphs_keep_degrees_and_are_others():
    pre, post = graph()
    a, b = motifs.shuffled(60, pre, post, np.random.default_rng(0), 20)
    assert np.array_equal(np.bincount(a), np.bincount(pre)) and np.array_equal(np.bincount(b), np.bincount(post))
    assert (a != b).all() and len(np.unique(a * 60 + b)) == len(pre)
    assert np.isin(a * 60 + b, pre * 60 + post).mean() < 0.3


def test_what_was_planted_stands_out():
    pre, post = graph()
    rows = {r[0]: r[1:] for r in zip(*motifs.table(60, pre, post, 2000).values())}
    assert all(abs(z) < 4 for *_, z in rows.values() if z is not None)
    pre, post = graph(edges=60)
    cycles = np.arange(60).reshape(-1, 3)
    keys = np.unique(np.concatenate([pre * 60 + post, (cycles * 60 + np.roll(cycles, -1, 1)).ravel()]))
    planted = {r[0]: r[1:] for r in zip(*motifs.table(60, keys // 60, keys % 60, 300).values())}
    assert planted["030C"][0] >= 15 and planted["030C"][3] > 4


def test_large_graphs_are_not_compared_and_none_has_no_motif(monkeypatch):
    monkeypatch.setattr(motifs, "MOST_SHUFFLED", 10)
    assert set(motifs.table(60, *graph(), 2000)["z"]) == {None}
    monkeypatch.setattr(motifs, "MOST_EDGES", 10)
    assert motifs.table(60, *graph(), 2000)["motif"] == []
    none = np.zeros(0, np.int64)
    assert set(motifs.table(0, none, none, 0)["count"]) == {0}
