"""Releases: a run's results, checked, frozen and named. Staged, verified, renamed; then one pointer is swapped.

A release's id is the sha256 of its manifest, which holds no time and no name: the same results have the same id. Its tag
is used once, also after it was withdrawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..core import manifest
from ..core.errors import DataError, ParameterError, StorageError
from ..core.files import below
from . import lineage, objects, policies
from .manifests import manifest_of, release_of, status
from .store import Store, canonical, open_below, safe_name, sealed, sync_folder, write_whole

OF_THE_RUN = ("provenance", "pipeline_info", "published.json")  # accounts that no task makes; a release holds them, too
LEFT = ("runs.sqlite", ".voxelmill.lock")  # of all runs of the folder, not of this one


def create(store: Store, results: Path, tag: str, policy: Path | None = None) -> dict[str, Any]:
    """Make a release of the results of a run that ended well, and make it the current one. Made again with the same
    results, as after a death on the way, it ends where it would have.

    Raises DataError for results that are incomplete or not as their records say, a gate of the policy that fails, a tag
    that was used for other results."""
    store.release(tag)
    with store.lock(f"release create {tag}"), store.staging() as staging:
        freeze(store, results, tag, staging, policy)
    return show(store, tag)


def freeze(
    store: Store,
    results: Path,
    tag: str,
    staging: Path,
    policy: Path | None = None,
    facts: dict[str, Any] | None = None,
    shared: dict[str, list] | None = None,
) -> None:
    """As `create`, under the lock.

    Args:
        facts: what the manifest says beside, or instead: `workflow` and `edits` of an edited release.
        shared: files of the release before, as its manifest has them; what is still a hard link to its object is not read."""
    target = store.release(tag)
    listed = _published(results)
    stored = _store(store, results, _files(results, listed), staging, shared or {})
    _verify_published(results, listed, stored)
    content = {
        "format": 1,
        "workflow": _workflow(results, listed["run_id"]),
        "run_id": listed["run_id"],
        "files": {name: [one.size, one.sha256, one.blake3] for name, one in stored.items()},
        "published": listed["files"],
        "figures": policies.figures(results),
        **(facts or {}),
    }
    content["gates"] = policies.check(policy, content["figures"]) if policy else []
    text = canonical(content)
    made = hashlib.sha256(text.encode()).hexdigest()
    used = {event["tag"]: event["id"] for event in store.events() if event["action"] == "create"}
    if (known := used.get(tag) or (release_of(store, tag)["id"] if target.exists() else "")) and known != made:
        raise DataError(
            f"--tag {tag}: used for release {known[:12]}, these results are {made[:12]}; a tag names one release "
            "for good: give another"
        )
    if failed := [gate for gate in content["gates"] if not gate["passed"]]:
        store.record("refuse", tag=tag, id=made, gates=failed)
        raise DataError(f"--tag {tag}: refused by {policy}: " + "; ".join(gate["why"] for gate in failed))
    if not target.exists():
        _stage(store, staging / "release", stored, text, {"tag": tag, "id": made})
        target.parent.mkdir(exist_ok=True)
        (staging / "release").rename(target)
        sync_folder(target.parent)
    if tag not in used:
        more = {"parent": content["edits"]["parent"]} if "edits" in content else {}
        store.point(tag)  # before the log says that all is done: who dies between does both again
        store.record("create", tag=tag, id=made, files=len(stored), workflow=content["workflow"], **more)
    lineage.refresh(store)


def _stage(store: Store, folder: Path, stored: dict[str, objects.Stored], text: str, facts: dict[str, Any]) -> None:
    """A release as it will lie, in a folder of its own."""
    for name, one in stored.items():
        place = folder / "files" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(objects.path_of(store, one.blake3), place)
    write_whole(folder / "manifest.json", text)
    write_whole(folder / "release.json", sealed({**facts, "seq": _next(store), "before": store.current() or ""}))


def _published(results: Path) -> dict[str, Any]:
    """`published.json`. Raises where a run has not ended well there."""
    if not results.is_dir():
        raise StorageError(f"{results}: no such folder; expected the --outdir of a run")
    if (results / "INCOMPLETE").exists():
        raise DataError(f"{results}: INCOMPLETE is there: the run has not ended well; run it again with -resume")
    path = results / "published.json"
    try:
        found = json.loads(path.read_text())
        if not found["files"] or not all({"path", "digest", "record"} <= row.keys() for row in found["files"]):
            raise KeyError("files")
    except FileNotFoundError:
        raise DataError(f"{path}: not there; expected the --outdir of a run that has ended well") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); run again with -resume") from None
    return found


def _files(results: Path, listed: dict[str, Any]) -> list[str]:
    """What belongs to the run: what is published, the manifests of its stores, records and reports of the engine.

    Raises DataError for a file that no record accounts for."""
    stores: set[str] = set()
    plain: set[str] = set()
    for row in listed["files"]:
        name = safe_name(row["path"], str(results / "published.json"))
        path = results / name
        if not path.exists():
            raise DataError(f"{path}: published, and not there; run again with -resume")
        (stores if path.is_dir() else plain).add(name)
    found, stray = [], []
    for name in below(results):
        top = name.split("/")[0]
        if top in LEFT or name.endswith(".partial"):
            continue
        whole = name.removesuffix(".manifest.json")
        parents = {"/".join(whole.split("/")[:n]) for n in range(1, whole.count("/") + 2)}
        if top in OF_THE_RUN or name in plain or parents & stores:
            found.append(safe_name(name, str(results)))
        else:
            stray.append(name)
    if stray:
        raise DataError(
            f"{results}: {len(stray)} files that no record accounts for, the first {stray[0]}; "
            "take them away, or give the run a folder of its own"
        )
    return found


def _store(
    store: Store, results: Path, names: list[str], staging: Path, shared: dict[str, list]
) -> dict[str, objects.Stored]:
    # `open_below` refuses links: what a release holds are bytes of its own. Records may be empty, as of a stub.
    sources = {name: open_below(results, name) for name in names}
    held = {n for n in names if n in shared and objects.is_object(store, sources[n], shared[n][2])}
    fresh = [name for name in names if name not in held]
    stored = dict(zip(fresh, objects.put_all(store, [sources[n] for n in fresh], staging), strict=True))
    return {name: objects.Stored(*shared[name]) if name in held else stored[name] for name in names}


def _verify_published(results: Path, listed: dict[str, Any], stored: dict[str, objects.Stored]) -> None:
    """The bytes are those that the records name. Raises DataError naming the first file that is not as it was made."""
    records = {}
    for row in listed["files"]:
        path, name = results / row["path"], row["path"]
        record = row["record"]
        if record not in stored:
            raise DataError(f"{results / record}: the record of {name} is missing; run again with -resume")
        if record not in records:
            records[record] = {item["digest"] for item in json.loads((results / record).read_text())["outputs"]}
        if row["digest"] not in records[record]:
            raise DataError(f"{path}: {record} did not make it; run again with -resume")
        if not path.is_dir():
            if stored[name].sha256 != row["digest"]:
                raise DataError(f"{path}: not the bytes that {record} names; run again with -resume")
            continue
        known = manifest.read(path)
        if not known or known["digest"] != row["digest"]:
            raise DataError(f"{path}: its manifest is not the one that {record} names; run again with -resume")
        there = {n.removeprefix(f"{name}/"): [s.size, s.sha256] for n, s in stored.items() if n.startswith(f"{name}/")}
        if wrong := sorted(n for n in {*there, *known["files"]} if there.get(n) != list(known["files"].get(n, ()))):
            raise DataError(f"{path / wrong[0]}: not as the manifest lists it; run again with -resume")


def _workflow(results: Path, run: str) -> str:
    """Of the run, from the run log."""
    log = results / "runs.sqlite"
    if log.exists():
        with sqlite3.connect(f"file:{log}?mode=ro", uri=True) as con:
            row = con.execute("SELECT workflow FROM runs WHERE run_id = ?", (run,)).fetchone()
        if row:
            return row[0] or "connectome"
    return "unknown"


def _next(store: Store) -> int:
    """Number of the next release."""
    return 1 + max((release_of(store, tag)["seq"] for tag in store.tags()), default=0)


def list_all(store: Store) -> list[dict[str, Any]]:
    """A row a release, by the order in which they were made."""
    states, current = status(store), store.current()
    made = {event["tag"]: event for event in store.events() if event["action"] == "create"}
    rows = []
    for tag in store.tags():
        facts, event = release_of(store, tag), made.get(tag, {})
        rows.append(
            {
                "tag": tag,
                "id": facts["id"],
                "seq": facts["seq"],
                "status": states[tag],
                "current": tag == current,
                "workflow": event.get("workflow", ""),
                "created": event.get("time", ""),
                "by": event.get("who", ""),
                "files": event.get("files", 0),
                **({"parent": event["parent"]} if "parent" in event else {}),
            }
        )
    return rows


def show(store: Store, tag: str) -> dict[str, Any]:
    """A release: its row, figures, gates, what is published, and what was done to it."""
    release_of(store, tag)
    (row,) = (row for row in list_all(store) if row["tag"] == tag)
    held = manifest_of(store, tag)
    events = [event for event in store.events() if event.get("tag") == tag or event.get("to") == tag]
    return {
        **row,
        "run_id": held["run_id"],
        "bytes": sum(size for size, _, _ in held["files"].values()),
        "figures": held["figures"],
        "gates": held["gates"],
        **({"edits": held["edits"]} if "edits" in held else {}),
        "published": held["published"],
        "history": [{k: e[k] for k in ("seq", "time", "who", "action", "reason") if k in e} for e in events],
    }


def verify(store: Store, tag: str) -> dict[str, Any]:
    """Read all of a release: `{"tag", "id", "files": n, "damaged": [{"path", "why"}]}`."""
    try:
        held = manifest_of(store, tag)
    except DataError as error:
        return {
            "tag": tag,
            "id": release_of(store, tag)["id"],
            "files": 0,
            "damaged": [{"path": "manifest.json", "why": str(error)}],
        }
    known = {event["tag"]: event["id"] for event in store.events() if event["action"] == "create"}
    damaged = []
    if known.get(tag) not in (None, release_of(store, tag)["id"]):
        damaged.append({"path": "release.json", "why": f"the log says that {tag} is {known[tag][:12]}"})
    folder = store.release(tag) / "files"

    def look(item: tuple[str, list]) -> str:
        name, (size, _, digest) = item
        try:
            place = open_below(folder, name)
            if place.stat().st_size != size:
                return f"{place.stat().st_size} bytes instead of {size}"
            return "" if objects.blake3_of(place) == digest else "not the bytes that were released"
        except DataError as error:
            return "missing" if not (folder / name).exists() else str(error)

    items = list(held["files"].items())
    damaged += [{"path": name, "why": why} for (name, _), why in zip(items, objects.each(look, items), strict=True) if why]
    damaged += [{"path": n, "why": "not in the manifest"} for n in below(folder) if n not in held["files"]]
    return {"tag": tag, "id": release_of(store, tag)["id"], "files": len(items), "damaged": damaged}


def note(store: Store, found: list[dict[str, Any]]) -> None:
    """Log what a check has found, for the service levels."""
    with store.lock("release verify"):
        for row in found:
            store.record("verify", tag=row["tag"], damaged=len(row["damaged"]))
        lineage.refresh(store)


def withdraw(store: Store, tag: str, reason: str) -> dict[str, Any]:
    """Mark a release as withdrawn; it stays readable. If it is current, the last good one of its workflow before it becomes
    so."""
    release_of(store, tag)
    reason = said(reason)
    with store.lock(f"release withdraw {tag}"):
        states = status(store)
        if states[tag] != "withdrawn":
            store.record("withdraw", tag=tag, reason=reason)
        if store.current() == tag:
            back = before(store, tag, [one for one, state in states.items() if state == "good"])
            store.point(back)
            store.record("point", to=back or "", tag=tag, reason=reason)
        lineage.refresh(store)
    return show(store, tag)


def before(store: Store, tag: str, among: Collection[str]) -> str | None:
    """Of some releases the last one made before another, of the same workflow: a movie is nothing to go back to from a
    wiring diagram."""
    kind = {row["tag"]: row["workflow"] for row in list_all(store)}
    tags = store.tags()
    found = [one for one in tags[: tags.index(tag)] if one in among and kind[one] == kind[tag]]
    return found[-1] if found else None


def rollback(store: Store, tag: str, reason: str) -> dict[str, Any]:
    """Make an earlier release the current one again; the one that was current is withdrawn, and stays readable.

    Raises DataError for a release that is withdrawn itself."""
    release_of(store, tag)
    reason = said(reason)
    with store.lock(f"release rollback {tag}"):
        if status(store)[tag] == "withdrawn":
            raise DataError(
                f"{tag}: withdrawn; roll back to one that is good: "
                f"{', '.join(t for t, s in status(store).items() if s == 'good') or 'none is'}"
            )
        bad = store.current()
        if bad != tag:
            if bad:
                store.record("withdraw", tag=bad, reason=reason)
            store.point(tag)
            store.record("point", to=tag, tag=bad or "", reason=reason)
        lineage.refresh(store)
    return show(store, tag)


def said(text: str) -> str:
    """A reason in one line. Raises ParameterError where there is none."""
    found = " ".join(text.split())
    if not found:
        raise ParameterError("--reason is empty; say why, in a few words")
    return found
