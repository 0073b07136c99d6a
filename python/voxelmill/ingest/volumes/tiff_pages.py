"""Pages of TIFFs, of volumes and movies: refused from the header, grey as they look, and where OME-XML says they lie."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ...core.errors import DataError
from .source import Placed, placed
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


def check_page(page: Any, size: int, path: Path, labels: bool = False) -> None:
    """Raises DataError unless the page is one grey plane whose bytes lie inside the file."""
    key = page.keyframe
    if (page.ndim != 2 and not has_alpha(page)) or key.photometric == 2:
        raise DataError(f"{path.name}: a page of shape {page.shape} (colour?); expected a grey plane (y, x)")
    if page.dtype is None:
        raise DataError(f"{path.name}: {key.bitspersample} bits a sample; expected 1 to 64 of whole numbers or floats")
    height, width = plane(page)
    wanted = height * (-(-width * key.bitspersample // 8)) * (1 + has_alpha(page))
    if math.prod(page.shape) * page.dtype.itemsize > MOST_RATIO * size:
        raise DataError(f"{path.name}: {size} bytes claim {wanted} bytes of pixels; the header is damaged")
    greys(page, path, labels)
    parts = list(zip(page.dataoffsets, page.databytecounts))
    if not parts or not wanted or not all(offset and count for offset, count in parts):
        raise DataError(f"{path.name}: a page of shape {page.shape} lacks pixels; copy it again")
    end = max(offset + count for offset, count in parts)
    if end > size:
        raise DataError(f"{path.name}: cut off: pixels reach to byte {end} of {size}; copy it again")
    if page.compression == 1 and sum(count for _, count in parts) < wanted:
        raise DataError(f"{path.name}: cut off: a page lacks some of its {wanted} bytes; copy it again")


def greys(page: Any, path: Path, labels: bool = False) -> tuple[np.dtype, Callable[[np.ndarray], np.ndarray]]:
    """What makes grey values of stored ones, so that they are as the page looks; and their type.

    WhiteIsZero is turned round and a palette of greys is looked up; ids stay what they are.
    Raises DataError for a palette of colours, and for WhiteIsZero of other than whole numbers from 0 on."""
    key, kind = page.keyframe, np.dtype(page.dtype)
    if labels or key.photometric not in (0, 3):
        return kind, lambda values: values
    if key.photometric == 0:
        if kind.kind == "b":
            return kind, np.logical_not
        if kind.kind != "u":
            raise DataError(f"{path.name}: WhiteIsZero with {kind} values; expected whole numbers from 0 on, or BlackIsZero")
        most = kind.type(2**key.bitspersample - 1)
        return kind, lambda values: most - values
    colours = np.asarray(key.colormap)
    if not (colours == colours[0]).all() or colours[0].min() == colours[0].max():
        raise DataError(f"{path.name}: a palette of colours; expected a grey plane, or a palette of greys")
    ramp = colours[0] if colours[0].max(initial=0) < 256 else colours[0] // 257  # of 16 bits, as the standard has it
    return np.dtype(np.uint8), ramp.astype(np.uint8).take


def has_alpha(page: Any) -> bool:
    """Whether a page is grey with one more sample for each pixel, which ExtraSamples call alpha."""
    key = page.keyframe
    grey = page.ndim == 3 and key.samplesperpixel == 2 and key.photometric in (0, 1)
    return grey and tuple(key.extrasamples) in ((1,), (2,))


def plane(page: Any) -> tuple[int, int]:
    """Height and width of a page, whatever samples it has."""
    return page.keyframe.imagelength, page.keyframe.imagewidth


def full(pages: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """Pages that are pictures of their own, and a remark on those that are not: smaller copies (thumbnails, levels of a
    pyramid) and masks, by their NewSubfileType. A file all of whose pages say so has nothing else: they stay."""
    pages = list(pages)
    kept = [page for page in pages if not page.subfiletype & 5]
    if not kept or len(kept) == len(pages):
        return pages, []
    return kept, [f"{len(pages) - len(kept)} pages are smaller copies or masks of others, as the file says; left out"]


def mirrored(page: Any) -> list[str]:
    """A remark where the page says that it is to be turned or mirrored: viewers of volumes show it as it is stored."""
    said = page.tags.valueof("Orientation", default=1)
    return [] if said == 1 else [f"states TIFF orientation {said}; read as stored, as Fiji and napari show it"]


def transparent(page: Any) -> list[str]:
    """A remark where a page has an alpha channel: `part` leaves it out, or refuses it."""
    return ["has an alpha channel, which is the same everywhere; left out"] if has_alpha(page) else []


def opaque(page: Any, samples: np.ndarray) -> np.ndarray:
    """The grey values (y, x) of a page with alpha. Raises DataError for transparency that differs from pixel to pixel."""
    grey, alpha = samples if page.keyframe.planarconfig == 2 else np.moveaxis(samples, -1, 0)
    if alpha.min() != alpha.max():
        raise DataError(
            f"{page.parent.filename}: a page has transparency that differs from pixel to pixel (alpha {alpha.min()} to "
            f"{alpha.max()}); save it without, so that what is to be seen is decided"
        )
    return grey


def part(page: Any, rows: slice, columns: slice) -> np.ndarray:
    """A part of a page (y, x), decoding only the strips or tiles that hold it; without alpha, which takes the whole page.

    Raises DataError for transparency that differs from pixel to pixel."""
    key = page.keyframe
    rows, columns = (slice(*s.indices(n)[:2]) for s, n in zip((rows, columns), plane(page)))
    size = rows.stop - rows.start, columns.stop - columns.start
    if page.ndim == 3:
        return np.ascontiguousarray(opaque(page, page.asarray(maxworkers=1))[rows, columns])
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


def placed_by_ome(text: str) -> Placed:
    """From OME-XML, when all three axes are stated."""
    try:
        every = ElementTree.fromstring(text.strip().rstrip("\0")).iter()
    except ElementTree.ParseError:
        return Placed(unknown="OME-XML is damaged, and voxel size")
    pixels = next((e for e in every if e.tag.rpartition("}")[2] == "Pixels"), None)
    found = [] if pixels is None else [pixels.get(f"PhysicalSize{a}") for a in "ZYX"]
    if pixels is None or not all(found):
        return Placed()
    return placed([_number(f or "") for f in found], [pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "ZYX"])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
