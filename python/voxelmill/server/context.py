"""What requests share: the catalogue, the indices of its releases, and who may ask for what."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from ..catalog import index as indices
from ..catalog import limits, releases
from ..catalog.regions import SUPERVOXELS, files_of
from ..catalog.store import Store, open_below
from ..core.errors import DataError, ParameterError
from ..core.volume import Image, open_image

KEPT = 4  # releases whose indices stay open


class Missing(Exception):
    """What was asked for is not there: 404."""


@dataclass
class Release:
    """An immutable release, opened once."""

    tag: str
    facts: dict[str, Any]
    files: Path
    index: indices.Index

    @cached_property
    def listed(self) -> dict[str, list]:
        return self.facts["files"]

    @cached_property
    def image(self) -> Image | None:
        return open_image(self.files / SUPERVOXELS) if (self.files / SUPERVOXELS).is_dir() else None

    @cached_property
    def neurons(self) -> dict[int, dict[str, Any]]:
        """Rows of the tables of nodes and neurons, by root id."""
        rows: dict[int, dict[str, Any]] = {}
        for name in (indices.NODES, indices.NEURONS):
            for row in indices.table(self.files, name):
                rows.setdefault(int(row["root_id"]), {}).update(row)
        return rows


@dataclass
class Context:
    """The catalogue as a server sees it; nothing here writes, but for indices that can be made again."""

    store: Store
    opened: dict[str, Release] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tag(self, tag: str) -> str:
        """A tag as given, or that of the current release. Raises Missing."""
        found = self.store.current() if tag == "current" else tag
        try:
            if found is not None and (self.store.release(found) / "release.json").exists():
                return found
        except ParameterError:
            pass
        raise Missing(f"no release {tag!r}; /api/releases lists them")

    def release(self, tag: str) -> Release:
        """Raises Missing, and DataError for one that is damaged."""
        name = self.tag(tag)
        if name not in self.opened:
            if not self.lock.acquire(timeout=min(max(limits.left(), 0), threading.TIMEOUT_MAX)):
                raise limits.TooLong  # another is opened, whose index is made
            try:
                if name not in self.opened:
                    while len(self.opened) >= KEPT:
                        self.opened.pop(next(iter(self.opened)))
                    self.opened[name] = Release(
                        name,
                        releases.manifest_of(self.store, name),
                        files_of(self.store, name),
                        indices.load(self.store, name),
                    )
                return self.opened[name]
            finally:
                self.lock.release()
        return self.opened[name]

    async def ready(self, tag: str) -> Release:
        """As `release`; one that is not open yet is opened by a thread, while others are answered."""
        if (name := self.tag(tag)) in self.opened:
            return self.opened[name]
        return await run_in_threadpool(self.release, name)

    def node(self, release: Release, root: str) -> int:
        """Number of a neurite in the index. Raises Missing."""
        found = release.index.node(int(root))
        if found is None:
            raise Missing(f"no neurite {root} in release {release.tag}")
        return found

    def check(self, release: Release, name: str) -> Path:
        """A file of a release. Raises Missing for one it never had, DataError for one that is lost or damaged in size."""
        if name not in release.listed:
            raise Missing(f"no file {name!r} in release {release.tag}")
        path = release.files / name
        try:
            # no link, whatever its length, and no folder on the way that is one
            good = open_below(release.files, name).stat().st_size == release.listed[name][0]
        except (OSError, DataError):
            good = False
        if not good:
            raise DataError(f"{release.tag}:{name}: damaged or lost on the server; `voxelmill release verify` says more")
        return path
