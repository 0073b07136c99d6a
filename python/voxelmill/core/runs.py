"""The run log: `OUTDIR/runs.sqlite`, the classic notebook's `runs` table with more columns.

Standard library only: the head node may have nothing else installed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

from . import slices

# Folders of a run that hold what it publishes as volumes.
PUBLISHED = ("volumes", ".", "stack", "correct_bias_field", "align_to_ras")
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

LAST = ("report", "create_release")  # the one stage that a workflow ends with

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
    cutout: list[int | None] = [int(v) for v in re.findall(r"\d+", str(options.get("cutout") or ""))]
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
        found = records(Path(outdir))
        write_published(Path(outdir), facts["run_id"], found)
        print("\n".join(closing_lines(Path(outdir), found)))
    elif row["status"] == "failed" and not facts.get("refused"):
        print("\n".join(stopped_lines(facts)))


def volumes_in(outdir: Path) -> list[Path]:
    """The volumes that a run has published, those that come first in it first."""
    return [store for folder in PUBLISHED for store in sorted((outdir / folder).glob("*.ome.zarr"))]


def closing_lines(outdir: Path, found: list[dict[str, Any]]) -> list[str]:
    """What a person wants to know at the end: where things are, and the score."""
    places = {
        "report": "*report.html",
        "figures": "figures",
        "tables": "tables",
        "volume": "volumes/aligned.ome.zarr",
        "stack": "stack/*.ome.zarr",
        "mosaic": "mosaic.ome.zarr",
        "tiles": "tile_positions.csv",
        "graph": "graph/wiring.graphml",
        "images": "fov_*/images.zarr",
        "traces": "fov_*/*_traces.csv",
        "release": "release.json",
    }
    lines = ["", "Voxelmill has finished."]
    lines += [f"  {name:8} {path}" for name, where in places.items() for path in sorted(outdir.glob(where))[:1]]
    if volumes_in(outdir):
        lines.append(f"  viewer   voxelmill view {shlex.quote(str(outdir))}")
    score = outdir / "tables/score.json"
    if score.exists():
        values = json.loads(score.read_text())
        lines.append(
            "  score    " + ", ".join(f"{k} {values[k]:.3f}" for k in ("voi_split", "voi_merge", "arand") if k in values)
        )
    return lines + [f"  NOTE     {remark}" for remark in remarks(found)]


def stopped_lines(facts: dict[str, Any]) -> list[str]:
    """What a person wants to know of a run that has failed, below the engine's long account of it."""
    why = re.findall(r"^\s*(ERROR \[.*)", facts.get("error_report") or "", re.MULTILINE)
    why = why or [line for line in (facts["error"] or "").splitlines() if line.strip()][:1]
    why = why or re.findall(r"^Caused by:\s*(\S.*)", facts.get("error_report") or "", re.MULTILINE)  # no sbatch, say
    asked = re.fullmatch(r"SIG[A-Z]+", "".join(why))  # Ctrl-C, say: there is nothing to mend
    return [
        "",
        "Voxelmill has stopped.",
        *([f"  It was told to, by {asked[0]}."] if asked else [f"  {line}" for line in dict.fromkeys(why)]),
        f"  What is finished is kept: {'' if asked else 'mend the cause and '}give the same command with -resume.",
    ]


def records(outdir: Path) -> list[dict[str, Any]]:
    """The records of the last run that ended well in a folder, whichever run made them: its last task's own, mostly the
    report's, which names all that it read by their digests, and those. Each has its file's name as `record`."""
    folder = outdir / "provenance"
    last = next((path for name in LAST if (path := folder / f"{name}.provenance.json").exists()), None)
    if not last or not last.stat().st_size:  # a stub's are empty
        return []
    wanted = {item["digest"] for item in json.loads(last.read_text())["inputs"]}
    found = []
    for path in sorted(folder.glob("*.provenance.json")):
        text = path.read_bytes()
        if path == last or hashlib.sha256(text).hexdigest() in wanted:
            found.append({**json.loads(text), "record": path.name})
    return found


KINDS = {
    "volume": (".zarr", "zarr.json"),
    "table": (".csv", ".parquet", ".npz", ".json", ".yaml", ".txt", ".xml"),
    "figure": (".png", ".pdf", ".gif", ".svg", ".mp4"),
    "graph": (".graphml",),
    "report": (".html",),
}


def kind_of(path: str) -> str:
    """What a published file is, by its name: one of KINDS, or `file`."""
    return next((kind for kind, ends in KINDS.items() if path.endswith(ends)), "file")


def published(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What lies in a results folder: path, kind, digest and bytes of each file or store, with the stage and the record
    that account for it. A store's files stand in the manifest beside it."""
    rows = [
        {
            "path": made["published"],
            "kind": kind_of(made["published"]),
            "digest": made["digest"],
            "bytes": made["bytes"],
            "stage": record["stage"],
            "record": f"provenance/{record['record']}",
        }
        for record in found
        for made in record["outputs"]
        if "published" in made
    ]
    return sorted(rows, key=lambda row: row["path"])


def write_published(outdir: Path, run: str, found: list[dict[str, Any]]) -> None:
    """`published.json`, whole or not at all: what a catalogue is built from."""
    partial = outdir / "published.json.partial"
    partial.write_text(json.dumps({"format": 1, "run_id": run, "files": published(found)}, indent=1))
    partial.rename(outdir / "published.json")


def remarks(found: list[dict[str, Any]]) -> list[str]:
    """What was left out, bridged or assumed, from the records of all tasks, each said once; never silent.

    A note of a step on a slice (`core/slices.STEPS`) names all slices of which the same is said; a note of one kind
    (`notes_KIND`) that steps on a slice repeat is said of the first of them."""
    said: dict[str, None] = {}
    of_slices: dict[tuple[str, str], list[str]] = {}
    kinds: set[tuple[str, str]] = set()
    for record in sorted(found, key=lambda record: _step(record["stage"])):
        stage, label = record["stage"], slices.label_of(record.get("block") or "")
        for item, why in record.get("left_out", {}).items():
            said[f"{stage}: left out {item}: {why.removeprefix(f'{item}: ')}"] = None
        for name, value in record.get("quality", {}).items():
            if not value or not name.startswith(REMARKS):
                continue
            if not name.startswith("notes"):
                said[f"{stage}: {name.replace('_', ' ')}: {plain(value)}"] = None
                continue
            each = [plain(one) for one in value] if isinstance(value, list) else [plain(value)]
            if stage not in slices.STEPS:
                said |= {f"{stage}: {one}": None for one in each}
            elif name == "notes" or (label, name) not in kinds:
                kinds.add((label, name))
                for one in each:
                    of_slices.setdefault((stage, one), []).append(label)
    for (stage, one), labels in of_slices.items():
        said[": ".join(filter(None, (stage, slices.listed(labels), one)))] = None
    return list(said)


def _step(stage: str) -> int:
    """Where a step on a slice stands among them; all else before."""
    return slices.STEPS.index(stage) if stage in slices.STEPS else -1


def plain(value: Any) -> str:
    """A quality figure as a person reads it."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(of)}" for key, of in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def table(outdir: Path) -> list[dict[str, Any]]:
    """All runs of a folder, oldest first."""
    con = open_log(outdir / "runs.sqlite")
    con.row_factory = sqlite3.Row
    rows = [dict(r) for r in con.execute("SELECT * FROM runs ORDER BY created_at, rowid")]
    con.close()
    return rows


def files_of_neurite(root: int) -> tuple[str, ...]:
    """Names of what a run may publish of a root id, but for fragments of a legacy mesh (`meshes/ROOT:0:TILE`)."""
    mesh = f"meshes/{root}"
    return mesh, f"{mesh}.index", f"{mesh}:0", f"skeletons/{root}.swc", f"skeletons/precomputed/{root}"
