"""Graph: synapse candidates into a directed, weighted wiring graph, its statistics and its exports.

    synapses  one row a candidate: position in voxels and nm, pre and post root id, score
    edges     one row an ordered pair: number of synapses (the weight), summed score
    nodes     one row a neurite that has a synapse: degrees, PageRank, component, reciprocity
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import open_image


class Parameters(Params):
    """Wiring graph."""

    min_score: float = param(0.10, "Candidates below this score make no edge", ge=0, le=1)


def run(p: Parameters, task: Task, *, candidates: list[In], labels: In, tables: Out, graph: Out) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = open_image(labels)
    rows = pa.concat_tables([pq.read_table(path) for path in candidates])
    synapses = deduplicated({name: rows[name].to_numpy() for name in rows.column_names}, image.scale)
    edges = edge_table(synapses, p.min_score)
    nodes = node_table(edges)
    tables.mkdir()
    for name, table in (("synapses", synapses), ("edges", edges), ("nodes", nodes)):
        write_table(tables / name, table)
    graph.mkdir()
    write_graph(graph, edges, nodes)
    task.report(synapses=len(synapses["id"]), edges=len(edges["weight"]), nodes=len(nodes["node"]))


def deduplicated(found: dict[str, np.ndarray], voxel_size: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Best candidate of each pair within 4 x 4 px of a section, best first; with ids and nm.

    The classic notebook's rule; here applied to the whole volume, so that blocks do not matter."""
    order = np.lexsort((found["x"], found["y"], found["z"], -found["score"].astype(np.float64)))
    found = {name: column[order] for name, column in found.items()}
    key = np.stack([found["z"], found["y"] // 4, found["x"] // 4], 1).astype(np.uint64)
    key = np.concatenate([key, np.stack([found["pre_id"], found["post_id"]], 1).astype(np.uint64)], 1)
    first = np.sort(np.unique(key, axis=0, return_index=True)[1]) if len(key) else np.zeros(0, np.int64)
    found = {name: column[first] for name, column in found.items()}
    nm = {f"{a}_nm": found[a] * s for a, s in zip("zyx", voxel_size)}
    return {"id": np.arange(1, len(first) + 1, dtype=np.uint64), **found, **nm}


def edge_table(synapses: dict[str, np.ndarray], min_score: float) -> dict[str, np.ndarray]:
    """Ordered pairs with their number of synapses; a neurite with itself makes no edge."""
    use = (synapses["score"] >= min_score) & (synapses["pre_id"] != synapses["post_id"])
    pairs = np.stack([synapses["pre_id"][use], synapses["post_id"][use]], 1).astype(np.uint64)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    inverse = np.ravel(inverse)
    weight = np.bincount(inverse, minlength=len(unique))
    total = np.bincount(inverse, synapses["score"][use].astype(np.float64), minlength=len(unique))
    return {"pre_root_id": unique[:, 0], "post_root_id": unique[:, 1], "weight": weight.astype(np.int64),
            "sum_score": total}


def node_table(edges: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weighted degrees, PageRank (weighted, damping 0.85), weak component, share of reciprocated partners.

    Sorted by PageRank, highest first."""
    ids, index = np.unique(np.concatenate([edges["pre_root_id"], edges["post_root_id"]]), return_inverse=True)
    n, m = len(ids), len(edges["weight"])
    pre, post = np.ravel(index)[:m], np.ravel(index)[m:]
    rank = pagerank(n, pre, post, edges["weight"])
    both = np.isin(pre * n + post, post * n + pre) if m else np.zeros(0, bool)
    partners = np.bincount(pre, minlength=n) + np.bincount(post, minlength=n)
    mutual = np.bincount(pre[both], minlength=n) + np.bincount(post[both], minlength=n)
    table = {"node": ids, "in_degree": np.bincount(post, edges["weight"], n).astype(np.int64),
             "out_degree": np.bincount(pre, edges["weight"], n).astype(np.int64), "pagerank": rank,
             "component": components(n, pre, post), "reciprocity": mutual / np.maximum(partners, 1)}
    order = np.lexsort((ids, -rank))
    return {name: column[order] for name, column in table.items()}


def pagerank(n: int, pre: np.ndarray, post: np.ndarray, weight: np.ndarray, damping: float = 0.85) -> np.ndarray:
    """Power iteration (Page et al. 1999) as networkx does it, to 1e-12; equal to it within 1e-6."""
    rank = np.full(n, 1.0 / max(n, 1))
    out = np.bincount(pre, weight, n)
    share = weight / np.maximum(out[pre], 1e-300)
    for _ in range(1000):
        passed = np.bincount(post, rank[pre] * share, n) + rank[out == 0].sum() / max(n, 1)
        new = damping * passed + (1 - damping) / max(n, 1)
        if np.abs(new - rank).sum() < 1e-12:
            return new
        rank = new
    return rank


def components(n: int, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Weakly connected component of each node, numbered by size, largest 0."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not n:
        return np.zeros(0, np.int64)
    _, label = connected_components(coo_matrix((np.ones(len(pre)), (pre, post)), (n, n)), directed=False)
    size = np.bincount(label)
    rank = np.empty(len(size), np.int64)
    rank[np.lexsort((np.arange(len(size)), -size))] = np.arange(len(size))
    return rank[label]


def write_table(stem: Path, table: dict[str, np.ndarray]) -> None:
    """Parquet (zstd) and CSV of one table."""
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    made = pa.table(table)
    pq.write_table(made, stem.with_suffix(".parquet"), compression="zstd")
    csv.write_csv(made, stem.with_suffix(".csv"), csv.WriteOptions(quoting_style="none"))


def write_graph(folder: Path, edges: dict[str, np.ndarray], nodes: dict[str, np.ndarray]) -> None:
    """`wiring.graphml` and `edges.txt` (pre post weight, one edge a line)."""
    import networkx as nx

    graph: Any = nx.DiGraph()
    for values in zip(*(nodes[c].tolist() for c in nodes)):
        row = dict(zip(nodes, values))
        graph.add_node(str(row.pop("node")), **row)
    for pre, post, weight, score in zip(*(edges[c].tolist() for c in edges)):
        graph.add_edge(str(pre), str(post), weight=weight, sum_score=score)
    nx.write_graphml(graph, folder / "wiring.graphml")
    (folder / "edges.txt").write_text("".join(
        f"{a} {b} {w}\n" for a, b, w in zip(*(edges[c].tolist() for c in ("pre_root_id", "post_root_id", "weight")))))
