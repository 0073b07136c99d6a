"""The run log: `OUTDIR/runs.sqlite`, the classic notebook's `runs` table with more columns.

Standard library only: the head node may have nothing else installed.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

COLUMNS = {
    "run_id": "TEXT PRIMARY KEY",
    "dataset_uri": "TEXT",
    "cutout_x": "INTEGER",
    "cutout_y": "INTEGER",
    "cutout_z": "INTEGER",
    "created_at": "TEXT",
    "meta_json": "TEXT",  # as the notebook has them
    "status": "TEXT",
    "workflow": "TEXT",
    "session_id": "TEXT",
    "finished_at": "TEXT",
    "profile": "TEXT",
    "command": "TEXT",
    "revision": "TEXT",
    "code_version": "TEXT",
    "nextflow_version": "TEXT",
    "resumed": "INTEGER",
    "tasks_done": "INTEGER",
    "tasks_cached": "INTEGER",
    "tasks_failed": "INTEGER",
    "tasks_ignored": "INTEGER",
    "error": "TEXT",
}

# Quality figures whose names begin so are what a user must know of: in the closing lines and in the report.
REMARKS = ("sections_", "left_out", "empty_", "failed", "notes")


def open_log(path: Path) -> sqlite3.Connection:
    """Open or make the log; columns that an older log lacks are added."""
    con = sqlite3.connect(path, timeout=30)
    con.execute(f"CREATE TABLE IF NOT EXISTS runs ({', '.join(f'{n} {t}' for n, t in COLUMNS.items())})")
    have = {row[1] for row in con.execute("PRAGMA table_info(runs)")}
    for name, kind in COLUMNS.items():
        if name not in have:
            con.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
    return con


def log(outdir: str, facts: dict[str, Any]) -> None:
    """Insert the run, or bring its row up to date when it has ended."""
    from .. import __version__

    options = facts["params"]
    cutout: list[int | None] = [int(v) for v in str(options.get("cutout") or "").split(",") if v]
    cutout = cutout if len(cutout) == 3 else [None] * 3
    row = {
        "run_id": facts["run_id"],
        "dataset_uri": options.get("input"),
        "cutout_x": cutout[0],
        "cutout_y": cutout[1],
        "cutout_z": cutout[2],
        "meta_json": json.dumps(facts, sort_keys=True),
        "status": facts["status"],
        "workflow": options.get("workflow"),
        "session_id": facts["session_id"],
        "profile": facts["profile"],
        "command": facts["command"],
        "revision": facts["revision"],
        "code_version": __version__,
        "nextflow_version": facts["nextflow_version"],
        "resumed": int(bool(facts["resume"])),
        "error": facts["error"],
        **{k: facts.get(k) for k in ("tasks_done", "tasks_cached", "tasks_failed", "tasks_ignored")},
    }
    Path(outdir).mkdir(parents=True, exist_ok=True)
    con = open_log(Path(outdir) / "runs.sqlite")
    with con:
        con.execute(
            "INSERT INTO runs (run_id, created_at) VALUES (?, datetime('now')) ON CONFLICT(run_id) DO NOTHING",
            (row["run_id"],),
        )
        con.execute(f"UPDATE runs SET {', '.join(f'{k} = ?' for k in row)} WHERE run_id = ?", (*row.values(), row["run_id"]))
        if row["status"] != "running":
            con.execute("UPDATE runs SET finished_at = datetime('now') WHERE run_id = ?", (row["run_id"],))
    con.close()
    if row["status"] == "finished" and not facts.get("stub"):
        print("\n".join(closing_lines(Path(outdir))))


def closing_lines(outdir: Path) -> list[str]:
    """What a person wants to know at the end: where things are, and the score."""
    places = {
        "report": "report.html",
        "figures": "figures",
        "tables": "tables",
        "volume": "volumes/aligned.ome.zarr",
        "graph": "graph/wiring.graphml",
        "traces": "fov_000",
    }
    lines = ["", "Voxelmill has finished."]
    lines += [f"  {name:8} {outdir / where}" for name, where in places.items() if (outdir / where).exists()]
    score = outdir / "tables/score.json"
    if score.exists():
        found = json.loads(score.read_text())
        lines.append(
            "  score    " + ", ".join(f"{k} {found[k]:.3f}" for k in ("voi_split", "voi_merge", "arand") if k in found)
        )
    return lines + [f"  NOTE     {remark}" for remark in remarks(outdir / "provenance")]


def remarks(records: Path) -> list[str]:
    """What was left out, bridged or assumed, from the records of all tasks; never silent."""
    found: dict[str, None] = {}
    for path in sorted(records.glob("*.provenance.json")):
        record = json.loads(path.read_text() or "{}")
        for name, value in record.get("quality", {}).items():
            if value and name.startswith(REMARKS):
                found[f"{record['stage']}: {name.replace('_', ' ')}: {plain(value)}"] = None
    return list(found)


def plain(value: Any) -> str:
    """A quality figure as a person reads it."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(of)}" for key, of in value.items())
    return ", ".join(map(plain, value)) if isinstance(value, list) else str(value)


def table(outdir: Path) -> list[dict[str, Any]]:
    """All runs of a folder, oldest first."""
    con = open_log(outdir / "runs.sqlite")
    con.row_factory = sqlite3.Row
    rows = [dict(r) for r in con.execute("SELECT * FROM runs ORDER BY created_at, rowid")]
    con.close()
    return rows
