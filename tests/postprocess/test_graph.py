"""Graph: weights, degrees, PageRank as networkx has it, components, reciprocity, exports."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.postprocess import graph, wiring
from voxelmill.testing import candidates as made
from voxelmill.testing.stages import make_store, run_stage

ROWS = [  # z, y, x, pre, post, score
    (0, 10, 10, 1, 2, 0.9),
    (0, 11, 11, 1, 2, 0.8),
    (3, 40, 40, 1, 2, 0.5),
    (3, 50, 50, 2, 1, 0.4),
    (4, 10, 10, 3, 4, 0.7),
    (5, 10, 10, 3, 3, 0.9),
    (5, 20, 20, 4, 3, 0.05),
]


def candidates(path: Path, rows: list[tuple]) -> Path:
    return made.write(path, *(np.array(c) for c in zip(*rows)) if rows else (np.zeros(0, int),) * 6)


def run(folder: Path, *parts: list[tuple]) -> dict[str, list[dict]]:
    store = make_store(folder / "l.ome.zarr", np.ones((8, 64, 64), np.uint32), label=True)
    files = [candidates(folder / f"c{n}.parquet", rows) for n, rows in enumerate(parts)]
    assert run_stage("postprocess.graph", folder, candidates=files, labels=store, tables="tables", graph="graph") == 0
    assert not list(folder.glob("graph-*"))  # what was on disk meanwhile
    return {n: pq.read_table(folder / f"tables/{n}.parquet").to_pylist() for n in ("synapses", "edges", "nodes")}


def test_tables(tmp_path: Path):
    found = run(tmp_path, ROWS)
    # The two of section 0 share a cell of 4 x 4 px: the better one stays.
    assert [(s["z"], s["y"], round(s["score"], 2)) for s in found["synapses"]][:2] == [(0, 10, 0.9), (5, 10, 0.9)]
    assert len(found["synapses"]) == 6
    first = found["synapses"][0]
    assert (first["id"], first["z_nm"], first["y_nm"], first["x_nm"]) == (1, 0.0, 80.0, 80.0)
    for point in ("pre_pt", "post_pt", "ctr_pt"):
        assert first[f"{point}_position"] == [80.0, 80.0, 0.0]  # x, y, z as CAVE has them
    assert (first["pre_pt_supervoxel_id"], first["post_pt_root_id"], first["size"], first["valid"]) == (1, 2, 6, True)
    edges = {(e["pre_root_id"], e["post_root_id"]): e["weight"] for e in found["edges"]}
    assert edges == {(1, 2): 2, (2, 1): 1, (3, 4): 1}  # no autapse, nothing below min_score
    nodes = {n["root_id"]: n for n in found["nodes"]}
    assert (nodes[2]["in_degree"], nodes[2]["out_degree"]) == (2, 1)
    assert nodes[1]["reciprocity"] == 1 and nodes[3]["reciprocity"] == 0
    assert nodes[1]["component"] == nodes[2]["component"] != nodes[3]["component"]


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = [p for d in ("tables", "graph") for p in (folder / d).rglob("*") if p.is_file()]
    return {f"{p.relative_to(folder)}": p.read_bytes() for p in files}


def random_rows(n: int, neurites: int, seed: int = 0) -> list[tuple]:
    """Many share a cell of 4 x 4 px, a score, or both; no two pairs share a pixel."""
    rng = np.random.default_rng(seed)
    at = rng.choice(8 * 64 * 64, n, replace=False)
    pairs = rng.integers(1, neurites + 1, (n, 2))
    return [
        (int(k >> 12), int(k >> 6 & 63), int(k & 63), int(a), int(b), float(np.float32(s)))
        for k, (a, b), s in zip(at, pairs, rng.integers(0, 50, n) / 49)
    ]


@pytest.mark.parametrize("parts", [2, 7])
def test_how_candidates_are_divided_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int):
    """To the byte, also where a table is many batches."""
    monkeypatch.setattr(graph, "ROWS", 100)
    monkeypatch.setattr(wiring, "BATCH", 64)
    rows = random_rows(3000, 40)
    run(tmp_path / "one", rows)
    shuffled = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    run(tmp_path / "many", *(shuffled[k::parts] for k in range(parts)))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "many")


@pytest.mark.parametrize("n, neurites", [(1, 2), (400, 12), (3000, 2000)])
def test_as_reckoned_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, neurites: int):
    monkeypatch.setattr(graph, "ROWS", 128)
    monkeypatch.setattr(wiring, "BATCH", 50)
    rows = random_rows(n, neurites, seed=n)
    found = run(tmp_path, rows)

    best: dict[tuple, tuple] = {}
    for z, y, x, pre, post, score in sorted(rows, key=lambda r: (-r[5], r[:3])):
        best.setdefault((z, y // 4, x // 4, pre, post), (z, y, x, pre, post, score))
    assert [
        tuple(s[c] for c in ("z", "y", "x", "pre_pt_root_id", "post_pt_root_id", "score")) for s in found["synapses"]
    ] == list(best.values())
    assert [s["id"] for s in found["synapses"]] == list(range(1, len(best) + 1))
    assert all((s["z_nm"], s["y_nm"], s["x_nm"]) == (30 * s["z"], 8 * s["y"], 8 * s["x"]) for s in found["synapses"])

    scores: dict[tuple, list[float]] = defaultdict(list)
    for *_, pre, post, score in best.values():
        if score >= np.float32(0.1) and pre != post:
            scores[pre, post].append(score)
    assert [tuple(e.values()) for e in found["edges"]] == [
        (*pair, len(scores[pair]), sum(scores[pair])) for pair in sorted(scores)
    ]

    net = nx.DiGraph()
    net.add_weighted_edges_from((*pair, len(s)) for pair, s in scores.items())
    rank = nx.pagerank(net, weight="weight", tol=1e-12, max_iter=1000) if scores else {}
    sizes = sorted(nx.weakly_connected_components(net), key=lambda c: (-len(c), min(c)))
    component = {node: k for k, members in enumerate(sizes) for node in members}
    assert {r["root_id"] for r in found["nodes"]} == set(net)
    ranks = [r["pagerank"] for r in found["nodes"]]
    assert ranks == sorted(ranks, reverse=True)
    for row in found["nodes"]:
        node = row["root_id"]
        mutual = sum(net.has_edge(b, node) for b in net.successors(node))
        assert row == {
            "root_id": node,
            "in_degree": net.in_degree(node, "weight"),
            "out_degree": net.out_degree(node, "weight"),
            "in_partners": net.in_degree(node),
            "out_partners": net.out_degree(node),
            "pagerank": pytest.approx(rank[node], abs=1e-9),
            "component": component[node],
            "reciprocity": 2 * mutual / net.degree(node),
        }


def test_exports_agree(tmp_path: Path):
    found = run(tmp_path, ROWS)
    net = nx.read_graphml(tmp_path / "graph/wiring.graphml")
    assert {(int(a), int(b)): d["weight"] for a, b, d in net.edges(data=True)} == {
        (e["pre_root_id"], e["post_root_id"]): e["weight"] for e in found["edges"]
    }
    assert dict(net.nodes(data=True)) == {
        str(n["root_id"]): {k: v for k, v in n.items() if k != "root_id"} for n in found["nodes"]
    }
    assert {(a, b): d["sum_score"] for a, b, d in net.edges(data=True)} == {
        (str(e["pre_root_id"]), str(e["post_root_id"])): e["sum_score"] for e in found["edges"]
    }
    with open(tmp_path / "tables/nodes.csv", newline="") as file:
        assert [int(r["root_id"]) for r in csv.DictReader(file)] == [n["root_id"] for n in found["nodes"]]
    assert (tmp_path / "graph/edges.txt").read_text().splitlines()[0] == "1 2 2"


def test_neuprint_tables_hang_together(tmp_path: Path):
    """Nodes and relations as an import finds them: every end of a relation is a node, every synapse a pre and a post site."""
    run(tmp_path, ROWS)
    read = {}
    for path in (tmp_path / "graph/neuprint").iterdir():
        with open(path, newline="") as file:
            read[path.stem.removeprefix("Neuprint_")] = list(csv.DictReader(file))
    bodies, sites = ({r[f":ID({k})"]: r for r in read[n]} for k, n in (("Body-ID", "Neurons"), ("Syn-ID", "Synapses")))
    sets = {r[":ID(SynSet-ID)"] for r in read["SynapseSet"]}
    assert {b: (r["pre:int"], r["post:int"]) for b, r in bodies.items()} == {
        "1": ("2", "1"), "2": ("1", "2"), "3": ("1", "0"), "4": ("0", "1")
    }  # fmt: skip
    assert [(r[":START_ID(Body-ID)"], r[":END_ID(Body-ID)"], r["weight:int"]) for r in read["Neuron_Connections"]] == [
        ("1", "2", "2"), ("2", "1", "1"), ("3", "4", "1")
    ]  # fmt: skip
    assert [r["type:string"] for r in read["Synapses"]] == ["pre", "post"] * 4 and len(sets) == 6
    assert read["Synapses"][0]["location:point{srid:9157}"] == "{x:10, y:10, z:0}"
    ends = {"Body-ID": set(bodies), "Syn-ID": set(sites), "SynSet-ID": sets}
    for name in ("Synapse_Connections", "SynapseSet_to_Synapses", "SynapseSet_to_SynapseSet", "Neuron_to_SynapseSet"):
        for row in read[name]:
            assert all(value in ends[key.split("(")[1][:-1]] for key, value in row.items())
    assert len(read["Synapse_Connections"]) == 4 and len(read["SynapseSet_to_Synapses"]) == 8
    assert len(read["Neuron_to_SynapseSet"]) == 6 and len(read["SynapseSet_to_SynapseSet"]) == 3


def test_a_density_with_several_partners_is_one_site_in_neuprint(tmp_path: Path):
    """Its partners have sites of their own, where they lie: positions of neuPrint's synapses are unique."""
    rows = [(4, 20, 30, 7, 1, 0.9), (4, 20, 30, 7, 2, 0.9), (4, 20, 30, 7, 3, 0.9), (5, 40, 40, 7, 1, 0.8)]
    store = make_store(tmp_path / "l.ome.zarr", np.ones((8, 64, 64), np.uint32), label=True, origin=(90.0, 0.0, 16.0))
    path = candidates(tmp_path / "c.parquet", rows)
    table = pq.read_table(path)
    for axis, moved in (("z", [3, 4, 5, 5]), ("y", [18, 20, 22, 40]), ("x", [32, 33, 30, 42])):
        at = table.column_names.index(f"post_{axis}")
        table = table.set_column(at, f"post_{axis}", [np.array(moved, np.int64)])
    pq.write_table(table, path)
    assert run_stage("postprocess.graph", tmp_path, candidates=[path], labels=store, tables="tables", graph="graph") == 0

    def read(name: str) -> list[list[str]]:
        with open(tmp_path / f"graph/neuprint/Neuprint_{name}.csv", newline="") as file:
            return list(csv.reader(file))[1:]

    sites = {row[0]: (row[1], row[3]) for row in read("Synapses")}
    assert list(sites.values()) == [
        ("pre", "{x:30, y:20, z:4}"), ("post", "{x:32, y:18, z:3}"), ("post", "{x:33, y:20, z:4}"),
        ("post", "{x:30, y:22, z:5}"), ("pre", "{x:40, y:40, z:5}"), ("post", "{x:42, y:40, z:5}"),
    ]  # fmt: skip
    assert [(sites[a][0], sites[b][0], a) for a, b in read("Synapse_Connections")] == [
        ("pre", "post", "2"), ("pre", "post", "2"), ("pre", "post", "2"), ("pre", "post", "8")
    ]  # fmt: skip
    assert [row[:4] + row[5:6] for row in read("Neurons") if row[0] == "7"] == [["7", "7", "2", "0", "4"]]
    assert len(read("SynapseSet")) == 6 and len({tuple(row) for row in read("SynapseSet_to_Synapses")}) == 8


def test_motifs_are_those_of_the_edges(tmp_path: Path):
    run(tmp_path, random_rows(400, 12))
    rows = pq.read_table(tmp_path / "tables/motifs.parquet").to_pylist()
    net = nx.read_graphml(tmp_path / "graph/wiring.graphml")
    wanted = nx.triadic_census(net)
    found = {row["motif"]: row["count"] for row in rows}
    assert found.pop("mutual") == sum(net.has_edge(b, a) for a, b in net.edges()) // 2
    assert all(count == wanted[name] for name, count in found.items()) and len(found) == 13
    assert all(row["expected"] is not None for row in rows)


def test_no_candidates_no_edges(tmp_path: Path):
    found = run(tmp_path, [])
    assert found == {"synapses": [], "edges": [], "nodes": []}
    assert not nx.read_graphml(tmp_path / "graph/wiring.graphml")
    assert (tmp_path / "tables/edges.csv").read_text() == '"pre_root_id","post_root_id","weight","sum_score"\n'


def test_a_damaged_file_is_named(tmp_path: Path, capsys):
    store = make_store(tmp_path / "l.ome.zarr", np.ones((4, 64, 64), np.uint32), label=True)
    path = candidates(tmp_path / "c.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    assert run_stage("postprocess.graph", tmp_path, candidates=path, labels=store, tables="tables", graph="graph") == 65
    said = capsys.readouterr().err
    assert said.startswith("ERROR [graph]") and "c.parquet" in said and said.count("\n") == 1


MEASURED = """
import json, re, sys
from pathlib import Path
import numpy as np
from voxelmill.testing import candidates as made
from voxelmill.testing.stages import make_store, run_stage

folder, files, rows = Path(sys.argv[1]), int(sys.argv[2]), 100_000
store = make_store(folder / "l.ome.zarr", np.ones((8, 64, 64), np.uint32), label=True)
rng = np.random.default_rng(0)
for k in range(files):
    made.write(folder / f"c{k}.parquet", rng.integers(8 * k, 8 * k + 8, rows), *rng.integers(0, 4096, (2, rows)),
               *rng.integers(1, 5000, (2, rows)), rng.random(rows))
code = run_stage("postprocess.graph", folder, candidates=[folder / f"c{k}.parquet" for k in range(files)], labels=store,
                 tables="tables", graph="graph", memory_mb=600)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())      # getrusage starts at the parent's
print(json.dumps([code, int(peak[1]) / 1024]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_candidates(tmp_path: Path):
    """Given 600 MB; in memory, 1.6 million were 1.9 GB."""
    for files in (2, 16):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, tmp_path / str(files), str(files)], capture_output=True, text=True, check=True
        )
        code, peak = json.loads(done.stdout)
        assert code == 0, done.stderr
        assert peak < 600


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 5)), min_size=1, max_size=30, unique_by=lambda e: e[:2]
    )
)
def test_pagerank_is_that_of_networkx(edges: list[tuple[int, int, int]]):
    net = nx.DiGraph()
    net.add_nodes_from(range(9))
    net.add_weighted_edges_from(edges)
    wanted = nx.pagerank(net, weight="weight", tol=1e-12, max_iter=1000)
    batches = [tuple(np.array(c) for c in zip(*edges[k : k + 7])) for k in range(0, len(edges), 7)]
    assert wiring.pagerank(wiring.degrees(9, batches)[1], batches) == pytest.approx([wanted[n] for n in range(9)], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), st.integers(1, 9))
def test_components_are_those_of_networkx(edges: list[tuple[int, int]], size: int):
    net = nx.Graph()
    net.add_nodes_from(range(31))
    net.add_edges_from(edges)
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    batches = [(part[:, 0], part[:, 1], part[:, 1]) for part in (pairs[k : k + size] for k in range(0, len(pairs), size))]
    found = wiring.components(31, batches)
    ordered = sorted(nx.connected_components(net), key=lambda c: (-len(c), min(c)))
    assert [{int(n) for n in np.flatnonzero(found == k)} for k in range(len(ordered))] == ordered


def test_a_long_chain_is_one_component():
    ends = np.random.default_rng(0).permutation(20_000)
    batches = [(ends[k : k + 500], ends[k + 1 : k + 501], ends[k + 1 : k + 501]) for k in range(0, 19_500, 500)]
    found = wiring.components(20_000, batches)
    assert (found[ends[:19_501]] == 0).all() and len(np.unique(found)) == 500
