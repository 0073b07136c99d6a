"""Scores of the same supervoxels under another merge table: from how many voxels each shares with each true segment, and
which of them the true skeletons run through.

`evaluate` leaves the shares (`tables/truth_overlap.parquet`: `region, border, truth, supervoxel, voxels`) and the edges of
the skeletons (`tables/truth_skeletons.parquet`: `truth, length, supervoxel_a, supervoxel_b`, of both ends); a merge table
says which supervoxels are one. Neither the truth nor a volume is read again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.volume import Region
from . import run_length, score_regions
from .score import TOLERANCE, Contingency, called

OVERLAP, SKELETONS = "tables/truth_overlap.parquet", "tables/truth_skeletons.parquet"
SCORE, EVALUATION = "tables/score.json", "tables/evaluation.json"
LISTED = 1000  # true segments that have a row of their own
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


def write_skeletons(path: Path, bones: run_length.Skeletons, pieces: np.ndarray) -> None:
    """Edges of true skeletons (n nodes), and the supervoxel (n,) of each end, 0 where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ends = dict(zip(("supervoxel_a", "supervoxel_b"), pieces.astype(np.uint64)[bones.edges.T], strict=True))
    columns = {"truth": bones.neurite[bones.edges[:, 0]], "length": bones.length, **ends}
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_skeletons(path: Path) -> tuple[run_length.Skeletons, np.ndarray]:
    """As they were written, each edge with nodes of its own; places are not known."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    truth, length = (table[name].to_numpy() for name in ("truth", "length"))
    edges = np.arange(2 * len(truth)).reshape(2, -1).T
    bones = run_length.Skeletons(np.tile(truth, 2), np.zeros((2 * len(truth), 3), np.int64), edges, length)
    return bones, np.concatenate([table[f"supervoxel_{end}"].to_numpy() for end in "ab"]).astype(np.uint64)


def figures(tables: Tables) -> dict[str, Any]:
    """All figures of a segmentation that its tables tell; without a border, and with."""
    scores: dict[str, Any] = {f"border_{border}": table.result() for border, table in tables.items() if border}
    faults = tables[TOLERANCE].faults()
    return scores | tables[0].result() | {"splits": int((faults.pieces - 1).sum()), "merges": int((faults.merged - 1).sum())}


def scored(
    tables: Tables, bones: run_length.Skeletons, found: np.ndarray, least: float
) -> tuple[dict[str, Any], run_length.Runs]:
    """All figures of a segmentation; `found` are its segments at the nodes of the true skeletons."""
    runs = run_length.runs(bones, found, least)
    along = {"expected_run_length": runs.expected, "expected_run_length_of_truth": runs.longest}
    return figures(tables) | along, runs


def by_segment(table: Contingency, runs: run_length.Runs) -> dict[str, Any]:
    """A row for each of the LISTED largest true segments: pieces, what it is merged with, how far one runs along it."""
    faults = table.faults()
    along = dict(zip(runs.neurite.tolist(), zip(runs.length.tolist(), runs.run.tolist())))
    rows = []
    for n in np.argsort(-faults.voxels, kind="stable")[:LISTED]:
        name = int(faults.truth[n])
        length, run = along.get(name, (0.0, 0.0))
        rows.append(
            {
                "truth": name,
                "voxels": int(faults.voxels[n]),
                "pieces": int(faults.pieces[n]),
                "merged_with": int(faults.others[n]),
                "skeleton_length": round(length, 1),
                "run_length": round(run, 1),
            }
        )
    return {"segments": rows, "segments_in_all": len(faults.truth)}


def rescored(
    path: Path,
    supervoxels: np.ndarray,
    roots: np.ndarray,
    boxes: dict[str, Region],
    skeletons: Path | None = None,
    least: float = 0.0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `score.json` and `evaluation.json` have them, but for the thresholds, which are of an agglomeration.

    Args:
        supervoxels, roots: the merge table, ascending; root 0 is background.
        boxes: of the parts.
        skeletons: edges, and `least` as of `run_length.runs`; without them nothing is said along skeletons.

    Raises DataError where no voxel is left to score, or for shares of other supervoxels."""
    tables, parts = read(path)
    renamed = {border: table.renamed(supervoxels, roots) for border, table in tables.items()}
    told: dict[str, Any] = {}
    if skeletons and skeletons.exists():
        bones, pieces = read_skeletons(skeletons)
        scores, runs = scored(renamed, bones, called(pieces, supervoxels, roots), least)
        told = by_segment(renamed[TOLERANCE], runs)
    else:
        scores = figures(renamed)
    now = {name: parts.get(name, Contingency()).renamed(supervoxels, roots) for name in boxes}
    regions = {name: score_regions.figures(now[name], box) for name, box in boxes.items()}
    return scores, {"default": scores, **told, "regions": regions}


def of_results(before: Path, results: Path, supervoxels: np.ndarray, roots: np.ndarray) -> dict[str, dict[str, Any]]:
    """Scores of results under another merge table, by their paths; none where it is not known what supervoxels share with
    the truth, or where all of the truth is masked.

    Args:
        before: results whose scores say which regions and what unit there are."""
    if not (results / OVERLAP).exists() or not (before / EVALUATION).exists():
        return {}
    told = json.loads((before / EVALUATION).read_text())
    boxes = {name: score_regions.region(row["box"]) for name, row in told.get("regions", {}).items()}
    unit = told.get("default", {}).get("run_length_unit")
    least = run_length.REACH if unit == "nm" else 0.0
    try:
        scores, evaluation = rescored(results / OVERLAP, supervoxels, roots, boxes, results / SKELETONS, least)
    except DataError:
        return {}
    if unit and "expected_run_length" in scores:
        scores["run_length_unit"] = unit
    return {SCORE: scores, EVALUATION: evaluation}
