"""A catalogue's folder: what lies where, the lock of its one writer, and the log of what was done.

STORE/
  objects/ab/abcd...      bytes, named by their blake3, mode 0444, written once; sources and releases share them
  archive/sources.jsonl   what was put into the archive, a line each; copies.jsonl: what has a second copy where
  releases/TAG/           manifest.json (its sha256 is the release's id), release.json, files/ (hard links to objects)
  current -> releases/TAG the one pointer
  events.jsonl            what was done, when, by whom and why; each line holds its digest and that of the one before it
  edits/TAG/              proofreading of a release
  catalogue.sqlite        lineage, made from all of the above and made again at will
  staging/                what is not finished; nothing reads it
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ..core.errors import DataError, ParameterError, StorageError

FORMAT = 1
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, NotImplementedError)  # pyarrow's, too
UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:")  # also what is no UTF-8, as Python has it


class NotThere(DataError):
    """What was asked for is not there, and nothing is damaged."""


class Store:
    """A catalogue on disk. Readers need no lock; whoever writes holds `lock`."""

    def __init__(self, root: Path, make: bool = False):
        """Raises StorageError where there is none, unless it may be made; DataError for one of another format."""
        self.root = Path(root)
        mark = self.root / "store.json"
        if not mark.exists():
            if not make:
                raise StorageError(
                    f"{root}: no catalogue here (no store.json); make one with `voxelmill archive add` or "
                    "`voxelmill release create`"
                )
            if self.root.exists() and any(self.root.iterdir()):
                raise StorageError(f"{root}: neither a catalogue (no store.json) nor an empty folder; give another")
            self.root.mkdir(parents=True, exist_ok=True)
            write_whole(mark, json.dumps({"format": FORMAT}))
        try:
            found = json.loads(mark.read_text())["format"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{mark}: damaged; expected a JSON object with the format's number") from None
        if found != FORMAT:
            raise DataError(f"{mark}: format {found}; this Voxelmill reads format {FORMAT}")

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def sources(self) -> Path:
        return self.root / "archive/sources.jsonl"

    @property
    def events_file(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.sqlite"

    def release(self, tag: str) -> Path:
        """The folder of a release, there or not. Raises ParameterError for what can be no tag."""
        if not TAG.fullmatch(tag) or tag == "current":
            raise ParameterError(
                f"--tag {tag!r}: expected letters, digits, `.`, `_`, `-`, 64 at most, for example 2026-11.r1; not `current`"
            )
        return self.root / "releases" / tag

    def tags(self) -> list[str]:
        """Tags of all releases, by the order in which they were made."""
        made = [path.parent.name for path in self.root.glob("releases/*/release.json")]
        return sorted(made, key=lambda tag: (self.facts(tag)["seq"], tag))

    def facts(self, tag: str) -> dict[str, Any]:
        """`release.json` of a release. Raises FileNotFoundError where there is none, DataError for one that is damaged."""
        path = self.root / "releases" / tag / "release.json"
        found = unsealed(path.read_bytes())
        if found is None or found.get("tag") != tag or found.keys() != {"tag", "id", "seq", "before"}:
            raise DataError(f"{path}: not as it was written; restore it from a copy")
        return found

    def current(self) -> str | None:
        """Tag of the current release."""
        try:
            return Path(os.readlink(self.root / "current")).name
        except FileNotFoundError:
            return None

    def point(self, tag: str | None) -> None:
        """Make a release the current one: one rename, so that a reader sees the old or the new and nothing else."""
        pointer = self.root / "current"
        if tag is None:
            pointer.unlink(missing_ok=True)
        else:
            new = self.root / f".current.{secrets.token_hex(4)}"
            new.symlink_to(f"releases/{tag}")
            new.rename(pointer)
        sync_folder(self.root)

    @contextlib.contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Held by the one writer. The kernel takes it back from a process that died.

        Raises StorageError at once where another holds it, naming who."""
        with open(self.root / ".lock", "a+") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.seek(0)
                raise StorageError(
                    f"{self.root}: {held.read().strip() or 'another process'} is writing here; try again when it has ended"
                ) from None
            held.seek(0)
            held.truncate()
            held.write(f"{what}, process {os.getpid()} on {socket.gethostname()} since {now()}")
            held.flush()
            self._tidy()
            try:
                yield
            finally:
                held.truncate(0)

    def _tidy(self) -> None:
        """Take away what a writer that died has left in staging; under the lock it is nobody's."""
        for path in (self.root / "staging").glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.root.glob(".current.*"):
            path.unlink()

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder of one's own, gone at the end; what is finished is renamed out of it."""
        folder = self.root / "staging" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def events(self) -> list[dict[str, Any]]:
        """What was done, in order. A last line cut short was never acknowledged and is not there.

        Raises DataError where a line is not the one that was written."""
        return list(read_log(self.events_file))

    def record(self, action: str, **facts: Any) -> dict[str, Any]:
        """Add an event; under the lock."""
        return append(self.events_file, {"action": action, **facts})


def sealed(facts: dict[str, Any]) -> str:
    """A JSON object in one line that shows whether it is as it was written: `sum` is the digest of all else."""
    return json.dumps({**facts, "sum": _sum(facts)}, sort_keys=True)


def unsealed(line: bytes) -> dict[str, Any] | None:
    """The object of such a line, or of one that was written before lines had a `sum`; None for one that is damaged."""
    try:
        found = json.loads(line)
        said = found.pop("sum", None)
    except (ValueError, AttributeError, TypeError):
        return None
    return found if said in (None, _sum(found)) else None


def _sum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a log of chained JSON objects. Raises DataError where the chain is broken."""
    return Tail(path).news()


class Tail:
    """Reads a log as it grows: whole lines, each once. Needs no lock: a writer only adds lines."""

    def __init__(self, path: Path):
        self.path, self.offset, self.seq, self.before = path, 0, 0, ""

    def news(self) -> Iterator[dict[str, Any]]:
        """Lines that were added since. Raises DataError where the chain is broken."""
        try:
            with open(self.path, "rb") as log:
                log.seek(self.offset)
                *lines, rest = log.read().split(b"\n")
        except FileNotFoundError:
            return
        for line in [*lines, *whole_but_its_end(rest)]:
            found = unsealed(line)
            if found is None or (found.get("seq"), found.get("before")) != (self.seq + 1, self.before):
                raise DataError(
                    f"{self.path}: line {self.seq + 1} is not the one that was written; restore the log from a copy"
                )
            self.seq, self.before, self.offset = self.seq + 1, hashlib.sha256(line).hexdigest(), self.offset + len(line) + 1
            yield found


def whole_but_its_end(rest: bytes) -> list[bytes]:
    """What stands behind the last line break of a log, if that is damage: a whole line whose own break is another sign. What
    was cut short by a death is less than a line, is none yet, and nobody was told of it."""
    return [rest] if unsealed(rest[:-1]) is not None else []


def append(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Add a line to a log, on the disk before this returns; the log's one writer calls it.

    Order is that of the numbers: clocks jump."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as log:
        line = _last(log, path)
        last = unsealed(line) if line else {"seq": 0}
        if last is None:
            raise DataError(f"{path}: its last line is not the one that was written; restore the log from a copy")
        before = hashlib.sha256(line).hexdigest() if line else ""
        entry = {"seq": last["seq"] + 1, "time": now(), "who": who(), "host": socket.gethostname(), **facts, "before": before}
        log.write(sealed(entry).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())
    if entry["seq"] == 1:
        sync_folder(path.parent)
    return entry


def _last(log: BinaryIO, path: Path) -> bytes:
    """The last whole line of a log; what was cut short by a death behind it, and nobody was told of, is taken away."""
    end = log.seek(0, os.SEEK_END)
    tail, start = b"", end
    while start and tail.count(b"\n") < 2:
        start = max(0, start - 65536)
        log.seek(start)
        tail = log.read(end - start)
    whole = tail.rfind(b"\n") + 1
    if whole_but_its_end(tail[whole:]):
        raise DataError(f"{path}: its last line is not the one that was written; restore the log from a copy")
    log.truncate(start + whole)
    log.seek(0, os.SEEK_END)
    return tail[:whole].removesuffix(b"\n").rpartition(b"\n")[2]


def who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def safe_name(name: str, of: str) -> str:
    """A relative path with / between, as it may stand in a manifest.

    Raises DataError for one that could lead out of its folder, whatever system reads it: absolute, `..`, `\\`, a drive,
    control characters; or that is no UTF-8, in which lineage and JSON are written."""
    path = PurePosixPath(name)
    if not name or UNSAFE.search(name) or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise DataError(f"{of}: path {name!r} could lead out of its folder, or is no UTF-8; expected a plain relative path")
    return name


def open_below(root: Path, name: str, of: str = "") -> Path:
    """A file below a folder. Raises DataError where its name, or a link on the way, leads elsewhere, or it is no file."""
    path = root / safe_name(name, of or str(root))
    if os.path.realpath(path) != os.path.join(os.path.realpath(root), name):
        raise DataError(f"{path}: a link; expected a file of its own")
    if not path.is_file():
        raise DataError(f"{path}: no plain file there")
    return path


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a reader makes of a damaged file is a DataError that names it."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UNREADABLE as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: {why}; `voxelmill release verify` says what is damaged") from None


def write_whole(path: Path, text: str | bytes) -> None:
    """A file, whole or not at all, on the disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What was renamed in a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def canonical(value: Any) -> str:
    """JSON of which equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
