"""Files below a folder, as people lay them out: with links to files and folders elsewhere."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


def below(root: Path) -> list[str]:
    """Names of all files below a folder, with / between, sorted. Links are followed, a loop of them once;
    links that lead nowhere are left out. (`Path.rglob` does not look into linked folders.)"""
    return sorted(_walk(str(root), "", os.path.realpath(root), ()))


def _walk(folder: str, name: str, real: str, above: tuple[str, ...]) -> Iterator[str]:
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                lies = os.path.realpath(entry.path) if entry.is_symlink() else f"{real}/{entry.name}"
                yield from _walk(entry.path, f"{name}{entry.name}/", lies, (*above, real))
            elif entry.is_file():
                yield name + entry.name


def row_of(root: Path | str, name: str) -> str:
    """Name, size and time of a file below a folder."""
    state = os.stat(f"{root}/{name}")
    return f"{name!r} {state.st_size} {state.st_mtime_ns}"


def key(root: Path | str, names: Iterable[str]) -> str:
    """Of some files below a folder, by name, size and time: another one as soon as one of them is another file."""
    return key_of(row_of(root, name) for name in sorted(names))


def key_of(rows: Iterable[str]) -> str:
    """One key of many rows, or of the keys of many."""
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@cache
def plain(path: Path) -> str:
    """A path as TensorStore finds it: it takes a backslash for a slash, so that such a path goes by a link."""
    if "\\" not in str(path):
        return str(path)
    folder = tempfile.mkdtemp(prefix="voxelmill-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, "link")
    link.symlink_to(path.absolute())
    return str(link)
