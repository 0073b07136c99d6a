"""Zip volume: the subject's volume as one file. Nothing is compressed again; `zarr.json` stands at the root, and first."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out

FOREVER = (1980, 1, 1, 0, 0, 0)  # the same bytes every time
PIECE = 1 << 22


class Parameters(Params):
    """Zipping has nothing to choose."""


def run(p: Parameters, task: Task, *, volume: In, output: Out) -> None:
    files = sorted((path for path in volume.rglob("*") if path.is_file()), key=lambda path: (len(path.parts), path))
    with zipfile.ZipFile(output, "w") as archive:
        for path in task.progress(files, "files"):
            add(archive, path, str(path.relative_to(volume)))


def add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    """A file as it is, piece by piece."""
    with archive.open(zipfile.ZipInfo(name, FOREVER), "w", force_zip64=True) as target, open(path, "rb") as source:
        while piece := source.read(PIECE):
            target.write(piece)
