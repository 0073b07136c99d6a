"""Proofreading of a release: splits and merges as an append-only log over its merge table.

    edits/TAG/log.jsonl     one operation a line, on the disk before it is acknowledged; each names the version it was made on

The served mapping is the replay of the log. An undo is an operation that names another; so is a redo.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import releases
from ..catalog.index import Index
from ..catalog.store import Store, append, canonical, read_log
from ..core.errors import DataError, ParameterError

MOST = 100_000  # supervoxels that one operation may move


class Conflict(Exception):
    """The state is another than the one an edit was made on: 409."""


class Gone(Exception):
    """The release is withdrawn: 410."""


@dataclass
class State:
    """Root ids of all supervoxels after so many operations."""

    index: Index
    roots: np.ndarray
    version: int = 0
    done: list[dict[str, Any]] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: dict[int, np.ndarray] = field(default_factory=dict)  # members of roots that edits have touched
    highest: int = 0

    @classmethod
    def of(cls, index: Index) -> State:
        roots = np.array(index.supervoxel_root)
        return cls(index, roots, highest=int(roots.max(initial=0)))

    def members(self, root: int) -> np.ndarray:
        """Places of a neurite's supervoxels, ascending."""
        if root not in self.moved:
            ends = np.searchsorted(self.index.member_roots, (np.uint64(root), np.uint64(root + 1)))
            self.moved[root] = np.sort(self.index.members[slice(*ends)])
        return self.moved[root]

    def places(self, supervoxels: Sequence[int]) -> np.ndarray:
        """Raises ParameterError for what is no supervoxel."""
        wanted = np.asarray(supervoxels, np.uint64)
        at = np.searchsorted(self.index.supervoxels, wanted)
        known = self.index.supervoxels[np.minimum(at, len(self.index.supervoxels) - 1)] == wanted
        if not known.all():
            raise ParameterError(f"{wanted[~known][0]}: no supervoxel of this release")
        return at

    def root(self, supervoxel: int) -> int:
        return int(self.roots[self.places([supervoxel])[0]])

    def move(self, places: np.ndarray, before: int, after: int) -> None:
        """Supervoxels of one neurite become another's."""
        self.moved[before] = np.setdiff1d(self.members(before), places, assume_unique=True)
        self.moved[after] = np.union1d(self.members(after), places)
        self.roots[places] = after
        self.highest = max(self.highest, after)

    def apply(self, entry: dict[str, Any]) -> None:
        """Replay an operation that was acknowledged."""
        kind = entry["op"]
        if kind in ("undo", "redo"):
            of = self.done[entry["of"] - 1]
            forward = kind == "redo"
            (self.undone.discard if forward else self.undone.add)(of["seq"])
            self.shift(of, forward)
        else:
            self.shift(entry, True)
        self.done.append(entry)
        self.version = entry["seq"]
        if entry.get("key"):
            self.keys[entry["key"]] = entry

    def shift(self, of: dict[str, Any], forward: bool) -> None:
        places = self.places([int(s) for s in of["supervoxels"]])
        before, after = int(of["from"]), int(of["to"])
        self.move(places, *((before, after) if forward else (after, before)))

    def check(self, of: dict[str, Any], forward: bool) -> None:
        """Raises Conflict where what an operation moved was changed since."""
        start, end = (int(of["from"]), int(of["to"])) if forward else (int(of["to"]), int(of["from"]))
        places = self.places([int(s) for s in of["supervoxels"]])
        if not (self.roots[places] == start).all():
            raise Conflict(f"operation {of['seq']} moved supervoxels that were changed since; undo the later ones first")
        merging = (of["op"] == "merge") == forward
        if merging and not len(np.setdiff1d(self.members(end), places)):
            raise Conflict(f"operation {of['seq']}: neurite {end} is gone; undo the later operations first")
        if not merging and len(self.members(end)):
            raise Conflict(f"operation {of['seq']}: neurite {end} is there again; undo the later operations first")


class Editor:
    """The edits of a release, for one process among several."""

    def __init__(self, store: Store, tag: str, index: Index):
        """Raises DataError for a release without a merge table."""
        if not len(index.supervoxels):
            raise DataError(f"release {tag} has no merge table; there is nothing to proofread")
        self.store, self.tag, self.state = store, tag, State.of(index)
        self.folder = store.root / "edits" / tag
        self.thread = threading.Lock()
        self.offset = 0

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One writer at a time, of all processes; the state is that of the log when this begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.thread, open(self.folder / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        size = self.log.stat().st_size if self.log.exists() else 0
        if size != self.offset:
            for entry in read_log(self.log):
                if entry["seq"] > self.state.version:
                    self.state.apply(entry)
            self.offset = size

    def refresh(self) -> State:
        """The state to read."""
        with self.held():
            return self.state

    def _add(self, by: str, base: int, key: str, why: str, **facts: Any) -> dict[str, Any]:
        """Check, log, apply: under the lock."""
        if releases.status(self.store)[self.tag] == "withdrawn":
            raise Gone(f"release {self.tag} is withdrawn; proofread the current one")
        if not why.strip():
            raise ParameterError("`reason` is empty; say why, in a few words")
        if base != self.state.version:
            raise Conflict(f"made on version {base}, the release is at version {self.state.version}; look again and repeat")
        entry = append(self.log, {"by": by, "key": key, "reason": " ".join(why.split()), "base_version": base, **facts})
        self.offset = self.log.stat().st_size
        self.state.apply(entry)
        return entry

    def _answered(self, key: str, by: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The first answer to a request that is made again. Raises Conflict where the key was used for another."""
        known = self.state.keys.get(key) if key else None
        if known is not None and (known["by"] != by or known["asked"] != canonical(asked)):
            raise Conflict("this idempotency key was used for another request; take a new one")
        return known

    def merge(self, a: int, b: int, *, by: str, base_version: int, reason: str, key: str = "") -> dict[str, Any]:
        """Make the neurites of two supervoxels one; the larger keeps its id."""
        asked = {"op": "merge", "a": a, "b": b}
        with self.held():
            if known := self._answered(key, by, asked):
                return known
            one, other = self.state.root(a), self.state.root(b)
            if one == other:
                raise Conflict(f"supervoxels {a} and {b} are of one neurite, {one}, already")
            keep, go = sorted((one, other), key=lambda r: (-len(self.state.members(r)), r))
            places = self.state.members(go)
            return self._add(
                by,
                base_version,
                key,
                reason,
                asked=canonical(asked),
                op="merge",
                to=str(keep),
                **{"from": str(go)},
                supervoxels=self._named(places),
            )

    def split(self, take: Sequence[int], *, by: str, base_version: int, reason: str, key: str = "") -> dict[str, Any]:
        """Make supervoxels of one neurite a neurite of their own, with a new id."""
        asked = {"op": "split", "take": sorted(set(take))}
        with self.held():
            if known := self._answered(key, by, asked):
                return known
            if not take:
                raise ParameterError("`supervoxels` is empty; name what is to be split off")
            places = np.unique(self.state.places(take))
            roots = np.unique(self.state.roots[places])
            if len(roots) > 1:
                raise Conflict(f"these supervoxels are of {len(roots)} neurites; a split takes a part of one")
            root = int(roots[0])
            if len(places) == len(self.state.members(root)):
                raise Conflict(f"these are all the supervoxels of neurite {root}; nothing would be left of it")
            return self._add(
                by,
                base_version,
                key,
                reason,
                asked=canonical(asked),
                op="split",
                to=str(self.state.highest + 1),
                **{"from": str(root)},
                supervoxels=self._named(places),
            )

    def undo(self, of: int, *, by: str, base_version: int, reason: str, key: str = "", redo: bool = False) -> dict[str, Any]:
        """Take an operation back, or (redo) do one again that was taken back."""
        word = "redo" if redo else "undo"
        asked = {"op": word, "of": of}
        with self.held():
            if known := self._answered(key, by, asked):
                return known
            if not 1 <= of <= len(self.state.done) or self.state.done[of - 1]["op"] in ("undo", "redo"):
                raise ParameterError(f"no split or merge of number {of}")
            if (of in self.state.undone) != redo:
                raise Conflict(f"operation {of} is {'not undone' if redo else 'undone already'}")
            self.state.check(self.state.done[of - 1], redo)
            return self._add(by, base_version, key, reason, asked=canonical(asked), op=word, of=of)

    def _named(self, places: np.ndarray) -> list[str]:
        if len(places) > MOST:
            raise ParameterError(f"{len(places)} supervoxels in one operation; {MOST} at most")
        return [str(s) for s in self.state.index.supervoxels[places].tolist()]
