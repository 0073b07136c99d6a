"""Files below a folder, as people lay them out: with links to files and folders elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
