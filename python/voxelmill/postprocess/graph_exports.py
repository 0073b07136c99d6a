"""Exports of a wiring graph for other tools: GraphML, an edge list, and the tables that neuPrint is made from."""

from __future__ import annotations

import tempfile
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
# A density is one site (2 id of its first synapse) with a site (2 id + 1) at each partner; those between two neurites make
# two sets, numbered likewise. Positions are voxels of the published volume.
ROWS = """(SELECT s.*, 2 * (e.file_row_number + 1) AS many
    FROM read_parquet($files) AS s JOIN read_parquet($edges, file_row_number = true) AS e
    ON pre_pt_root_id = pre_root_id AND post_pt_root_id = post_root_id WHERE score >= CAST($min_score AS FLOAT))"""
# Made once, beside the results: all in one query they would be joined again for each table, in more memory than there is.
DENSITIES = f"""SELECT 2 * min(id) AS pre, pre_pt_root_id, z, y, x, max(score) AS score
    FROM {ROWS} GROUP BY pre_pt_root_id, z, y, x"""
JOINED = f"""SELECT d.pre, 2 * id + 1 AS post, many, r.pre_pt_root_id, post_pt_root_id, r.score, r.z, r.y, r.x,
    post_pt_position, ctr_pt_position FROM {ROWS} AS r JOIN read_parquet($densities) AS d
    ON r.pre_pt_root_id = d.pre_pt_root_id AND r.z = d.z AND r.y = d.y AND r.x = d.x"""
PAIRS = "read_parquet($pairs)"
SITES = f"""(SELECT pre AS site, many, pre_pt_root_id AS body FROM {PAIRS}
    UNION ALL SELECT post, many + 1, post_pt_root_id FROM {PAIRS})"""


def _beside(axis: str, k: int) -> str:
    """The voxel of a partner; that of the density where no length is known."""
    steps = f"(post_pt_position[{k}] - ctr_pt_position[{k}]) / CAST($nm_{axis} AS DOUBLE)"
    return f"{axis} + CAST(round(coalesce({steps}, 0)) AS BIGINT) AS {axis}"


BESIDE = ", ".join(_beside(axis, k) for k, axis in enumerate("xyz", 1))
QUERIES = {  # table, and what is taken of it
    "Neurons": (
        "synapses",
        """SELECT root_id AS ":ID(Body-ID)", root_id AS "bodyId:long", coalesce(many, 0) AS "pre:int",
        in_degree AS "post:int", in_degree AS "upstream:int",
        out_degree AS "downstream:int", in_degree + out_degree AS "synweight:int",
        'Segment;Neuron' AS ":LABEL" FROM read_parquet($nodes)
        LEFT JOIN (SELECT pre_pt_root_id, count(*) AS many FROM read_parquet($densities) GROUP BY pre_pt_root_id)
        ON root_id = pre_pt_root_id ORDER BY root_id""",
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
        FROM (SELECT pre AS site, 'pre' AS type, score, x, y, z FROM read_parquet($densities)
        UNION ALL SELECT post, 'post', score, {BESIDE} FROM {PAIRS}) ORDER BY site""",
    ),
    "Synapse_Connections": (
        "synapses",
        f"""SELECT pre AS ":START_ID(Syn-ID)", post AS ":END_ID(Syn-ID)" FROM {PAIRS} ORDER BY ALL""",
    ),
    "SynapseSet": (
        "synapses",
        f"""SELECT DISTINCT many AS ":ID(SynSet-ID)", 'SynapseSet' AS ":LABEL" FROM {SITES} ORDER BY many""",
    ),
    "SynapseSet_to_Synapses": (
        "synapses",
        f"""SELECT DISTINCT many AS ":START_ID(SynSet-ID)", site AS ":END_ID(Syn-ID)" FROM {SITES} ORDER BY ALL""",
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


def write_neuprint(
    folder: Path, tables: Path, query: Callable[..., Any], min_score: float, nm: dict[str, float | None]
) -> None:
    """`Neuprint_*.csv`, by queries of `graph.database`. nm: length of a voxel by axis, None where it is not known."""
    import pyarrow.csv as csv
    from pyarrow import parquet

    folder.mkdir()
    given: dict[str, Any] = {"min_score": min_score, **{f"nm_{axis}": size for axis, size in nm.items()}}
    given |= {name: str(tables / f"{name}.parquet") for name in ("edges", "nodes")}

    def rows_of(table: str, sql: str) -> Any:
        return query(sql, [tables / f"{table}.parquet"], **{key: value for key, value in given.items() if f"${key}" in sql})

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for name, sql in (("densities", DENSITIES), ("pairs", JOINED)):
            given[name] = f"{scratch}/{name}.parquet"
            rows = rows_of("synapses", sql)
            with parquet.ParquetWriter(given[name], rows.schema) as made:
                for batch in rows:
                    made.write_batch(batch)
        for name, (table, sql) in QUERIES.items():
            rows = rows_of(table, sql)
            with csv.CSVWriter(folder / f"Neuprint_{name}.csv", rows.schema) as file:
                for batch in rows:
                    file.write_batch(batch)
