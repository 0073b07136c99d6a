"""Summarize: one line for every field of view, and what was done to it, from the records of all tasks.

processing_config.yaml   metadata of the movie, channels, parameters, results
fovs.csv                 per field of view: size, status, tracks, cells found and kept, and why not
"""

from __future__ import annotations

import csv
import json
from typing import Any

from ..core.errors import DataError
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, InFiles, Out
from ..timelapse.store import Facts, fov_name

COLUMNS = (
    "fov",
    "name",
    "height",
    "width",
    "frames",
    "status",
    "stage",
    "reason",
    "blank_frames",
    "saturated_frames",
    "repeated_frames",
    "empty_frames",
    "tracks",
    "divisions",
    "cells",
    "kept",
    "short",
    "border",
    "saturated_pixels",
)


class Parameters(Strict):
    """Summary."""


def run(p: Parameters, task: Task, *, facts: In, records: InFiles, config: Out, fovs: Out) -> None:
    known = Facts.read(facts)
    found = sorted(
        (json.loads(f.read_text()) for f in records.rglob("*.provenance.json") if f.stat().st_size),
        key=lambda r: (r["stage"], r["block"]),
    )
    rows = [row_of(known, fov, found) for fov in known.chosen]
    failed = {row["fov"]: f"{row['stage']}: {row['reason']}" for row in rows if row["status"] == "failed"}
    if len(failed) == len(rows):
        raise DataError(f"no field of view could be processed; {failed[rows[0]['fov']]}")
    with open(fovs, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    config.write_text(as_yaml(known, found, rows), encoding="utf-8")
    total = {key: sum(row.get(key) or 0 for row in rows) for key in ("tracks", "divisions", "cells", "kept")}
    task.report(fovs=len(rows) - len(failed), fovs_left_out=len(failed), **total)


def row_of(known: Facts, fov: int, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The line of one field of view."""
    view = known.views[fov]
    row: dict[str, Any] = {
        "fov": fov,
        "name": view.name,
        "height": view.height,
        "width": view.width,
        "frames": view.n_frames,
        "status": "done",
    }
    for record in records:
        figures = record["quality"].get("per_fov", {}).get(str(fov), {})
        row |= {key: figures[key] for key in COLUMNS if key in figures}
        reason = record.get("left_out", {}).get(fov_name(fov))
        if reason:
            row |= {"status": "failed", "stage": record["stage"], "reason": reason}
    return row


def as_yaml(known: Facts, records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """`processing_config.yaml`."""
    import yaml

    params: dict[str, Any] = {}
    for record in records:
        params |= record["params"]
    phase, each = params.get("pc_features", []), params.get("fl_features", [])
    metadata = {k: v for k, v in known.known.items() if k not in ("chosen", "pc_channel", "fl_channels")}

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(
        {
            "metadata": metadata,
            "channels": {
                "pc": None if known.phase is None else {"channel": known.phase, "features": phase},
                "fl": [{"channel": c, "features": each} for c in known.fluorescence],
            },
            "params": params,
            "results": {
                "time_units": "min",
                "fovs": [
                    {"fov": row["fov"], "folder": fov_name(row["fov"]), "status": row["status"]}
                    | ({"stage": row["stage"], "reason": row["reason"]} if row["status"] == "failed" else {})
                    for row in rows
                ],
            },
        },
        Dumper=Plain,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
