"""Proofreading of a release: splits and merges as an append-only log over its merge table.

    edits/TAG/log.jsonl     one operation a line, on the disk before it is acknowledged; each names the version it was made on

The served mapping is the replay of the log. An undo is an operation that names another; so is a redo.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np

from ..catalog import releases
from ..catalog.index import Index
from ..catalog.store import Store, Tail, append, canonical
from ..core.errors import DataError, ParameterError

MOST = 100_000  # supervoxels that one operation may move


class Conflict(Exception):
    """The state is another than the one an edit was made on: 409."""


class Gone(Exception):
    """The release is withdrawn: 410."""


class Absent(ParameterError):
    """What an edit names is not there: 404."""


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

    def places(self, supervoxels: Sequence[int] | np.ndarray) -> np.ndarray:
        """Raises Absent for what is no supervoxel."""
        wanted = np.asarray(supervoxels, np.uint64)
        at = np.searchsorted(self.index.supervoxels, wanted)
        known = self.index.supervoxels[np.minimum(at, len(self.index.supervoxels) - 1)] == wanted
        if not known.all():
            raise Absent(f"{wanted[~known][0]}: no supervoxel of this release")
        return at

    def root(self, supervoxel: int) -> int:
        """Raises ParameterError for what is no supervoxel, or masked."""
        root = int(self.roots[self.places([supervoxel])[0]])
        if not root:
            raise ParameterError(f"{supervoxel}: in a region that this release is made without")
        return root

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


class How(TypedDict):
    """What every edit says: who, on which version, why; `key` names the request, so that it is done once."""

    by: str
    base_version: int
    reason: str
    key: NotRequired[str]


class Editor:
    """The edits of a release, for one process among several, and any of its threads."""

    def __init__(self, store: Store, tag: str, index: Index):
        """Raises DataError for a release without a merge table."""
        if not len(index.supervoxels):
            raise DataError(f"release {tag} has no merge table; there is nothing to proofread")
        self.store, self.tag, self.state = store, tag, State.of(index)
        self.folder = store.root / "edits" / tag
        self.tail = Tail(self.folder / "log.jsonl")
        self.thread = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """One version, whole, as long as it is looked at. Writes nothing, and waits for no other process."""
        with self.thread:
            self._catch_up()
            yield self.state

    @contextlib.contextmanager
    def writing(self) -> Iterator[State]:
        """One writer at a time, of all processes; the state is that of the log when this begins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.reading() as state:
                yield state

    def _catch_up(self) -> None:
        for entry in self.tail.news():
            self.state.apply(entry)

    def refresh(self) -> State:
        """The state of now, for a process of one thread."""
        with self.reading() as state:
            return state

    def _do(self, asked: dict[str, Any], how: How, plan: Callable[[State], dict[str, Any]]) -> dict[str, Any]:
        """Log and apply what `plan` makes of a request, or give the first answer to one that is made again.

        Raises Conflict where the key was used for another request."""
        by, base, key, words = how["by"], how["base_version"], how.get("key", ""), canonical(asked)
        with self.writing() as state:
            if known := state.keys.get(key) if key else None:
                if (known["by"], known["asked"]) != (by, words):
                    raise Conflict("this idempotency key was used for another request; take a new one")
                return known
            planned = plan(state)
            if releases.status(self.store)[self.tag] == "withdrawn":
                raise Gone(f"release {self.tag} is withdrawn; proofread the current one")
            if not how["reason"].strip():
                raise ParameterError("`reason` is empty; say why, in a few words")
            if base != state.version:
                raise Conflict(f"made on version {base}, the release is at version {state.version}; look again and repeat")
            facts = {"by": by, "key": key, "reason": " ".join(how["reason"].split()), "base_version": base, "asked": words}
            entry = append(self.tail.path, {**facts, "op": asked["op"], **planned})
            self._catch_up()
            return entry

    def merge(self, a: int, b: int, **how: Unpack[How]) -> dict[str, Any]:
        """Make the neurites of two supervoxels one; the larger keeps its id."""

        def plan(state: State) -> dict[str, Any]:
            one, other = state.root(a), state.root(b)
            if one == other:
                raise Conflict(f"supervoxels {a} and {b} are of one neurite, {one}, already")
            keep, go = sorted((one, other), key=lambda r: (-len(state.members(r)), r))
            return {"from": str(go), "to": str(keep), "supervoxels": self._named(state.members(go))}

        return self._do({"op": "merge", "a": a, "b": b}, how, plan)

    def split(self, take: Sequence[int], **how: Unpack[How]) -> dict[str, Any]:
        """Make supervoxels of one neurite a neurite of their own, with a new id."""

        def plan(state: State) -> dict[str, Any]:
            if not take:
                raise ParameterError("`supervoxels` is empty; name what is to be split off")
            places = np.unique(state.places(take))
            roots = np.unique(state.roots[places])
            if len(roots) > 1:
                raise Conflict(f"these supervoxels are of {len(roots)} neurites; a split takes a part of one")
            root = state.root(take[0])
            if len(places) == len(state.members(root)):
                raise Conflict(f"these are all the supervoxels of neurite {root}; nothing would be left of it")
            return {"from": str(root), "to": str(state.highest + 1), "supervoxels": self._named(places)}

        return self._do({"op": "split", "take": sorted(set(take))}, how, plan)

    def undo(self, of: int, redo: bool = False, **how: Unpack[How]) -> dict[str, Any]:
        """Take an operation back, or (redo) do one again that was taken back."""

        def plan(state: State) -> dict[str, Any]:
            if not 1 <= of <= len(state.done) or state.done[of - 1]["op"] in ("undo", "redo"):
                raise Absent(f"no split or merge of number {of}")
            if (of in state.undone) != redo:
                raise Conflict(f"operation {of} is {'not undone' if redo else 'undone already'}")
            state.check(state.done[of - 1], redo)
            return {"of": of}

        return self._do({"op": "redo" if redo else "undo", "of": of}, how, plan)

    def _named(self, places: np.ndarray) -> list[str]:
        if len(places) > MOST:
            raise ParameterError(f"{len(places)} supervoxels in one operation; {MOST} at most")
        return [str(s) for s in self.state.index.supervoxels[places].tolist()]
