"""Scores of the same supervoxels under another merge table: from how many voxels each shares with each true segment.

`evaluate` leaves the shares (`tables/truth_overlap.parquet`: `region, border, truth, supervoxel, voxels`); a merge table says
which supervoxels are one. Neither the truth nor a volume is read again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.volume import Region
from . import score_regions
from .score import TOLERANCE, Contingency

OVERLAP = "tables/truth_overlap.parquet"
Tables = dict[int, Contingency]  # by border


def write(path: Path, tables: Tables, parts: dict[str, Contingency]) -> None:
    """Shares of supervoxels: with a border left out, of the whole; without, of each part, which add up to it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    some = [(name, 0, table) for name, table in parts.items()] + [("", b, table) for b, table in tables.items() if b]
    columns: dict[str, list[Any]] = {name: [] for name in ("region", "border", "truth", "supervoxel", "voxels")}
    for region, border, table in some:
        rows = table.rows()
        for name, values in zip(columns, (np.full(len(rows[0]), region), np.full(len(rows[0]), border), *rows), strict=True):
            columns[name].append(values)
    pq.write_table(pa.table({name: np.concatenate(values) for name, values in columns.items()}), path, compression="zstd")


def read(path: Path) -> tuple[Tables, dict[str, Contingency]]:
    """As `write` was given them, with the whole without border."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found = {name: table[name].to_numpy() for name in table.column_names}
    tables: Tables = {0: Contingency(), TOLERANCE: Contingency(border=TOLERANCE)}
    parts: dict[str, Contingency] = {}
    for region, border in sorted(set(zip(found["region"].tolist(), found["border"].tolist(), strict=True))):
        at = (found["region"] == region) & (found["border"] == border)
        rows = Contingency.of(*(found[name][at] for name in ("truth", "supervoxel", "voxels")), border=border)
        if border:
            tables[border] = rows
        else:
            parts[region] = rows
            tables[0].merge(rows)
    return tables, parts


def figures(tables: Tables) -> dict[str, Any]:
    """All figures of a segmentation that its tables tell; without a border, and with."""
    scores: dict[str, Any] = {f"border_{border}": table.result() for border, table in tables.items() if border}
    faults = tables[TOLERANCE].faults()
    return scores | tables[0].result() | {"splits": int((faults.pieces - 1).sum()), "merges": int((faults.merged - 1).sum())}


def rescored(
    path: Path, supervoxels: np.ndarray, roots: np.ndarray, boxes: dict[str, Region]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `score.json` and `evaluation.json` have them, but for what is along skeletons.

    Args:
        supervoxels, roots: the merge table, ascending; root 0 is background.
        boxes: of the parts.

    Raises DataError where no voxel is left to score, or for shares of other supervoxels."""
    tables, parts = read(path)
    scores = figures({border: table.renamed(supervoxels, roots) for border, table in tables.items()})
    now = {name: parts.get(name, Contingency()).renamed(supervoxels, roots) for name in boxes}
    return scores, {"default": scores, "regions": {n: score_regions.figures(now[n], box) for n, box in boxes.items()}}
