"""A store's manifest: one line of digest and size per file, and a digest of the whole.

Nextflow does not look below the root of a directory, so a store is declared as an input together
with this small file: when a shard changes, the manifest changes, and what depends on it runs again.
The digest is bound to the file's place in the store, so swapped shards do not pass: a task checks each file that it
reads of a store, once, by size and digest (`checked_reading`). Who passes files on unread, as `join` does, checks sizes and
hands on the digests of their maker. `voxelmill verify` checks all.

    {"format": 1, "digest": "sha256 of the rest", "files": {"0/c/0/0/0": [bytes, "sha256"], ...}}
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import pool
from .errors import DataError
from .files import below


def path_of(store: Path) -> Path:
    """Where the manifest of a store stands: beside it."""
    return store.with_name(store.name + ".manifest.json")


def stores_in(place: Path) -> list[Path]:
    """The store itself, or those of a results folder: all that have a manifest, down to two folders below it."""
    place, ending = place if place.name else place.absolute(), ".manifest.json"
    found = (
        []
        if path_of(place).exists()
        else [path for folder in ("", "*/", "*/*/") for path in place.glob(f"{folder}*{ending}")]
    )
    return sorted(path.with_name(path.name.removesuffix(ending)) for path in found) or [place]


def digest_file(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def make(store: Path, known: dict[str, list] | None = None) -> dict:
    """Digest every file of a store; `known` spares files whose digest is already sure (hard links)."""
    known, names = known or {}, below(store)
    fresh = [store / n for n in names if not known.get(n)]
    digests = pool.each(digest_file, fresh)  # a pass over all bytes, by the task's workers
    files = {n: known.get(n) or [(store / n).stat().st_size, next(digests)] for n in names}
    return {"format": 1, "digest": digest_files(files), "files": files}


def digest_files(files: dict[str, list]) -> str:
    """Digest of a store from those of its files, by name."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def write(store: Path, known: dict[str, list] | None = None, now: Path | None = None) -> Path:
    """Write the manifest of a finished store beside it, whole or not at all.

    `now` is where the store still lies, when it is about to be renamed."""
    target = path_of(store)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text(json.dumps(make(now or store, known), sort_keys=True, indent=0))
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read(store: Path) -> dict | None:
    """The manifest beside a store, checked against its own digest; None where there is none.

    Raises DataError when it has been altered."""
    path = path_of(store)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        good = digest_files(found["files"]) == found["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise DataError(f"{path}: manifest is damaged; re-run the stage that made the store")
    return found


def check(path: Path, size: int, digest: str = "") -> None:
    """Raises DataError unless a file is there, of this size and, where given, of this digest."""
    if not path.is_file():
        raise DataError(f"{path}: missing, though the manifest lists it; re-run the stage that made it")
    if path.stat().st_size != size or (digest and digest_file(path) != digest):
        raise DataError(f"{path}: not the bytes that the manifest lists; re-run the stage that made it")


def _check(file: tuple[Path, int, str]) -> None:
    check(*file)


def verify(store: Path, deep: bool = False) -> dict:
    """Check that every listed file is there with its size (and, when deep, its digest, and none besides).

    Raises DataError naming the first file that is not as it was written."""
    found = read(store)
    if found is None:
        raise DataError(f"{store}: no manifest beside it ({path_of(store).name}); cannot verify")
    files = [(store / name, size, digest if deep else "") for name, (size, digest) in found["files"].items()]
    for _ in pool.each(_check, files) if deep else map(_check, files):
        pass
    if deep:
        for name in below(store):
            if name not in found["files"]:
                raise DataError(f"{store / name}: not in the manifest; re-run the stage that made the store")
    return found


class Listed:
    """The files of a store, each checked against the manifest before it is read, once in a process."""

    def __init__(self, store: Path):
        found = read(store)
        self.store, self.files, self.done = store, found["files"] if found else {}, set[str]()

    def check(self, name: str) -> None:
        """Raises DataError unless a file has the size and digest that the manifest lists. One that it does not list is
        none of the store's: who needs it does not find it."""
        if name not in self.done and name in self.files:
            check(self.store / name, *self.files[name])
            self.done.add(name)


DEEPEST = 5  # folders below a store in which its images lie
_reading: list[bool] = []


@contextmanager
def checked_reading() -> Iterator[None]:
    """Within it, as in every task, what is read of a store is checked. Results of one's own that were changed on purpose
    can be read without."""
    _listed.cache_clear()
    _reading.append(True)
    try:
        yield
    finally:
        _reading.pop()


def around(path: Path) -> tuple[Listed, str] | None:
    """What checks the files in a folder, and the folder's place in the store around it, as `labels/neurites/`; None where
    no store with a manifest is around it."""
    for store in [path, *path.parents][:DEEPEST] if _reading else []:
        if store.name and path_of(store).is_file():
            at, inside = path_of(store).stat(), path.relative_to(store).as_posix()
            return _listed(store.absolute(), at.st_size, at.st_mtime_ns, at.st_ino), "" if inside == "." else f"{inside}/"
    return None


@functools.lru_cache(maxsize=64)
def _listed(store: Path, *_state: int) -> Listed:
    return Listed(store)


def checked(path: Path) -> Path:
    """A file in a store that is read as it is: checked, as `Image.read` does for shards."""
    if found := around(path.parent):
        found[0].check(found[1] + path.name)
    return path


def digest_of(path: Path) -> str:
    """Digest of an input or output: a store's from its manifest, a file's from its bytes.

    Remembered for a file as it is now: another size, time or inode is another file."""
    if path.is_dir():
        return (read(path) or make(path))["digest"]
    at = path.stat()
    return _digest_of(path, at.st_size, at.st_mtime_ns, at.st_ino)


@functools.lru_cache(maxsize=4096)
def _digest_of(path: Path, *_state: int) -> str:
    return digest_file(path)
