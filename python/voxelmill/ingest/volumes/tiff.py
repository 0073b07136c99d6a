"""TIFF stacks and folders of TIFF sections, refused from the header when they cannot be whole."""

from __future__ import annotations

import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import PER_NM, Region
from .source import Source
from .streams import whole

JPEG = (6, 7, 34892, 33007)  # compressions whose strips and tiles share tables
MOST_RATIO = 10_000  # bytes decoded per byte on disk; a file that claims more is hostile or damaged


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """Whatever tifffile raises, or only logs (a cut chain of pages, say), is a DataError here."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear, log = Ear(logging.WARNING), logging.getLogger("tifffile")
    log.addHandler(ear)
    before, log.propagate = log.propagate, False
    try:
        with whole(path, "TIFF"):
            yield
    finally:
        log.removeHandler(ear)
        log.propagate = before
    if heard:
        raise DataError(f"{path.name}: damaged TIFF ({heard[0][:120]}); copy it again")


def check_page(page: Any, size: int, path: Path) -> None:
    """Raises DataError unless the page is one grey plane whose bytes lie inside the file."""
    if page.ndim != 2 or page.photometric == 3:
        raise DataError(f"{path.name}: a page of shape {page.shape} (colour?); expected a grey plane (y, x)")
    wanted = math.prod(page.shape) * page.dtype.itemsize
    if wanted > MOST_RATIO * size:
        raise DataError(f"{path.name}: {size} bytes claim {wanted} bytes of pixels; the header is damaged")
    parts = list(zip(page.dataoffsets, page.databytecounts))
    if not parts or not wanted or not all(offset and count for offset, count in parts):
        raise DataError(f"{path.name}: a page of shape {page.shape} lacks pixels; copy it again")
    end = max(offset + count for offset, count in parts)
    if end > size:
        raise DataError(f"{path.name}: cut off: pixels reach to byte {end} of {size}; copy it again")
    if page.compression == 1 and sum(count for _, count in parts) < wanted:
        raise DataError(f"{path.name}: cut off: a page lacks some of its {wanted} bytes; copy it again")


def part(page: Any, rows: slice, columns: slice) -> np.ndarray:
    """A part of a page (y, x), decoding only the strips or tiles that hold it."""
    key = page.keyframe
    rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip((rows, columns), key.shape))
    size = rows.stop - rows.start, columns.stop - columns.start
    if size == key.shape or len(key.chunked) != 2:
        return page.asarray(maxworkers=1)[rows, columns]
    file, (height, width), (_, across) = page.parent.filehandle, key.chunks, key.chunked
    if key.is_memmappable:
        mapped = file.memmap_array(page.parent.byteorder + key.dtype.char, key.shape, page.dataoffsets[0])
        return np.ascontiguousarray(mapped[rows, columns])
    more = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader} if key.compression in JPEG else {}
    out = np.empty(size, key.dtype)
    for i in range(rows.start // height, -(-rows.stop // height)):
        for j in range(columns.start // width, -(-columns.stop // width)):
            n = i * across + j
            file.seek(page.dataoffsets[n])
            piece = key.decode(file.read(page.databytecounts[n]), n, _fullsize=key.is_tiled, **more)[0][0, ..., 0]
            y, x = i * height, j * width
            end = min(y + height, rows.stop), min(x + width, columns.stop)
            top, left = max(y, rows.start), max(x, columns.start)
            out[top - rows.start : end[0] - rows.start, left - columns.start : end[1] - columns.start] = piece[
                top - y : end[0] - y, left - x : end[1] - x
            ]
    return out


def open_stack(path: Path, channel: int = 0) -> Source:
    """One multi-page TIFF: a page is a section, unless OME or ImageJ metadata tell of channels."""
    import tifffile

    with listening(path):
        file = tifffile.TiffFile(path)
        pages: list[Any] = list(file.pages)
        for page in pages:
            check_page(page, path.stat().st_size, path)
        kinds = Counter((p.shape, str(p.dtype)) for p in pages)
        if len(kinds) > 1:
            listed = ", ".join(f"{n} of {s} {d}" for (s, d), n in kinds.items())
            raise DataError(f"{path.name}: pages of unlike shape or type: {listed}; expected one")
        size_nm = _voxel_size(file)
        bulk = _one_page_for_all(file, path)
        planes = pages if bulk is not None else _planes(file, pages, channel, path)
    shape, dtype = pages[0].shape, np.dtype(pages[0].dtype)

    def read(region: Region) -> np.ndarray:
        if bulk is not None:
            return np.ascontiguousarray(bulk[region])
        zs = range(*region[0].indices(len(planes)))
        out = np.empty((len(zs), *(len(range(*s.indices(n))) for s, n in zip(region[1:], shape))), dtype)
        with listening(path):
            for n, z in enumerate(zs):
                out[n] = part(planes[z], region[1], region[2])
        return out

    depth = len(planes) if bulk is None else len(bulk)
    return Source(path.name, "tiff", (depth, *shape), dtype, read, size_nm, close=file.close)


def _one_page_for_all(file: Any, path: Path) -> np.ndarray | None:
    """ImageJ writes a stack over 4 GB with one page; its sections follow each other without headers."""
    claimed = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    if claimed == len(file.pages):
        return None
    page, size = file.pages[0], path.stat().st_size
    offset, bytes_ = page.dataoffsets[0], math.prod(page.shape) * page.dtype.itemsize * claimed
    if file.is_imagej and (len(file.pages) > 1 or page.compression != 1 or offset + bytes_ > size):
        raise DataError(f"{path.name}: metadata says {claimed} pages, found {len(file.pages)}; copy it again")
    if not file.is_imagej:
        return None
    return np.memmap(path, page.dtype.newbyteorder(file.byteorder), "r", offset, (claimed, *page.shape))


def _planes(file: Any, pages: list[Any], channel: int, path: Path) -> list[Any]:
    """The pages of one channel in z order."""
    series = file.series
    if len(series) > 1:
        if any(s.axes != "YX" for s in series):
            raise DataError(f"{path.name}: {len(series)} images in one file; expected one stack")
        return pages
    lead = dict(zip(series[0].axes[:-2], series[0].shape[:-2]))
    found, count = list(series[0].pages), math.prod(lead.values())
    if len(found) != count or len(pages) < count or None in found:
        raise DataError(f"{path.name}: metadata says {count} pages, found {len(pages)}; copy it again")
    order = np.arange(count).reshape(tuple(lead.values()))
    if 1 < lead.get("C", 1) < count:  # a lone C axis are sections that were not named so
        if channel >= lead["C"]:
            raise ParameterError(f"--channel {channel}: {path.name} has {lead['C']} channels")
        order = order.take(channel, axis=list(lead).index("C"))
    if max((n for n in order.shape), default=1) != order.size:
        raise DataError(f"{path.name}: axes {series[0].axes} {series[0].shape}; expected ZYX or CZYX")
    return [found[n] for n in order.ravel()]


def _voxel_size(file: Any) -> tuple[float, ...] | None:
    """From OME or ImageJ metadata, when all three axes are stated."""
    if file.is_ome and file.ome_metadata:
        found = [re.search(rf'PhysicalSize{a}="([\d.eE+-]+)"', file.ome_metadata) for a in "ZYX"]
        units = [re.search(rf'PhysicalSize{a}Unit="([^"]+)"', file.ome_metadata) for a in "ZYX"]
        names = [u[1] if u else "µm" for u in units]
        if all(found) and all(n in PER_NM for n in names):
            return tuple(float(f[1]) * PER_NM[n] for f, n in zip(found, names) if f)
        return None
    meta = file.imagej_metadata if file.is_imagej else None
    if not meta or "spacing" not in meta:
        return None
    unit = str(meta.get("unit", "")).replace("\\u00B5", "µ")
    across = [file.pages[0].tags.get(name) for name in ("YResolution", "XResolution")]
    if unit not in PER_NM or not all(tag and tag.value[0] for tag in across):
        return None
    pixel = [tag.value[1] / tag.value[0] for tag in across]
    return tuple(float(v) * PER_NM[unit] for v in (meta["spacing"], *pixel))


def natural(name: str) -> list[Any]:
    """Sort key: `z2` before `z10`."""
    return [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", name)]


def open_folder(path: Path) -> Source:
    """A folder of one-page TIFFs in natural order; gaps in their numbers are missing sections."""
    import tifffile

    files = sorted(
        (p for p in path.iterdir() if p.suffix.lower() in (".tif", ".tiff") and p.name[0] != "."),
        key=lambda p: natural(p.name),
    )
    if not files:
        raise DataError(
            f"{path.name}: neither a Zarr store nor a folder of TIFF sections; "
            "expected zarr.json, .zgroup, .zarray, info or *.tif in it"
        )
    kinds: dict[tuple, list[str]] = {}
    for file in files:
        size = file.stat().st_size
        if size == 0:
            raise DataError(f"{file.name}: the file is empty (0 bytes); copy it again")
        with listening(file), tifffile.TiffFile(file) as tif:
            page: Any = tif.pages[0]
            if len(tif.pages) != 1:
                raise DataError(f"{file.name}: {len(tif.pages)} pages; expected one section per file")
            check_page(page, size, file)
            kinds.setdefault((page.shape, str(page.dtype)), []).append(file.name)
    if len(kinds) > 1:
        usual = max(kinds, key=lambda k: len(kinds[k]))
        odd = next(kind for kind in kinds if kind != usual)
        raise DataError(f"{kinds[odd][0]}: {odd[0]} {odd[1]}; expected {usual[0]} {usual[1]} as in the other sections")
    (shape, dtype), _ = next(iter(kinds.items()))
    return folder(path, [file.name if file else "" for file in numbered(files)], shape, dtype)


def folder(path: Path, names: list[str], shape: tuple[int, ...], dtype: str) -> Source:
    """A folder of sections whose headers are known: file names in z order, `""` where one is missing."""
    import tifffile

    def read(region: Region) -> np.ndarray:
        zs = range(*region[0].indices(len(names)))
        out = np.zeros((len(zs), *(len(range(*s.indices(n))) for s, n in zip(region[1:], shape))), dtype)
        for n, z in enumerate(zs):
            if names[z]:
                with listening(path / names[z]), tifffile.TiffFile(path / names[z]) as tif:
                    first: Any = tif.pages[0]
                    out[n] = part(first, region[1], region[2])
        return out

    height, width = shape
    return Source(
        path.name,
        "tiff folder",
        (len(names), height, width),
        np.dtype(dtype),
        read,
        missing=[z for z, name in enumerate(names) if not name],
        sections=names,
    )


def numbered(files: list[Path]) -> list[Path | None]:
    """Files by their running number, None where one is missing; in order where no number runs.

    The running number is the one that differs in every file; a constant step (0, 10, 20) is no gap.
    Of a section that comes twice with the same bytes one is kept. Raises DataError where they differ."""
    files = _once(files)
    numbers, best = [_numbers(file) for file in files], list[Path | None]()
    for column in zip(*numbers) if len({len(n) for n in numbers}) == 1 else ():
        if len(set(column)) == len(files):
            low, step = min(column), math.gcd(*(n - min(column) for n in column)) or 1
            if (max(column) - low) // step < 2 * len(files):
                by_number = {(n - low) // step: file for n, file in zip(column, files)}
                slots = [by_number.get(n) for n in range(max(by_number) + 1)]
                best = slots if not best or len(slots) <= len(best) else best
    if not best and len(files) > 1:
        print("WARNING [ingest] the names do not number the sections; taken in their order", file=sys.stderr)
    return best or list(files)


def _numbers(file: Path) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", file.stem))


def _once(files: list[Path]) -> list[Path]:
    """One file for each set of numbers."""
    from ...core.manifest import digest_file

    kept: dict[Any, Path] = {}
    for file in files:
        first = kept.setdefault(_numbers(file) or file.name, file)
        if first is not file:
            if digest_file(first) != digest_file(file):
                raise DataError(f"{first.name}, {file.name}: the same section twice, with unlike content; keep one")
            print(f"WARNING [ingest] {file.name}: the same as {first.name}; left out", file=sys.stderr)
    return list(kept.values())
