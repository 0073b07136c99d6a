"""The archive: raw files, written once; scrubbed, and what a damaged one touches is named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core import manifest
from ..core.errors import DataError, ParameterError, StorageError
from ..core.files import below
from . import copies, index, lineage, objects
from .manifests import manifest_of
from .store import Store, append, read_log, safe_name


def add(store: Store, paths: Sequence[Path], second: Path | None = None) -> list[dict[str, Any]]:
    """Put files, and folders file by file, into the archive under their names; what was added, or was there.

    Args:
        second: a folder on another disk, to hold a second copy of each object.

    Raises DataError for an empty file, a link that leads nowhere, or a name that the archive knows with other bytes."""
    if second and second.resolve().is_relative_to(store.root.resolve()):
        raise ParameterError(f"--second {second}: lies in the catalogue; expected a folder elsewhere, best on another disk")
    found = [(path, name) for path in paths for name in _names(path)]
    with store.lock("archive add"), store.staging() as staging:
        known = {row["name"]: row for row in sources(store)}
        for path, name in found:
            if (path.parent / name).stat().st_size == 0:
                raise DataError(f"{path.parent / name}: empty; expected a file that holds data")

        def put(item: tuple[Path, str]) -> objects.Stored:
            return objects.put(store, (item[0].parent / item[1]).resolve(), staging)

        rows = []
        for (_, name), stored in zip(found, objects.each(put, found), strict=True):
            old = known.get(name)
            if old and old["sha256"] != stored.sha256:
                raise DataError(
                    f"{name}: in the archive with other bytes (sha256 {old['sha256'][:12]}, now {stored.sha256[:12]});"
                    " what is archived does not change: give the new file another name"
                )
            rows.append({"name": name, **stored._asdict(), "new": old is None})
        for row in rows:
            if row["new"]:
                append(store.sources, {k: row[k] for k in ("name", "size", "sha256", "blake3")})
        for path in paths:  # a folder is known to records by the digest of all
            if path.is_dir():
                whole = manifest.digest_files(
                    {
                        r["name"].removeprefix(f"{path.name}/"): [r["size"], r["sha256"]]
                        for r in rows
                        if r["name"].startswith(f"{path.name}/")
                    }
                )
                if f"{path.name}/" not in known:
                    append(store.sources, {"name": f"{path.name}/", "size": 0, "sha256": whole, "blake3": ""})
        if second:
            copies.add(store, second, [row["blake3"] for row in rows])
        if any(row["new"] for row in rows):
            store.record("archive", files=sum(row["new"] for row in rows))
    return rows


def _names(path: Path) -> list[str]:
    """Names of a file or of all files in a folder, from its parent on."""
    if not path.exists():
        raise StorageError(f"{path}: no such file or folder")
    names = [f"{path.name}/{name}" for name in below(path)] if path.is_dir() else [path.name]
    return [safe_name(name, str(path)) for name in names]


def sources(store: Store) -> list[dict[str, Any]]:
    """What was put into the archive, in order."""
    return list(read_log(store.sources))


def verify(store: Store, repair: bool = False, second: Path | None = None) -> dict[str, Any]:
    """Read every object of archive and releases, their second copies, all logs, manifests and what is made of them, and name
    what is damaged, and the sources, releases and outputs it touches.

    `{"objects": n, "bytes": n, "damaged": [{"object", "why", "sources": [...], "files": [{"tag", "path"}]}], ...}`

    Args:
        repair: heal what another copy has whole; `repaired` names it, `damaged` what is left.
        second: where the second copy is now."""
    found, wanted = _verify(store, second)
    if not repair:
        return found
    healed = copies.repair(store, wanted, {row["object"] for row in found["damaged"]}, second)
    return {**(_verify(store, second)[0] if healed else found), "repaired": healed}


def _verify(store: Store, second: Path | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What `verify` returns, and of each object its size, sources and files."""
    wanted: dict[str, dict[str, Any]] = {}

    def want(name: str, size: int) -> dict[str, Any]:
        return wanted.setdefault(name, {"size": size, "sources": [], "files": []})

    torn: list[dict[str, Any]] = []
    held = 0

    @contextlib.contextmanager
    def whole(place: str, tag: str = "") -> Iterator[None]:
        try:
            yield
        except DataError as error:
            files = [{"tag": tag, "path": ""}] if tag else []
            torn.append({"object": place, "why": str(error), "sources": [], "files": files})

    with whole("archive/sources.jsonl"):
        for row in sources(store):
            if row["blake3"]:
                want(row["blake3"], row["size"])["sources"].append(row["name"])
    for tag in sorted(path.parent.name for path in store.root.glob("releases/*/release.json")):
        with whole(f"releases/{tag}", tag):
            for path, (size, _, name) in manifest_of(store, tag)["files"].items():
                want(name, size)["files"].append({"tag": tag, "path": path})
    for log in [store.events_file, *sorted(store.root.glob("edits/*/log.jsonl"))]:
        with whole(log.relative_to(store.root).as_posix()):
            list(read_log(log))
    if not torn:  # else it cannot be told
        with whole("current"):
            if store.current() not in (None, *store.tags()):
                raise DataError(f"leads to {store.current()!r}, no release; `voxelmill release rollback` sets it")
        with whole("catalogue.sqlite"):
            if why := lineage.damage(store):
                raise DataError(why)
    for name, why in index.damage(store):
        torn.append({"object": f"query/{name}", "why": why, "sources": [], "files": []})

    def look(item: tuple[str, dict[str, Any]]) -> str:
        return objects.damage(store, item[0], item[1]["size"])

    with whole("archive/copies.jsonl"):
        torn += copies.damage(store, wanted, second)
        held = sum(map(len, copies.of(store, second).values()))
    damaged = torn + [
        {"object": name, "why": why, "sources": facts["sources"], "files": facts["files"]}
        for (name, facts), why in zip(wanted.items(), objects.each(look, wanted.items()), strict=True)
        if why
    ]
    orphans = sum(1 for path in store.objects.glob("*/*") if path.name not in wanted)
    found = {
        "objects": len(wanted),
        "bytes": sum(facts["size"] for facts in wanted.values()),
        "copies": held,
        "orphans": orphans,
        "damaged": damaged,
        "releases": sorted({file["tag"] for one in damaged for file in one["files"]}),
    }
    return found, wanted
