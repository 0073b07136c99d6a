"""A movie in a zip: unpacked into the task's own folder while it is open, and read there as what it is."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from voxelmill.core.errors import DataError

from .movie import Movie

MOST_RATIO = 1100  # deflate packs 1032 to 1 at best


def open_zip(path: Path, open_inner: Callable[[Path], Movie]) -> Movie:
    """The movie that a zip holds, alone or in a folder; what was unpacked goes when it is closed.

    Raises DataError for entries that lead out of the zip, are encrypted or damaged, and where the disk is too small."""
    place = tempfile.TemporaryDirectory(prefix="unpacked-", dir=Path.cwd())
    try:
        into = Path(place.name) / path.stem  # notes name this, not the folder, whose name is another each time
        into.mkdir()
        movie = open_inner(_unpacked(path, into))
    except BaseException:
        place.cleanup()
        raise
    own = movie.close

    def close() -> None:
        own()
        place.cleanup()

    movie.close, movie.archive = close, path  # type: ignore[method-assign]
    return movie


def _unpacked(path: Path, into: Path) -> Path:
    """What lies at the root of the zip, if it is one file or folder; else the root."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = [e for e in file.infolist() if "__MACOSX" not in e.filename]
            for entry in entries:
                _check(entry, path)
            needed, packed = sum(e.file_size for e in entries), path.stat().st_size
            if needed > MOST_RATIO * packed:
                raise DataError(f"{path}: {packed} bytes claim to hold {needed}; the zip is damaged")
            free = shutil.disk_usage(into).free
            if needed > free:
                raise DataError(f"{path}: unpacked it takes {needed} bytes, and {free} are free; make room")
            file.extractall(into, entries)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DataError(f"{path}: the zip is damaged or of no known kind ({error}); copy or pack it again") from error
    inside = [p for p in into.iterdir() if not p.name.startswith(".")]
    if len(inside) == 1 and zipfile.is_zipfile(inside[0]):
        raise DataError(f"{path}: holds another zip, {inside[0].name}; unpack that, and give what it holds")
    return inside[0] if len(inside) == 1 else into


def _check(entry: zipfile.ZipInfo, path: Path) -> None:
    name = PurePosixPath(entry.filename)
    if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{path}: {entry.filename!r} in it leads out of it; pack it again without links and outer paths")
    if entry.flag_bits & 1:
        raise DataError(f"{path}: {entry.filename!r} in it is encrypted; unpack it, and give what it holds")
