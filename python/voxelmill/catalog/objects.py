"""Bytes named by their blake3: written once, mode 0444, shared by all that hold the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..core.errors import DataError
from .store import Store, sealed, sync_folder, unsealed

PIECE = 4 << 20
SETTLED = 2_000_000_000  # ns after its last change from which on a file is taken for one that stays
MODE = "of mode"  # begins what is said of bytes that are whole, and could be written
THREADS = 8  # hashing and fsync let others go on
T = TypeVar("T")
R = TypeVar("R")


class Stored(NamedTuple):
    """A file's bytes: how many, their sha256 (its public identity) and blake3 (the name of its object)."""

    size: int
    sha256: str
    blake3: str


def path_of(store: Store, blake3: str) -> Path:
    return store.objects / blake3[:2] / blake3


def put(store: Store, source: Path, staging: Path) -> Stored:
    """Copy a file into the store, unless its bytes are there. The bytes are read once, and hashed as they are copied.

    Raises DataError for what is no plain file, or changes meanwhile."""
    import blake3

    before = os.lstat(source)
    if not stat.S_ISREG(before.st_mode):
        raise DataError(f"{source}: not a plain file; expected one, no link, device or pipe")
    public, name = hashlib.sha256(), blake3.blake3()
    partial = staging / f"{before.st_ino}.{before.st_dev}.{abs(hash(source))}"
    try:
        with open(source, "rb", opener=plain) as read, open(partial, "xb") as write:
            while piece := read.read(PIECE):
                public.update(piece)
                name.update(piece)
                write.write(piece)
            write.flush()
            size = write.tell()
            os.fchmod(write.fileno(), 0o444)
            after = os.fstat(read.fileno())
            if size != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise DataError(f"{source}: changed while it was read; run again when nobody writes to it")
            target = path_of(store, name.hexdigest())
            if not target.exists():
                os.fsync(write.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial, target)
                sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return Stored(size, public.hexdigest(), name.hexdigest())


def put_all(store: Store, sources: Sequence[Path], staging: Path) -> list[Stored]:
    """As `put`, many files; those that were put before, and that nobody has touched since, are not read again.

    A file is the same while device, inode, size, time of change and time of status are: the last cannot be set back by who
    rewrites a file in place. Its object must be there, too. What a scrub reads are the objects, as ever."""
    try:
        return _put_all(store, sources, staging)
    except sqlite3.DatabaseError:  # damaged, or of an earlier kind: what was seen is seen again
        (store.root / "seen.sqlite").unlink(missing_ok=True)
        return _put_all(store, sources, staging)


def _put_all(store: Store, sources: Sequence[Path], staging: Path) -> list[Stored]:
    states = [_state(path) for path in sources]
    with contextlib.closing(sqlite3.connect(store.root / "seen.sqlite")) as con, con:
        con.execute("CREATE TABLE IF NOT EXISTS put (state TEXT PRIMARY KEY, stored TEXT)")
        query = "SELECT stored FROM put WHERE state = ?"
        known = [_seen(state, con.execute(query, (state,)).fetchone()) for state in states]
        fresh = [n for n, one in enumerate(known) if not one or _size(path_of(store, one.blake3)) != one.size]
        begun = time.time_ns()
        for n, stored in zip(fresh, each(lambda n: put(store, sources[n], staging), fresh), strict=True):
            known[n] = stored
            # One that is as young as clocks of files are coarse could change again without a trace.
            if states[n] == _state(sources[n]) and os.lstat(sources[n]).st_ctime_ns < begun - SETTLED:
                row = sealed({"of": states[n], **stored._asdict()})
                con.execute("INSERT OR REPLACE INTO put VALUES (?, ?)", (states[n], row))
    return [one for one in known if one]


def _seen(state: str, row: tuple[str] | None) -> Stored | None:
    """What was put of a file in this state; None where that is not known, or not as it was written."""
    found = unsealed(row[0].encode()) if row and isinstance(row[0], str) else None
    return Stored(*(found[name] for name in Stored._fields)) if found and found.get("of") == state else None


def _state(path: Path) -> str:
    at = os.lstat(path)
    return " ".join(map(str, (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)))


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return -1


def is_object(store: Store, path: Path, name: str) -> bool:
    """Whether a file is a hard link to an object: one inode, so the same bytes, which nobody may write."""
    try:
        return os.path.samestat(os.lstat(path), os.lstat(path_of(store, name)))
    except FileNotFoundError:
        return False


def plain(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """An opener that follows no link. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW)


def blake3_of(path: Path) -> str:
    """Of a file, in pieces. Raises OSError for a link."""
    import blake3

    found = blake3.blake3()
    with open(path, "rb", opener=plain) as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def damage(store: Store, name: str, size: int | None = None) -> str:
    """What is wrong with an object; empty where nothing is."""
    return damage_at(path_of(store, name), name, size)


def damage_at(path: Path, name: str, size: int | None = None) -> str:
    """As `damage`, of a file that holds the bytes of an object."""
    try:
        at = os.lstat(path)
        if not stat.S_ISREG(at.st_mode):
            return "no plain file"
        if size is not None and at.st_size != size:
            return f"{at.st_size} bytes instead of {size}"
        if blake3_of(path) != name:
            return "not the bytes that were stored"
        mode = stat.S_IMODE(at.st_mode)
        return f"{MODE} {mode:04o}, so that it can be written; chmod 0444" if mode & 0o222 else ""
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def each(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """In order, by threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(work, items)
