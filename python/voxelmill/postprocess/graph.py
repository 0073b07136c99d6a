"""Graph: synapse candidates into a directed, weighted wiring graph, its statistics and its exports.

    synapses  one row a candidate, columns as CAVE names them: points in nm (x, y, z), supervoxel and root id of each side
    edges     one row an ordered pair: number of synapses (the weight), summed score
    nodes     one row a neurite that has a synapse: degrees, PageRank, component, reciprocity
    motifs    one row a motif of three neurites: how often, and how often in graphs of equal degrees

No table is in memory as a whole: DuckDB sorts and groups on disk within a quarter of the task's memory, rows pass
by in batches, and only some 150 bytes a node are held. No result depends on how candidates are divided into files.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, StorageError
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..core.volume import open_image
from . import graph_exports, motifs, wiring
from .blobs import CELL

ROWS = wiring.ROWS  # in memory at a time, and in a row group


class Parameters(Params):
    """Wiring graph."""

    min_score: float = param(0.10, "Candidates below this score make no edge", ge=0, le=1)
    neuprint: bool = param(True, "Write the graph also as the tables that neuPrint is made from")


# Sorted for `write_best`: 1e7 rows sort within 64 MB; a window function needs over 100, and in proportion to the rows.
CELLS = f"""
    SELECT * FROM read_parquet($files)
    ORDER BY z, y // {CELL}, x // {CELL}, pre_pt_root_id, post_pt_root_id, score DESC, y, x, size"""


def _nm(axis: str, column: str) -> str:
    return f"CAST($at_{axis} AS DOUBLE) + {column} * CAST($nm_{axis} AS DOUBLE)"


def _point(side: str) -> str:
    """The columns of one side of a synapse; its point is (x, y, z)."""
    point = f"array_value({_nm('x', side + '_x')}, {_nm('y', side + '_y')}, {_nm('z', side + '_z')})"
    return f"{point} AS {side}_pt_position, {side}_pt_supervoxel_id, {side}_pt_root_id"


SYNAPSES = f"""
    SELECT {_point("pre")}, {_point("post")},
    array_value({_nm("x", "x")}, {_nm("y", "y")}, {_nm("z", "z")}) AS ctr_pt_position,
    CAST(size AS BIGINT) AS size, score, true AS valid, z, y, x,
    {_nm("z", "z")} AS z_nm, {_nm("y", "y")} AS y_nm, {_nm("x", "x")} AS x_nm FROM read_parquet($files)
    ORDER BY score DESC, z, y, x, pre_pt_root_id, post_pt_root_id"""

POINTS = ", ".join(f"CAST(s.{side}_pt_position AS DOUBLE[3]) AS {side}_pt_position" for side in ("pre", "post", "ctr"))
REWIRED = f"""
    SELECT s.* REPLACE (CAST(coalesce(a.root_id, s.pre_pt_root_id) AS UBIGINT) AS pre_pt_root_id,
    CAST(coalesce(b.root_id, s.post_pt_root_id) AS UBIGINT) AS post_pt_root_id, {POINTS}) FROM read_parquet($synapses) AS s
    LEFT JOIN read_parquet($files) AS a ON s.pre_pt_supervoxel_id = a.supervoxel
    LEFT JOIN read_parquet($files) AS b ON s.post_pt_supervoxel_id = b.supervoxel ORDER BY id"""

# A neurite with itself makes no edge. Scores are summed as whole steps of 2^-40 (exact from 2e-5 on, where a
# float32 is a multiple of them), so that the order of the rows does not matter.
EDGES = """
    SELECT pre_pt_root_id AS pre_root_id, post_pt_root_id AS post_root_id, count(*) AS weight,
           CAST(sum(CAST(CAST(score AS DOUBLE) * pow(2, 40) AS BIGINT)) AS DOUBLE) / pow(2, 40) AS sum_score
    FROM read_parquet($files) WHERE score >= CAST($min_score AS FLOAT) AND pre_pt_root_id <> post_pt_root_id
    GROUP BY ALL ORDER BY ALL"""

NODES = """
    SELECT pre_root_id AS root_id FROM read_parquet($files) UNION SELECT post_root_id FROM read_parquet($files)
    ORDER BY root_id"""

MUTUAL = """
    SELECT least(pre_root_id, post_root_id) AS a, greatest(pre_root_id, post_root_id) AS b FROM read_parquet($files)
    GROUP BY a, b HAVING count(*) = 2"""


def run(
    p: Parameters, task: Task, *, candidates: list[In], labels: In, tables: OutFiles, graph: OutFiles, memory_mb: int = 1024
) -> None:
    space = open_image(labels).space
    nm: dict[str, float | None] = {}
    for axis, size, at in zip("zyx", space.scale, space.origin, strict=True):  # NULL where no length is known
        nm |= {f"nm_{axis}": size if space.known else None, f"at_{axis}": at if space.known else None}
    frame = space.frame()
    tables.mkdir()
    (tables / "frame.json").write_text(json.dumps(frame, indent=1) + "\n")
    graph.mkdir()
    synapses = tables / "synapses.parquet"
    with database(memory_mb // 4) as (query, scratch):
        write_best(scratch / "best.parquet", query(CELLS, candidates))
        found = write_table(tables / "synapses", numbered(query(SYNAPSES, [scratch / "best.parquet"], **nm)), frame)
        pairs = write_table(tables / "edges", query(EDGES, [synapses], min_score=p.min_score))
        finish(p, task, query, scratch, tables, graph, frame)
    task.report(synapses=found, edges=pairs)


def rewire(p: Parameters, task: Task, old: Path, merge: list[Path], tables: Path, graph: Path, memory_mb: int = 1024) -> None:
    """Tables of a finished run (`old`) with root ids of another merge table (parts of it), and what follows from them."""
    frame = json.loads((old / "frame.json").read_text())
    with database(memory_mb // 4) as (query, scratch):
        rows = query(REWIRED, merge, synapses=str(old / "synapses.parquet"))
        write_table(tables / "synapses", rows, frame)
        write_table(tables / "edges", query(EDGES, [tables / "synapses.parquet"], min_score=p.min_score))
        finish(p, task, query, scratch, tables, graph, frame)


def finish(p: Parameters, task: Task, query: Any, scratch: Path, tables: Path, graph: Path, frame: dict[str, Any]) -> None:
    """What follows from the tables of synapses and edges."""
    nodes, counted = node_table(query, tables / "edges.parquet", scratch / "edges")
    write_table(tables / "nodes", nodes.to_reader())
    write_table(tables / "motifs", counted.to_reader())
    graph_exports.write_graph(graph, tables)
    if p.neuprint:
        nm = dict(zip("zyx", frame.get("scale_nm") or [None] * 3))
        graph_exports.write_neuprint(graph / "neuprint", tables, query, p.min_score, nm)
    if not len(counted):
        task.report(motifs="not counted: too many edges, or paths of two edges")
    task.report(nodes=len(nodes))


@contextmanager
def database(limit_mb: int) -> Iterator[tuple[Any, Path]]:
    """(query, folder for files that are removed at the end); `query` gives a reader of Arrow batches.

    Raises:
        MemoryError: `limit_mb` does not suffice.
        DataError: an input file is no Parquet.
        StorageError: a file cannot be read, or the disk is full.
    """
    import tempfile

    import duckdb

    def query(sql: str, files: list[Path], **values: float | str | None) -> Any:
        given = {"files": [str(path) for path in files], **values} if "$files" in sql else values
        return con.sql(sql, params=given).to_arrow_reader(ROWS)

    with tempfile.TemporaryDirectory(dir=".", prefix="graph-") as folder:
        con = duckdb.connect(
            config={
                "memory_limit": f"{limit_mb}MB",
                "threads": 1,
                "temp_directory": f"{folder}/db",
                "preserve_insertion_order": False,
            }
        )
        con.execute("SET enable_progress_bar = false")
        try:
            yield query, Path(folder)
        except duckdb.OutOfMemoryException as error:
            if "offload" in str(error):  # the disk's free space is the limit it speaks of
                raise StorageError(errno.ENOSPC, f"no space left on the disk that holds {Path.cwd()}") from error
            raise MemoryError(str(error)) from error
        except duckdb.InvalidInputException as error:
            raise DataError(str(error)) from error
        except duckdb.IOException as error:
            raise StorageError(errno.EIO, str(error)) from error
        finally:
            con.close()


def write_best(path: Path, rows: Any) -> None:
    """The best candidate of each pair within 4 x 4 px of a section: the first of each cell of rows sorted as `CELLS`.

    The classic notebook's rule; here applied to the whole volume, so that blocks do not matter."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = np.full((1, 5), -1)
    with pq.ParquetWriter(path, rows.schema) as file:
        for batch in rows:
            values = (batch[name].to_numpy() for name in ("z", "y", "x", "pre_pt_root_id", "post_pt_root_id"))
            cells = np.stack(
                [v // side for v, side in zip(values, (1, CELL, CELL, 1, 1))], 1, dtype=np.int64, casting="unsafe"
            )
            cells = np.concatenate([before, cells])
            first = pa.array((cells[1:] != cells[:-1]).any(1))
            file.write_table(pa.Table.from_batches([batch.filter(first)]))
            before = cells[-1:]


def numbered(rows: Any) -> Any:
    """The rows with an `id` in front, from 1 on."""
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        first = 1
        for batch in rows:
            ids = np.arange(first, first + len(batch), dtype=np.uint64)
            yield pa.record_batch([pa.array(ids), *batch.columns], schema=schema)
            first += len(batch)

    schema = pa.schema([("id", pa.uint64()), *rows.schema])
    return pa.RecordBatchReader.from_batches(schema, batches())


def write_table(stem: Path, rows: Any, frame: dict[str, Any] | None = None) -> int:
    """Parquet (zstd) and CSV of a reader's batches; `frame` goes into the Parquet's metadata. Returns the number of rows.

    A point is one column of the Parquet, and of the CSV three, NAME_x to NAME_z."""
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    total = 0
    schema = rows.schema.with_metadata({"frame": json.dumps(frame)}) if frame else rows.schema
    empty = flat(rows.schema.empty_table())
    with (
        pq.ParquetWriter(stem.with_suffix(".parquet"), schema, compression="zstd") as parquet,
        csv.CSVWriter(stem.with_suffix(".csv"), empty.schema, write_options=csv.WriteOptions(quoting_style="none")) as text,
    ):
        for table in even(rows):
            parquet.write_table(table)
            text.write_table(flat(table))
            total += len(table)
    return total


def flat(table: Any) -> Any:
    """The table with three columns in place of each point."""
    import pyarrow as pa

    made: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type):
            values = column.combine_chunks().flatten() if len(column) else pa.array([], column.type.value_type)
            made |= {f"{name}_{axis}": values[at :: column.type.list_size] for at, axis in enumerate("xyz")}
        else:
            made[name] = column
    return pa.table(made)


def even(rows: Any) -> Iterator[Any]:
    """The reader's rows in tables of `ROWS`: the files must not depend on how it hands them over."""
    import pyarrow as pa

    held, count = [], 0
    for batch in rows:
        held.append(batch)
        count += len(batch)
        while count >= ROWS:
            table = pa.Table.from_batches(held)
            yield table[:ROWS].combine_chunks()
            held, count = table[ROWS:].to_batches(), count - ROWS
    if count:
        yield pa.Table.from_batches(held).combine_chunks()


def node_table(query: Any, edges: Path, scratch: Path) -> tuple[Any, Any]:
    """Weighted degrees, partners, PageRank (weighted, damping 0.85), weak component, share of mutual partners; and motifs.

    Sorted by PageRank, highest first. `scratch` names a file for the edges with nodes numbered, 24 bytes each."""
    import pyarrow as pa

    ids = np.concatenate([np.zeros(0, np.uint64), *(batch["root_id"].to_numpy() for batch in query(NODES, [edges]))])
    numbers = wiring.Edges.write(
        scratch,
        (
            (np.searchsorted(ids, pre), np.searchsorted(ids, post), weight)
            for pre, post, weight in wiring.columns_of(edges, "pre_root_id", "post_root_id", "weight")
        ),
    )
    came, went, before, behind = wiring.degrees(len(ids), numbers)
    partners = before + behind
    mutual = np.zeros(len(ids), np.int64)
    for batch in query(MUTUAL, [edges]):
        for side in batch.columns:
            np.add.at(mutual, np.searchsorted(ids, side.to_numpy()), 2)  # as partner before and behind
    rank = wiring.pagerank(went, numbers)
    order = np.lexsort((ids, -rank))
    table = {
        "root_id": ids,
        "in_degree": came,
        "out_degree": went,
        "in_partners": before,
        "out_partners": behind,
        "pagerank": rank,
        "component": wiring.components(len(ids), numbers),
        "reciprocity": mutual / np.maximum(partners, 1),
    }
    counted = motifs.table(len(ids), *numbers.ends(motifs.MOST_EDGES), int(before @ behind))
    types = [pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.float64()]
    columns = {name: pa.array(column, kind) for (name, column), kind in zip(counted.items(), types, strict=True)}
    return pa.table({name: column[order] for name, column in table.items()}), pa.table(columns)
