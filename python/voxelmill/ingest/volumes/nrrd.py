"""NRRD, raw, gzip or bzip2, in one file or with a header of its own; x is the fastest axis. Raw is mapped, what is
packed is read forward."""

from __future__ import annotations

import bz2
import gzip
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ...core.errors import DataError
from .arrays import in_memory
from .axes import Turn, turn
from .source import Placed, Source, Wanted, placed
from .streams import Forward, check_size, whole

TYPES = {
    "signed char": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "float": "f4",
    "double": "f8",
    **{
        f"{sign}{word}": f"{kind}{size}"
        for sign, kind in (("", "i"), ("signed ", "i"), ("unsigned ", "u"), ("u", "u"))
        for size, words in ((2, ("short", "short int")), (4, ("int",)), (8, ("longlong", "long long", "long long int")))
        for word in words
    },
    **{f"{k}int{8 * n}{t}": f"{k or 'i'}{n}" for k in ("", "u") for n in (1, 2, 4, 8) for t in ("", "_t")},
}

SPATIAL = ("domain", "space", "none", "???", "")  # kinds of axes that may be z, y, x

UNPACKED: dict[
    str, tuple[Callable[..., Any], float]
] = {  # by encoding: what opens it, and how many bytes one byte can become at best
    "gzip": (gzip.open, 1100.0),
    "gz": (gzip.open, 1100.0),
    "bzip2": (bz2.open, 2e6),
    "bz2": (bz2.open, 2e6),
}


def open_nrrd(path: Path, wanted: Wanted) -> Source:
    """A `.nrrd`, or a header (`.nhdr`) whose voxels lie in one file beside it."""
    import nrrd

    path = path.resolve()  # a header leads on from where it lies
    with whole(path, "NRRD file"), open(path, "rb") as f:
        header, begin = nrrd.read_header(iter(_lines(f))), f.tell()
        shape = tuple(int(n) for n in header["sizes"])[::-1]
        encoding, kind = header["encoding"].lower(), header["type"].lower()
        skipped = [int(header.get(f"{w} skip", header.get(f"{w}skip", 0))) for w in ("line", "byte")]
        how = turn(None, shape, 0, path.name)
        at, runs_back = _placed(header, how)
    outside = header.get("data file", header.get("datafile"))
    if kind not in TYPES or encoding not in ("raw", *UNPACKED) or min(skipped[0], skipped[1] + (encoding == "raw")) < 0:
        raise DataError(f"{path.name}: {kind} in {encoding}; expected integers or floats, raw, gzip or bzip2")
    data, begin = (path, begin) if outside is None else (_beside(path, outside), 0)
    dtype = np.dtype(TYPES[kind]).newbyteorder(_byte_order(header, np.dtype(TYPES[kind]).itemsize, path))
    _refuse_colours(header, how, path)
    begin = _after_lines(data, begin, skipped[0])
    inside = data.stat().st_size - begin
    if encoding == "raw":
        needed = math.prod(shape) * dtype.itemsize
        start_at = inside - needed if skipped[1] < 0 else skipped[1]  # -1: they are the last of the file
        check_size(data, shape, dtype, inside - max(start_at, 0))
        made = in_memory(path, "nrrd", np.memmap(data, dtype, "r", begin + start_at, shape), at)
    else:
        opener, most = UNPACKED[encoding]
        check_size(data, shape, dtype, most * inside)

        def start() -> IO[bytes]:
            file = open(data, "rb")  # noqa: SIM115
            file.seek(begin)
            unpacked: Any = opener(file)
            for left in range(skipped[1], 0, -(2**20)):  # bytes are skipped of what was unpacked
                unpacked.read(min(left, 2**20))
            return unpacked

        stream = Forward(start, how.pick(shape), dtype, data)
        made = Source(path.name, "nrrd", stream.shape, dtype, stream.read, at, forward=True, close=stream.finish)
    if runs_back:
        made.remarks.append("space directions turn or mirror the axes; read as stored, without an origin")
    named = [str(label).strip().lower() for label in header.get("labels", [])]
    if set("xyz") <= set(named) and [n for n in named if n in "xyz"] != ["x", "y", "z"]:
        made.remarks.append(f"its axes are labelled {', '.join(named)}; read as x, y, z, the fastest first")
    if data != path:
        made.remarks.append(f"its voxels lie in {data.name}: neither digests nor -resume see a change there")
    return made


def _byte_order(header: Any, size: int, path: Path) -> Literal["<", ">"]:
    """Raises DataError where the header of values of several bytes does not say it."""
    said = str(header.get("endian", "little" if size == 1 else "nothing")).lower()
    if said not in ("little", "big"):
        raise DataError(f"{path.name}: its header says endian: {said}; expected little or big, write into it which it is")
    return "<" if said == "little" else ">"


def _refuse_colours(header: Any, how: Turn, path: Path) -> None:
    """Raises DataError where an axis that would be z, y or x is one of colours, components or time by its kind."""
    kinds = [str(kind).lower() for kind in header.get("kinds", [])][::-1]
    for axis in how.kept if len(kinds) == len(how.index) else ():
        if kinds[axis] not in SPATIAL:
            raise DataError(
                f"{path.name}: an axis of the kind {kinds[axis]}; expected three of space, save one component alone"
            )


def _beside(path: Path, named: Any) -> Path:
    """The one file that a header names. Raises DataError where it names several, or one that is not there."""
    if not isinstance(named, str) or named.upper().startswith("LIST") or "%" in named:
        raise DataError(f"{path.name}: its voxels lie in several files; save it as one NRRD")
    data = path.parent / named
    if not data.is_file():
        raise DataError(f"{path.name}: its voxels lie in {named}, which is not there; put it beside the header")
    return data


def _after_lines(data: Path, begin: int, lines: int) -> int:
    """The byte behind so many lines, from `begin` on."""
    with open(data, "rb") as file:
        file.seek(begin)
        for _ in range(lines):
            file.readline(2**16)
        return file.tell()


def _lines(file: IO[bytes]) -> list[str]:
    """The lines of a header up to the empty one; pynrrd would leave out what is not ASCII, and make metres of µm."""
    found: list[str] = []
    while len(found) < 10_000:
        line = file.readline(2**16)
        try:
            found.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            found.append(line.decode("latin-1"))
        if not line.strip() or re.match(rb"data ?file: *list", line, re.IGNORECASE):  # a list of files ends a header, too
            break
    return found


def _placed(header: Any, how: Turn) -> tuple[Placed, bool]:
    """Where the voxels lie, and whether the axes are turned against space (or mirrored)."""
    directions, units = header.get("space directions"), header.get("units")
    origin, turned = None, False
    if directions is not None:
        full = np.array([np.full(3, np.nan) if row is None else row for row in directions], float)
        full = full[np.isfinite(full).all(1)]
        spacing, units = np.linalg.norm(full, axis=1), header.get("space units")
        turned = full.shape != (3, 3) or not np.allclose(full, np.diag(spacing), atol=1e-6 * max(spacing, default=1))
        if not turned:
            origin = header.get("space origin")
    else:
        spacing = header.get("spacings")
        mins, centres = header.get("axis mins"), list(header.get("centerings", []))[-3:]
        if mins is not None and spacing is not None and len(mins) == len(spacing) == 3:
            # of a cell it is the border, not the centre
            origin = [m + s / 2 if c == "cell" else m for m, s, c in zip(mins, spacing, centres or [None] * 3)]
    if spacing is None or len(spacing) not in (3, len(how.index)):
        return Placed(), turned
    spacing, units = _three(spacing, how), [None] * 3 if units is None else _three(units, how)
    if units == [None] * 3 and directions is None:
        return (Placed() if np.allclose(spacing, 1) else placed(spacing, units)), turned
    return placed(
        spacing, [None if u is None else str(u) for u in units], None if origin is None else list(origin)[::-1]
    ), turned


def _three(values: Any, how: Turn) -> list:
    """Of z, y, x, from one value for each axis, or for each of space, the fastest first."""
    values = list(values)[::-1]
    return list(how.pick(values)) if len(values) == len(how.index) else values
