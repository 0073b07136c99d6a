"""Edits become the next release: what they touch is made anew, all else is shared with the release before.

    parent + edits/PARENT/log.jsonl --replay--> merge table --remake--> shapes and rows of touched root ids, tables, graph
      |                      masked regions --^                           |  one record: what went in and came out
      +---- hard links to the same objects ----> the next release <-------+

A constrained release is made without regions (`masked.py`): supervoxels that reach into one have root id 0, background, and
their synapses are gone, as are those that lie there. Nothing of it is left in volumes, tables, graph, meshes and answers;
pictures, which show it, are left out.

Scores follow where the run had a truth: from what each supervoxel shares with it, and which of them true skeletons run
through (`postprocess/rescore.py`). What is by threshold is of the agglomeration and left out, so that no gate passes by it;
as are all scores where no shares are known. Flat labels, report and figures are those of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import index as indices
from ..catalog import policies, regions, releases
from ..catalog.store import Store, write_whole
from ..core import manifest, runs
from ..core.errors import DataError
from ..core.files import below
from ..core.params import Params
from ..core.provenance import Task
from ..postprocess import graph, rescore
from ..postprocess.rescore import OVERLAP, SKELETONS
from ..serving import neurites, remake
from . import masked
from .edits import Editor, State

SCORED = policies.SCORED  # stages whose figures are of the neurites as they were
READ = (regions.MERGE, regions.SUPERVOXELS, regions.SYNAPSES, indices.NEURONS)  # what a remake begins with


class Edited(Params):
    """What the record of an edited release says as its parameters."""

    parent: str
    version: int
    masks: tuple[str, ...] = ()


def create(
    store: Store, parent: str, tag: str, policy: Path | None = None, masks: Sequence[str] = (), reason: str = ""
) -> dict[str, Any]:
    """Make a release of another one as it was proofread, and make it the current one. The same edits make the same release.

    Args:
        masks: regions `Z0,Y0,X0,Z1,Y1,X1` that it is made without; the parent may be withdrawn then.
        reason: why it is, for the log; needed with masks.

    Raises DataError where nothing was edited or masked, the parent is withdrawn or has no neurites, a gate fails."""
    held = releases.manifest_of(store, parent)
    boxes, reason = [regions.parse(mask) for mask in masks], releases.said(reason) if masks else reason
    if releases.status(store)[parent] == "withdrawn" and not masks:
        raise DataError(f"{parent}: withdrawn; make the next release of one that is good, or one without regions by --mask")
    if lost := [name for name in READ if not (regions.files_of(store, parent) / name).exists()]:
        raise DataError(f"release {parent}: no {lost[0]}; it is not one of neurites, or a run has kept too little of them")
    state = Editor(store, parent, indices.load(store, parent)).refresh()
    gone = np.unique(np.concatenate([np.zeros(0, np.uint64), *(regions.supervoxels_in(store, parent, b) for b in boxes)]))
    state.roots[state.places(gone)] = 0
    if (state.roots == state.index.supervoxel_root).all():
        why = f"nothing lies in {' and '.join(masks)}" if masks else f"no edits that stand (version {state.version})"
        raise DataError(f"release {parent}: {why}; there is nothing to release")
    store.release(tag)
    with store.lock(f"release create {tag}"), store.staging() as staging:
        results = staging / "results"
        kept = linked(store, parent, held, results, pictures=not boxes)
        if boxes:
            masked.without(results, regions.supervoxel_image_of(store, parent), gone, boxes)
        touched = remade(results, state, staging / "merge")
        rescored(regions.files_of(store, parent), results, state)
        account(store, held, kept, results, state, Edited(parent=parent, version=state.version, masks=tuple(masks)))
        facts = {"workflow": held["workflow"], "edits": summary(store, parent, state, touched)}
        if without := [*held.get("edits", {}).get("masks", ()), *masks]:
            facts["edits"] |= {"masks": without, "reason": reason or held["edits"]["reason"]}
        releases.freeze(store, results, tag, staging, policy, facts, held["files"])
    return releases.show(store, tag)


def linked(store: Store, parent: str, held: dict[str, Any], results: Path, pictures: bool = True) -> list[dict[str, Any]]:
    """A release's files as hard links, but for scores and their records, and for pictures where they show too much; rows of
    what is published and stays."""
    stay = (OVERLAP, SKELETONS) if OVERLAP in held["files"] else ()
    scored = [row for row in held["published"] if row["stage"] in SCORED and row["path"] not in stay]
    left = {row["path"] for row in scored} | {"published.json"}
    left |= set() if stay else {row["record"] for row in scored}
    left |= {row["path"] for row in held["published"] if row["kind"] in ("figure", "report") and not pictures}
    files = regions.files_of(store, parent)
    for name in held["files"].keys() - left:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(files / name, results / name)
    return [row for row in held["published"] if row["path"] not in left]


def rescored(before: Path, results: Path, state: State) -> None:
    """Scores of the neurites of now, where it is known what supervoxels share with a truth."""
    for name in policies.TABLES.values():
        (results / name).unlink(missing_ok=True)
    for name, figures in rescore.of_results(before, results, state.index.supervoxels, state.roots).items():
        write_whole(results / name, json.dumps(figures, indent=1, sort_keys=True))


def remade(results: Path, state: State, merge: Path) -> np.ndarray:
    """Results after the edits; root ids that they touch. Files are replaced, never written into."""
    rewritten(results / regions.MERGE, state, merge)
    p = remake.parameters(results, "neurites", neurites.Parameters)
    return remake.remake(results, merge, p, remake.parameters(results, "graph", graph.Parameters))


def rewritten(old: Path, state: State, new: Path) -> None:
    """The merge table's parts with the root ids of now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    new.mkdir()
    for part in sorted(old.glob("*.parquet")):
        table = pq.read_table(part)
        roots = state.roots[state.places(table["supervoxel"].to_numpy())]
        if (roots == table["root_id"].to_numpy()).all():
            os.link(part, new / part.name)
            continue
        at = table.schema.get_field_index("root_id")
        table = table.set_column(at, table.schema.field(at), pa.array(roots).cast(table.schema.field(at).type))
        pq.write_table(table, new / part.name, compression="zstd")


def account(store: Store, held: dict[str, Any], kept: list[dict[str, Any]], results: Path, state: State, how: Edited) -> None:
    """The record of what was made, the edits beside it, and `published.json`.

    No clock and no host of now: the same edits make the same release."""
    parent, log = how.parent, f"edits/{how.parent}.jsonl"
    made_before = next(e for e in store.events() if e["action"] == "create" and e["tag"] == parent)
    last = state.done[-1] if state.done else made_before
    if state.done:
        lines = (store.root / "edits" / parent / "log.jsonl").read_bytes().split(b"\n")[: state.version]
        write_whole(results / log, b"\n".join(lines) + b"\n")
    files = regions.files_of(store, parent)
    there = [name for name in below(results) if not name.startswith("provenance/")]
    made = [n for n in there if not ((files / n).exists() and os.path.samefile(files / n, results / n))]
    stores = [name.removesuffix(".manifest.json") for name in made if name.endswith(".zarr.manifest.json")]
    made = [n for n in made if not n.startswith(tuple(stores))] + stores  # a store is known by its manifest
    read = [row for row in held["published"] if row["path"].startswith((*READ, OVERLAP, SKELETONS)) or row["path"] in stores]
    inputs = [
        {k: row[k] for k in ("digest", "bytes")} | {"name": row["path"], "path": f"{parent}:{row['path']}"} for row in read
    ]
    inputs += [described(results, log)] if state.done else []
    at = last["time"].removesuffix("Z") + ".000Z"
    record = {
        **Task("proofread", how).record(inputs, [described(results, n) for n in made]),
        **{"run_id": held["run_id"], "start": at, "end": at, "host": last["host"]},
        **dict.fromkeys(("wall_s", "cpu_s", "startup_cpu_s", "peak_memory_bytes"), 0),
    }
    name = f"proofread.{parent}.provenance.json"
    write_whole(results / "provenance" / name, json.dumps(record, indent=1, sort_keys=True))
    rows = [row for row in kept if row["path"] not in made and (results / row["path"]).exists()]
    rows = sorted([*rows, *runs.published([{**record, "record": name}])], key=lambda row: row["path"])
    write_whole(results / "published.json", json.dumps({"format": 1, "run_id": held["run_id"], "files": rows}, indent=1))


def described(results: Path, name: str) -> dict[str, Any]:
    """A file or store for the record."""
    path = results / name
    size = sum(row[0] for row in (manifest.read(path) or {})["files"].values()) if path.is_dir() else path.stat().st_size
    return {"name": name, "path": name, "published": name, "digest": manifest.digest_of(path), "bytes": size}


def summary(store: Store, parent: str, state: State, touched: np.ndarray) -> dict[str, Any]:
    """What the release says of its edits."""
    standing = [e for e in state.done if e["op"] in ("merge", "split") and e["seq"] not in state.undone]
    return {
        "parent": parent,
        "parent_id": releases.release_of(store, parent)["id"],
        "version": state.version,
        "merges": sum(e["op"] == "merge" for e in standing),
        "splits": sum(e["op"] == "split" for e in standing),
        "by": sorted({e["by"] for e in standing}),
        "neurites_touched": len(touched),
    }
