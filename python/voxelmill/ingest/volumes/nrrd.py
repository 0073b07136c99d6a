"""NRRD, raw or gzip, in one file; x is the fastest axis. Raw is mapped, gzip is read forward."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...core.errors import DataError
from .arrays import in_memory
from .axes import turn
from .source import Placed, Source, Wanted, placed
from .streams import Forward, check_size, whole

TYPES = {
    "signed char": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "short": "i2",
    "ushort": "u2",
    "unsigned short": "u2",
    "int": "i4",
    "uint": "u4",
    "unsigned int": "u4",
    "float": "f4",
    "double": "f8",
    **{f"{k}int{8 * n}{t}": f"{k or 'i'}{n}" for k in ("", "u") for n in (1, 2, 4, 8) for t in ("", "_t")},
}


def open_nrrd(path: Path, wanted: Wanted) -> Source:
    import nrrd

    with whole(path, "NRRD file"), open(path, "rb") as f:
        header, begin = nrrd.read_header(iter(_lines(f))), f.tell()
        shape = tuple(int(n) for n in header["sizes"])[::-1]
        encoding, kind = header["encoding"].lower(), header["type"].lower()
        at, runs_back = _placed(header)
    outside = "data file" in header or "datafile" in header
    if outside or kind not in TYPES or encoding not in ("raw", "gzip", "gz"):
        raise DataError(
            f"{path.name}: {kind} in {encoding}{', in a file of its own' if outside else ''}; "
            "expected integers or floats, raw or gzip, in the file itself"
        )
    dtype = np.dtype(("<" if header.get("endian", "little") == "little" else ">") + TYPES[kind])
    inside = path.stat().st_size - begin
    if encoding == "raw":
        check_size(path, shape, dtype, inside)
        made = in_memory(path, "nrrd", np.memmap(path, dtype, "r", begin, shape), at)
    else:
        check_size(path, shape, dtype, 1100.0 * inside)  # deflate packs 1032 to 1 at best

        def start() -> IO[bytes]:
            file = open(path, "rb")  # noqa: SIM115
            file.seek(begin)
            return gzip.open(file)  # type: ignore[return-value]

        stream = Forward(start, turn(None, shape, 0, path.name).pick(shape), dtype, path)
        made = Source(path.name, "nrrd", stream.shape, dtype, stream.read, at, forward=True, close=stream.finish)
    if runs_back:
        made.remarks.append("space directions turn or mirror the axes; read as stored, without an origin")
    return made


def _lines(file: IO[bytes]) -> list[str]:
    """The lines of a header up to the empty one; pynrrd would leave out what is not ASCII, and make metres of µm."""
    found: list[str] = []
    while len(found) < 10_000:
        line = file.readline(2**16)
        try:
            found.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            found.append(line.decode("latin-1"))
        if not line.strip():
            break
    return found


def _placed(header: Any) -> tuple[Placed, bool]:
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
        mins = header.get("axis mins")
        origin = None if mins is None or len(mins) != 3 else mins
    if spacing is None or len(spacing) < 3:
        return Placed(), turned
    spacing, units = list(spacing)[-3:][::-1], ([None] * 3 if units is None else list(units)[-3:][::-1])
    if units == [None] * 3 and directions is None:
        return (Placed() if np.allclose(spacing, 1) else placed(spacing, units)), turned
    return placed(
        spacing, [None if u is None else str(u) for u in units], None if origin is None else list(origin)[::-1]
    ), turned
