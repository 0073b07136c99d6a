"""Figures of the wiring: the graph of its foremost neurites, and the matrix, sorted by community."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .tables import pick, rows_in

NODES_SHOWN = 60  # of the graph
ROWS_SHOWN = 200  # of the matrix
ENDS = ("pre_root_id", "post_root_id")


def foremost(tables: Path, most: int) -> tuple[dict[str, np.ndarray], int, dict[str, np.ndarray]]:
    """The neurites of highest PageRank, how many there are in all, and the edges among those."""
    nodes, total = pick(tables / "nodes.parquet", ("root_id", "pagerank"), lambda rows: rows["root_id"] > 0, most)
    edges, _ = pick(
        tables / "edges.parquet",
        (*ENDS, "weight"),
        lambda rows: np.isin(rows[ENDS[0]], nodes["root_id"]) & np.isin(rows[ENDS[1]], nodes["root_id"]),
        most**2,
    )
    return nodes, total, edges


def graph(tables: Path, seed: int) -> Any:
    """The neurites of highest PageRank and the edges among them."""
    import matplotlib.pyplot as plt
    import networkx as nx

    figure, ax = plt.subplots(figsize=(8, 7), layout="constrained")
    ax.axis("off")
    nodes, total, edges = foremost(tables, NODES_SHOWN)
    shown, rank = nodes["root_id"].tolist(), nodes["pagerank"]
    title = f"Wiring graph: {total} neurites, {rows_in(tables / 'edges.parquet')} edges"
    if not shown:
        ax.set_title(title + " (empty)")
        return figure
    net: Any = nx.DiGraph()
    net.add_nodes_from(shown)
    net.add_weighted_edges_from(zip(*(column.tolist() for column in edges.values())))
    place = nx.spring_layout(net, seed=seed, k=2.0 / np.sqrt(len(shown)), iterations=80)
    weights = np.array([d["weight"] for *_, d in net.edges(data=True)], float)
    draw_edges(ax, np.array([(place[a], place[b]) for a, b in net.edges()]).reshape(-1, 2, 2), weights)
    nx.draw_networkx_nodes(
        net,
        place,
        ax=ax,
        node_size=60 + 500 * rank / rank.max(),
        node_color=rank,
        cmap="viridis",
        edgecolors="white",
        linewidths=0.6,
    )
    nx.draw_networkx_labels(
        net,
        place,
        {n: str(n) for n in shown[:10]},
        font_size=7,
        ax=ax,
        bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.6, "edgecolor": "none"},
    )
    if total > len(shown):
        title += f"; the {len(shown)} of highest PageRank"
    ax.set_title(title)
    return figure


def draw_edges(ax: Any, ends: np.ndarray, weights: np.ndarray) -> None:
    """All edges (n, 2, 2: from, to; x, y) as two collections; a patch per arrow would take seconds."""
    from matplotlib.collections import LineCollection, PolyCollection

    along = ends[:, 1] - ends[:, 0]
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    # Each direction of a pair keeps to its own side, and the head stands clear of the node.
    shifted = ends + 0.006 * across[:, None]
    tip = shifted[:, 1] - 0.03 * along
    heads = np.stack([tip, tip - 0.018 * along + 0.005 * across, tip - 0.018 * along - 0.005 * across], 1)
    width = 0.3 + 2.2 * weights / weights.max(initial=1)
    shafts = list(np.stack([shifted[:, 0], tip], 1))
    ax.add_collection(LineCollection(shafts, linewidths=width, colors="#4a5a6a", alpha=0.45))
    ax.add_collection(PolyCollection(list(heads), facecolors="#4a5a6a", alpha=0.7, linewidths=0))


def matrix(tables: Path, seed: int) -> Any:
    """Synapses from each (row) onto each (column) of the foremost neurites; those that talk to each other stand together."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    figure, ax = plt.subplots(figsize=(7.6, 7), layout="constrained")
    nodes, total, edges = foremost(tables, ROWS_SHOWN)
    ids, title = nodes["root_id"], f"Wiring matrix: {total} neurites"
    if not len(edges["weight"]):
        ax.axis("off")
        ax.set_title(title + " (empty)")
        return figure
    order, sizes = by_community(ids, edges, seed)
    place = {root: n for n, root in enumerate(ids[order].tolist())}
    pre, post = ([place[root] for root in edges[end].tolist()] for end in ENDS)
    weight = np.full((len(ids), len(ids)), np.nan)
    weight[pre, post] = edges["weight"]
    shown = ax.imshow(weight, cmap="viridis_r", norm=LogNorm(1, max(float(np.nanmax(weight)), 2)), interpolation="nearest")
    steps = [m * 10**e for e in range(6) for m in (1, 2, 5) if m * 10**e <= shown.norm.vmax]
    bar = figure.colorbar(shown, ax=ax, label="synapses", shrink=0.7)
    bar.set_ticks(steps, labels=[str(step) for step in steps], minor=False)
    bar.minorticks_off()
    for edge in np.cumsum([0, *sizes]):
        ax.axhline(edge - 0.5, color="0.75", lw=0.6)
        ax.axvline(edge - 0.5, color="0.75", lw=0.6)
    if len(ids) <= NODES_SHOWN:
        for axis, turn in ((ax.xaxis, 90), (ax.yaxis, 0)):
            axis.set_ticks(range(len(ids)), [str(root) for root in ids[order]], fontsize=6, rotation=turn)
    else:
        ax.set(xticks=[], yticks=[])
    ax.set(xlabel="postsynaptic", ylabel="presynaptic")
    title += f"; the {len(ids)} of highest PageRank" if total > len(ids) else ""
    ax.set_title(f"{title}\n{len(sizes)} communities, largest first")
    return figure


def by_community(ids: np.ndarray, edges: dict[str, np.ndarray], seed: int) -> tuple[np.ndarray, list[int]]:
    """Order of neurites by community (Louvain: Blondel et al. 2008, both directions added), and how many each has.

    Communities from the largest, neurites in each by their synapses."""
    import networkx as nx

    net: Any = nx.Graph()
    net.add_nodes_from(ids.tolist())
    for pre, post, weight in zip(*(edges[name].tolist() for name in (*ENDS, "weight"))):
        before = net.get_edge_data(pre, post, {"weight": 0})["weight"]
        net.add_edge(pre, post, weight=before + weight)
    found = sorted(nx.community.louvain_communities(net, seed=seed), key=lambda some: (-len(some), min(some)))
    where = {root: n for n, root in enumerate(ids.tolist())}
    strength = dict(net.degree(weight="weight"))
    order = [where[root] for some in found for root in sorted(some, key=lambda root: (-strength[root], root))]
    return np.array(order), [len(some) for some in found]
