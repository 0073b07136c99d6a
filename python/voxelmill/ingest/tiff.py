"""TIFF stacks and folders of TIFF sections, refused from the header when they cannot be whole."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.volume import Region
from .sources import Source, natural

MOST_RATIO = 10_000      # bytes decoded per byte on disk; a file that claims more is hostile or damaged


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A TiffFile; whatever tifffile only logs (a cut chain of pages, say) is an error here."""
    import tifffile

    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear, log = Ear(logging.WARNING), logging.getLogger("tifffile")
    log.addHandler(ear)
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except DataError:
        raise
    except (tifffile.TiffFileError, OSError, ValueError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"{path.name}: not a whole TIFF ({error}); copy it again") from None
    finally:
        log.removeHandler(ear)
    if heard:
        raise DataError(f"{path.name}: damaged TIFF ({heard[0][:120]}); copy it again")


def check_page(page: Any, size: int, path: Path) -> None:
    """Raises DataError unless the page is one grey plane whose bytes lie inside the file."""
    if page.ndim != 2 or page.samplesperpixel != 1:
        raise DataError(f"{path.name}: a page of shape {page.shape} (colour?); expected one grey plane (y, x)")
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts)), default=0)
    if end > size or not page.dataoffsets:
        raise DataError(f"{path.name}: cut off: pixels reach to byte {end}, the file has {size}; copy it again")
    wanted = int(np.prod([float(n) for n in page.shape])) * page.dtype.itemsize
    if wanted > MOST_RATIO * size:
        raise DataError(f"{path.name}: a {size}-byte file that claims {wanted} bytes of pixels; refused")
    if page.compression == 1 and sum(page.databytecounts) < wanted:
        raise DataError(f"{path.name}: holds {sum(page.databytecounts)} of {wanted} bytes; copy it again")


def open_stack(path: Path) -> Source:
    """One multi-page TIFF: a page is a section."""
    with reading(path) as file:
        pages = list(file.pages)
        size = path.stat().st_size
        for page in pages:
            check_page(page, size, path)
        kinds = Counter((p.shape, p.dtype) for p in pages)
        if len(kinds) > 1:
            raise DataError(f"{path.name}: pages of unlike shape or type: {_listed(kinds)}; expected one")
        claimed = _claimed_pages(file)
        if claimed and claimed != len(pages):
            raise DataError(f"{path.name}: metadata says {claimed} pages, found {len(pages)}; copy it again")
        (shape, dtype), _ = kinds.most_common(1)[0]
        size_nm = _voxel_size(file)

    def read(region: Region) -> np.ndarray:
        with reading(path) as file:
            zs = range(*region[0].indices(len(pages)))
            return np.stack([file.pages[z].asarray()[region[1:]] for z in zs])

    return Source(path.name, "tiff", (len(pages), *shape), np.dtype(dtype), read, size_nm)


def _claimed_pages(file: Any) -> int | None:
    """The number of pages that ImageJ or tifffile metadata promise."""
    if file.is_imagej and file.imagej_metadata:
        return int(file.imagej_metadata.get("images", 0)) or None
    if file.is_shaped and file.shaped_metadata:
        shape = file.shaped_metadata[0]["shape"]
        return int(np.prod(shape[:-2])) if len(shape) > 2 else 1
    return None


_UNIT_NM = {"micron": 1e3, "um": 1e3, "µm": 1e3, "\\u00B5m": 1e3, "nm": 1.0, "mm": 1e6}


def _voxel_size(file: Any) -> tuple[float, ...] | None:
    """From OME or ImageJ metadata, when all three axes are stated."""
    if file.is_ome and file.ome_metadata:
        found = [re.search(rf'PhysicalSize{a}="([\d.eE+-]+)"', file.ome_metadata) for a in "ZYX"]
        units = [re.search(rf'PhysicalSize{a}Unit="([^"]+)"', file.ome_metadata) for a in "ZYX"]
        if all(found):
            return tuple(float(f[1]) * _UNIT_NM.get(u[1] if u else "µm", 1e3)  # type: ignore[index]
                         for f, u in zip(found, units))
    meta = file.imagej_metadata if file.is_imagej else None
    tags = file.pages[0].tags
    if meta and meta.get("unit") in _UNIT_NM and "spacing" in meta and "XResolution" in tags:
        nm = _UNIT_NM[meta["unit"]]
        across = [tags[t].value[1] / tags[t].value[0] * nm for t in ("YResolution", "XResolution")]
        return (float(meta["spacing"]) * nm, *across)
    return None


def open_folder(path: Path) -> Source:
    """A folder of one-page TIFFs in natural order; gaps in their numbers are missing sections."""
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in (".tif", ".tiff")),
                   key=lambda p: natural(p.name))
    if not files:
        raise DataError(f"{path.name}: neither a Zarr store nor a folder of TIFF sections")
    kinds: dict[tuple, list[str]] = {}
    for file in files:
        if file.stat().st_size == 0:
            raise DataError(f"{file.name}: the file is empty (0 bytes); copy it again")
        with reading(file) as tif:
            if len(tif.pages) != 1:
                raise DataError(f"{file.name}: {len(tif.pages)} pages; expected one section per file")
            check_page(tif.pages[0], file.stat().st_size, file)
            kinds.setdefault((tif.pages[0].shape, str(tif.pages[0].dtype)), []).append(file.name)
    if len(kinds) > 1:
        usual = max(kinds, key=lambda k: len(kinds[k]))
        odd = next(names[0] for kind, names in kinds.items() if kind != usual)
        found = next(kind for kind, names in kinds.items() if odd in names)
        raise DataError(f"{odd}: {found[0]} {found[1]}; expected {usual[0]} {usual[1]} as in the other sections")
    (shape, dtype), _ = next(iter(kinds.items()))
    slots, missing = _numbered(files)

    def read(region: Region) -> np.ndarray:
        out = []
        for z in range(*region[0].indices(len(slots))):
            file = slots[z]
            if file is None:
                out.append(np.zeros(shape, dtype)[region[1:]])
                continue
            with reading(file) as tif:
                out.append(tif.pages[0].asarray()[region[1:]])
        return np.stack(out)

    return Source(path.name, "tiff folder", (len(slots), *shape), np.dtype(dtype), read,
                  missing=missing, sections=[f.name if f else "" for f in slots])


def _numbered(files: list[Path]) -> tuple[list[Path | None], list[int]]:
    """Place files by their running number, where one number runs; else in order without gaps."""
    numbers = [[int(n) for n in re.findall(r"\d+", f.stem)] for f in files]
    if len({len(n) for n in numbers}) == 1 and numbers[0]:
        for place in reversed(range(len(numbers[0]))):
            column = [n[place] for n in numbers]
            if len(set(column)) == len(column) and max(column) - min(column) < 2 * len(column):
                by_number = dict(zip(column, files))
                slots = [by_number.get(n) for n in range(min(column), max(column) + 1)]
                return slots, [z for z, f in enumerate(slots) if f is None]
            if len(set(column)) > 1 and len(set(column)) < len(column) and len(numbers[0]) == 1:
                twice = Counter(column).most_common(1)[0][0]
                raise DataError(f"section {twice} comes twice: "
                                f"{', '.join(f.name for f, n in zip(files, column) if n == twice)}; keep one")
    return list(files), []


def _listed(kinds: Counter) -> str:
    return ", ".join(f"{n} of {s} {d}" for (s, d), n in kinds.items())
