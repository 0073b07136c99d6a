"""Whole tables of a release, part by part, and the traces of cells of a time-lapse release."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from . import limits
from .index import EDGES, NEURONS, NODES
from .regions import MERGE, SYNAPSES
from .store import reading

TABLES = {"synapses": SYNAPSES, "edges": EDGES, "nodes": NODES, "neurons": NEURONS, "merge": f"{MERGE}/"}
TRACES = re.compile(r"^(fov_[0-9]+)/[^/]*_traces\.csv$")


def tables(names: Iterable[str]) -> dict[str, list[str]]:
    """Of the files of a release those of each table, in order."""
    listed = sorted(names)
    found = {t: [n for n in listed if n == at or (at.endswith("/") and n.startswith(at))] for t, at in TABLES.items()}
    return {table: files for table, files in found.items() if files}


def traces(names: Iterable[str]) -> dict[str, str]:
    """Field of view -> its file of traces."""
    return {found[1]: name for name in sorted(names) if (found := TRACES.match(name))}


def rows(paths: Sequence[Path], start: int, count: int) -> tuple[Any, int]:
    """Rows of a table in several Parquet files, and how many there are in all; only the row groups asked for are read.

    Raises DataError for a file that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts, at = [], 0
    schema: Any = None
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schema = schema or file.schema_arrow
                for group in range(file.num_row_groups):
                    limits.check()
                    n = file.metadata.row_group(group).num_rows
                    first, last = max(start - at, 0), min(start + count - at, n)
                    if first < last:
                        parts.append(file.read_row_group(group).slice(first, last - first))
                    at += n
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: {' '.join(str(error).split())}; `voxelmill release verify` says more") from None
    return (pa.concat_tables(parts) if parts else schema.empty_table()), at


def encoded(table: Any, parquet: bool) -> bytes:
    """An Arrow stream, or a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    if parquet:
        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def of_cells(path: Path, cell: int | None = None) -> list[dict[str, Any]]:
    """Rows of a file of traces, of one cell; or, of all cells, in how many frames each is seen and the first and last."""
    import pyarrow.compute as pc
    import pyarrow.csv

    with reading(path):
        table = pyarrow.csv.read_csv(path)
        if cell is None:
            found = table.group_by("cell").aggregate([("frame", "count"), ("frame", "min"), ("frame", "max")]).sort_by("cell")
            names = {"cell": "cell", "frame_count": "frames", "frame_min": "first", "frame_max": "last"}
            return [{names[k]: v for k, v in row.items()} for row in found.to_pylist()]
        own = table.filter(pc.equal(table["cell"], cell)).sort_by("frame").to_pylist()
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in own]
