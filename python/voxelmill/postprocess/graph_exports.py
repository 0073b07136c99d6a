"""Exports of a wiring graph for other tools: GraphML, an edge list, and the tables that neuPrint is made from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .wiring import columns_of

GRAPHML = (
    "<?xml version='1.0' encoding='utf-8'?>\n"
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns '
    'http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">\n'
)
NODE = dict.fromkeys(("in_degree", "out_degree", "in_partners", "out_partners"), "long")
NODE |= {"pagerank": "double", "component": "long", "reciprocity": "double"}
EDGE = {"weight": "long", "sum_score": "double"}


def write_graph(folder: Path, tables: Path) -> None:
    """`wiring.graphml` (Brandes et al. 2002) and `edges.txt` (pre post weight, one edge a line), from the tables."""
    with ExitStack() as stack:
        graph, pairs = (
            stack.enter_context(open(folder / name, "w", encoding="utf-8")) for name in ("wiring.graphml", "edges.txt")
        )
        graph.write(GRAPHML)
        for what, kinds in (("node", NODE), ("edge", EDGE)):
            for name, kind in kinds.items():
                graph.write(f'  <key id="{name}" for="{what}" attr.name="{name}" attr.type="{kind}"/>\n')
        graph.write('  <graph edgedefault="directed">\n')
        node = '    <node id="%s">' + "".join(f'<data key="{name}">%r</data>' for name in NODE) + "</node>\n"
        for found in columns_of(tables / "nodes.parquet", "root_id", *NODE):
            graph.writelines(node % row for row in zip(*(column.tolist() for column in found)))
        edge = '    <edge source="%s" target="%s">' + "".join(f'<data key="{n}">%r</data>' for n in EDGE) + "</edge>\n"
        for found in columns_of(tables / "edges.parquet", "pre_root_id", "post_root_id", *EDGE):
            rows = list(zip(*(column.tolist() for column in found)))
            graph.writelines(edge % row for row in rows)
            pairs.writelines(f"{pre} {post} {weight}\n" for pre, post, weight, _ in rows)
        graph.write("  </graph>\n</graphml>\n")


# Columns as neuPrint's import into Neo4j has them: `name:type`, the ids of nodes, and those of both ends of relations.
# A synapse is two sites, 2 id (pre) and 2 id + 1 (post); those between two neurites make two sets, numbered likewise.
PAIRS = """(SELECT 2 * id AS site, 2 * (e.file_row_number + 1) AS many, pre_root_id AS pre, post_root_id AS post, score,
    z, y, x
    FROM read_parquet($files) AS s JOIN read_parquet($edges, file_row_number = true) AS e
    ON pre_pt_root_id = pre_root_id AND post_pt_root_id = post_root_id WHERE score >= CAST($min_score AS FLOAT))"""
SITES = f"""(SELECT site, many, 'pre' AS type, pre AS body, score, z, y, x FROM {PAIRS}
    UNION ALL SELECT site + 1, many + 1, 'post', post, score, z, y, x FROM {PAIRS})"""
QUERIES = {  # table, and what is taken of it
    "Neurons": (
        "nodes",
        """SELECT root_id AS ":ID(Body-ID)", root_id AS "bodyId:long", out_degree AS "pre:int", in_degree AS "post:int",
        in_degree AS "upstream:int", out_degree AS "downstream:int", in_degree + out_degree AS "synweight:int",
        'Segment;Neuron' AS ":LABEL" FROM read_parquet($files) ORDER BY root_id""",
    ),
    "Neuron_Connections": (
        "edges",
        """SELECT pre_root_id AS ":START_ID(Body-ID)", weight AS "weight:int", weight AS "weightHP:int",
        post_root_id AS ":END_ID(Body-ID)", '{}' AS "roiInfo:string" FROM read_parquet($files) ORDER BY ALL""",
    ),
    "Synapses": (
        "synapses",
        f"""SELECT site AS ":ID(Syn-ID)", type AS "type:string", score AS "confidence:float",
        '{{x:' || x || ', y:' || y || ', z:' || z || '}}' AS "location:point{{srid:9157}}", 'Synapse' AS ":LABEL"
        FROM {SITES} ORDER BY site""",
    ),
    "Synapse_Connections": (
        "synapses",
        f"""SELECT site AS ":START_ID(Syn-ID)", site + 1 AS ":END_ID(Syn-ID)" FROM {PAIRS} ORDER BY site""",
    ),
    "SynapseSet": (
        "synapses",
        f"""SELECT DISTINCT many AS ":ID(SynSet-ID)", 'SynapseSet' AS ":LABEL" FROM {SITES} ORDER BY many""",
    ),
    "SynapseSet_to_Synapses": (
        "synapses",
        f"""SELECT many AS ":START_ID(SynSet-ID)", site AS ":END_ID(Syn-ID)" FROM {SITES} ORDER BY ALL""",
    ),
    "SynapseSet_to_SynapseSet": (
        "synapses",
        f"""SELECT DISTINCT many AS ":START_ID(SynSet-ID)", many + 1 AS ":END_ID(SynSet-ID)" FROM {PAIRS} ORDER BY ALL""",
    ),
    "Neuron_to_SynapseSet": (
        "synapses",
        f"""SELECT DISTINCT body AS ":START_ID(Body-ID)", many AS ":END_ID(SynSet-ID)" FROM {SITES} ORDER BY ALL""",
    ),
}


def write_neuprint(folder: Path, tables: Path, query: Callable[..., Any], min_score: float) -> None:
    """`Neuprint_*.csv`, by queries of `graph.database`; positions are voxels of the published volume."""
    import pyarrow.csv as csv

    folder.mkdir()
    for name, (table, sql) in QUERIES.items():
        more = {"min_score": min_score, "edges": str(tables / "edges.parquet")} if table == "synapses" else {}
        rows = query(sql, [tables / f"{table}.parquet"], **more)
        with csv.CSVWriter(folder / f"Neuprint_{name}.csv", rows.schema) as file:
            for batch in rows:
                file.write_batch(batch)
