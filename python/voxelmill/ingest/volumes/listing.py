"""The files behind a source: listed by the task that plans, checked and digested in shares by those that read.

A digest costs a pass over all bytes. Shared out, no task makes that pass alone, and the whole comes out as
`manifest.digest_of` gives it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from ...core import manifest, pool
from ...core.errors import DataError
from ...core.files import below


class Listing(BaseModel, frozen=True):
    """Files below a folder by name, or one file under the name `""`: size in bytes, time of change in ns."""

    root: str
    files: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, root: Path) -> Listing:
        names = below(root) if root.is_dir() else [""]
        return cls(root=str(root.resolve()), files={n: _state(root / n) for n in names})

    def share(self, n: int, of: int) -> list[str]:
        """The n-th of `of` parts of the names: each name is in one part."""
        names = list(self.files)
        return [name for k, name in enumerate(names) if k * of // len(names) == n]

    def check(self, root: Path, names: Iterable[str] | None = None) -> None:
        """Raises DataError where a file (of `names`) is not as it was listed.

        A copy of the source has times of its own: there only sizes are compared."""
        same = str(root.resolve()) == self.root
        for name in self.files if names is None else names:
            size, changed = self.files[name]
            try:
                now = _state(root / name)
            except FileNotFoundError:
                now = (-1, -1)
            if now[0] != size or (same and now[1] != changed):
                raise DataError(
                    f"{root.name}{'/' if name else ''}{name}: changed while it was being read; "
                    "let it rest, and run again with -resume"
                )

    def digests(self, root: Path, names: Iterable[str]) -> dict[str, list]:
        """Size and sha256 of files, as a manifest lists them. Raises DataError as `check` does."""
        names = list(names)
        there = [n for n in names if (root / n).exists()]
        digests = pool.each(manifest.digest_file, [root / n for n in there])
        found = {n: [self.files[n][0], digest] for n, digest in zip(there, digests, strict=True)}
        self.check(root, names)
        return found

    def whole(self, parts: dict[str, list]) -> str:
        """Digest of the source from those of its files. Raises DataError where one is lacking."""
        if parts.keys() != self.files.keys():
            raise DataError(f"{self.root}: {len(parts)} of {len(self.files)} files have a digest; run again")
        return parts[""][1] if "" in parts else manifest.digest_files(parts)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
