"""Graph: weights, degrees, PageRank as networkx has it, components, reciprocity, exports."""

from __future__ import annotations

import csv
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.postprocess import graph
from voxelmill.testing.stages import make_store, run_stage

ROWS = [  # z, y, x, pre, post, score
    (0, 10, 10, 1, 2, 0.9), (0, 11, 11, 1, 2, 0.8), (3, 40, 40, 1, 2, 0.5), (3, 50, 50, 2, 1, 0.4),
    (4, 10, 10, 3, 4, 0.7), (5, 10, 10, 3, 3, 0.9), (5, 20, 20, 4, 3, 0.05),
]


def candidates(path: Path, rows: list[tuple]) -> Path:
    z, y, x, pre, post, score = (np.array(c) for c in zip(*rows)) if rows else (np.zeros(0, int),) * 6
    pq.write_table(pa.table({"z": z, "y": y, "x": x, "sigma": np.ones(len(z), np.float32),
                             "pre_id": pre.astype(np.uint64), "post_id": post.astype(np.uint64),
                             "score": score.astype(np.float32)}), path)
    return path


def run(folder: Path, *parts: list[tuple]) -> dict[str, list[dict]]:
    store = make_store(folder / "l.ome.zarr", np.ones((8, 64, 64), np.uint32), label=True)
    files = [candidates(folder / f"c{n}.parquet", rows) for n, rows in enumerate(parts)]
    assert run_stage("postprocess.graph", folder, candidates=files, labels=store, tables="tables", graph="graph") == 0
    return {n: pq.read_table(folder / f"tables/{n}.parquet").to_pylist() for n in ("synapses", "edges", "nodes")}


def test_tables(tmp_path: Path):
    found = run(tmp_path, ROWS)
    # The two of section 0 share a cell of 4 x 4 px: the better one stays.
    assert [(s["z"], s["y"], round(s["score"], 2)) for s in found["synapses"]][:2] == [(0, 10, 0.9), (5, 10, 0.9)]
    assert len(found["synapses"]) == 6
    first = found["synapses"][0]
    assert (first["id"], first["z_nm"], first["y_nm"], first["x_nm"]) == (1, 0.0, 80.0, 80.0)
    edges = {(e["pre_root_id"], e["post_root_id"]): e["weight"] for e in found["edges"]}
    assert edges == {(1, 2): 2, (2, 1): 1, (3, 4): 1}          # no autapse, nothing below min_score
    nodes = {n["node"]: n for n in found["nodes"]}
    assert (nodes[2]["in_degree"], nodes[2]["out_degree"]) == (2, 1)
    assert nodes[1]["reciprocity"] == 1 and nodes[3]["reciprocity"] == 0
    assert nodes[1]["component"] == nodes[2]["component"] != nodes[3]["component"]


def test_how_candidates_are_divided_does_not_matter(tmp_path: Path):
    assert run(tmp_path / "one", ROWS) == run(tmp_path / "two", ROWS[4:], ROWS[:4])


def test_exports_agree(tmp_path: Path):
    found = run(tmp_path, ROWS)
    net = nx.read_graphml(tmp_path / "graph/wiring.graphml")
    assert {(int(a), int(b)): d["weight"] for a, b, d in net.edges(data=True)} == {
        (e["pre_root_id"], e["post_root_id"]): e["weight"] for e in found["edges"]}
    with open(tmp_path / "tables/nodes.csv", newline="") as file:
        assert [int(r["node"]) for r in csv.DictReader(file)] == [n["node"] for n in found["nodes"]]
    assert (tmp_path / "graph/edges.txt").read_text().splitlines()[0] == "1 2 2"


def test_no_candidates_no_edges(tmp_path: Path):
    found = run(tmp_path, [])
    assert found == {"synapses": [], "edges": [], "nodes": []}
    assert (tmp_path / "graph/wiring.graphml").exists()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 5)), min_size=1, max_size=30,
                unique_by=lambda e: e[:2]))
def test_pagerank_is_that_of_networkx(edges: list[tuple[int, int, int]]):
    net = nx.DiGraph()
    net.add_nodes_from(range(9))
    net.add_weighted_edges_from(edges)
    wanted = nx.pagerank(net, weight="weight", tol=1e-12, max_iter=1000)
    pre, post, weight = (np.array(c) for c in zip(*edges))
    assert graph.pagerank(9, pre, post, weight) == pytest.approx([wanted[n] for n in range(9)], abs=1e-6)
