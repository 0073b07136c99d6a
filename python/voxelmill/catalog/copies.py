"""The second copy of what is archived, and whatever else holds the same bytes: looked after, and healed from.

archive/copies.jsonl    which object has a copy in which folder, a line each
DIR/ab/abcd...          the copy, mode 0444
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import DataError, StorageError
from . import objects
from .store import Store, append, read_log, sync_folder

Wanted = Mapping[str, Mapping[str, Any]]  # of each object its size, and the sources and files that are it


def log_of(store: Store) -> Path:
    return store.root / "archive/copies.jsonl"


def add(store: Store, second: Path, names: Sequence[str]) -> None:
    """A second copy of objects, each on the disk before this returns. Raises DataError for an object that is damaged."""
    folder = os.path.abspath(second)
    known = {(row["folder"], row["object"]) for row in read_log(log_of(store))}
    for name in names:
        if not (target := place(second, name)).exists():
            write(objects.path_of(store, name), target, name, target.with_suffix(".partial"))
        if (folder, name) not in known:
            append(log_of(store), {"folder": folder, "object": name})


def place(folder: Path, name: str) -> Path:
    return folder / name[:2] / name


def write(source: Path, target: Path, name: str, partial: Path) -> None:
    """A file of these bytes, whole or not at all, in place of what is there. Raises DataError where the source has others."""
    import blake3

    target.parent.mkdir(parents=True, exist_ok=True)
    found = blake3.blake3()
    try:
        with open(source, "rb", opener=objects.plain) as read, open(partial, "wb") as new:
            while piece := read.read(objects.PIECE):
                found.update(piece)
                new.write(piece)
            if found.hexdigest() != name:
                raise DataError(f"{source}: not the bytes that were stored; `voxelmill archive verify --repair` may heal it")
            new.flush()
            os.fchmod(new.fileno(), 0o444)
            os.fsync(new.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(target.parent)


def of(store: Store, at: Path | None = None) -> dict[str, list[Path]]:
    """Where each object has copies; `at`: where the folder is now, if not where it was. Raises StorageError if it is not."""
    if at and not at.is_dir():
        raise StorageError(f"--second {at}: no folder there; expected the one that holds the second copy")
    found: dict[str, list[Path]] = {}
    rows = [(row["object"], Path(row["folder"])) for row in read_log(log_of(store))]
    there = [(path.name, at) for path in sorted(at.glob("??/*")) if not path.suffix] if at else []
    for name, folder in rows + there:
        path = place(at or folder, name)
        if path not in (paths := found.setdefault(name, [])):
            paths.append(path)
    return found


def damage(store: Store, wanted: Wanted, at: Path | None = None) -> Iterator[dict[str, Any]]:
    """Copies that are damaged or lost, and files of releases that are no links to their objects and not the same either."""
    copies = of(store, at)
    lost = {path.parent.parent for paths in copies.values() for path in paths if not path.parent.parent.is_dir()}
    for folder in sorted(lost):
        why = "the second copy is not there; mount it, or say by --second DIR where it is"
        yield {"object": str(folder), "why": why, "sources": [], "files": []}
    looked = [
        (path, name, {"sources": wanted[name]["sources"], "files": []})
        for name, paths in copies.items()
        for path in paths
        if name in wanted and path.parent.parent not in lost
    ]
    for name, facts in wanted.items():
        for file in facts["files"]:
            if not objects.is_object(store, path := file_of(store, file), name):
                looked.append((path, name, {"sources": [], "files": [file]}))

    def look(item: tuple[Path, str, Any]) -> str:
        if any(astray(store, file) for file in item[2]["files"]):
            return "its name, or a folder that is a link, leads out of the release"
        return objects.damage_at(item[0], item[1], wanted[item[1]]["size"])

    for (path, _, touched), why in zip(looked, objects.each(look, looked), strict=True):
        # A release that was copied without its modes is whole.
        if why and not (touched["files"] and why.startswith(objects.MODE)):
            yield {"object": str(path), "why": why, **touched}


def file_of(store: Store, file: Mapping[str, str]) -> Path:
    return store.release(file["tag"]) / "files" / file["path"]


def astray(store: Store, file: Mapping[str, str]) -> bool:
    """Whether the way to a file of a release leads elsewhere; what is healed there could be anybody's."""
    folder, parent = store.release(file["tag"]) / "files", PurePosixPath(file["path"]).parent
    there = Path(os.path.realpath(folder.parent), "files", parent)
    return parent.is_absolute() or Path(os.path.realpath(folder / parent)) != there


def loose_of(store: Store, name: str, facts: Mapping[str, Any]) -> list[Path]:
    """Where releases hold files of their own in place of links to an object."""
    return [
        path
        for file in facts["files"]
        if not objects.is_object(store, path := file_of(store, file), name) and not astray(store, file)
    ]


def repair(store: Store, wanted: Wanted, damaged: Collection[str], at: Path | None = None) -> list[str]:
    """Heal objects, copies and files of releases that are `damaged`, each whole or not at all, from any of them that has the
    bytes; what was healed. Releases are links to the objects again."""
    copies, healed = of(store, at), []
    with store.lock("archive verify --repair"), store.staging() as staging:
        for name, facts in wanted.items():
            own = objects.path_of(store, name)
            second = [path for path in copies.get(name, ()) if path.parent.parent.is_dir()]
            files = loose_of(store, name, facts)
            if not {name, *map(str, (*second, *files))} & set(damaged):
                continue
            state = {path: objects.damage_at(path, name, facts["size"]) for path in (own, *second, *files)}
            whole = [path for path, why in state.items() if not why or why.startswith(objects.MODE)]
            healing = [path for path, why in state.items() if why]
            if not healing or not whole:
                continue
            write(whole[0], staging / "good", name, staging / "partial")
            for path in (path for path in (own, *second) if state[path]):
                write(staging / "good", path, name, staging / "partial" if path == own else path.with_suffix(".partial"))
            for path in loose_of(store, name, facts):  # of another object now
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(own, staging / "link")
                os.replace(staging / "link", path)
                sync_folder(path.parent)
            healed += [str(path.relative_to(store.root)) if path == own else str(path) for path in healing]
    return healed
