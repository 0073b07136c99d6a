"""TIFF stacks, refused from the header when they cannot be whole. Folders of sections are in `sections.py`."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import Region
from .source import Placed, Source, Wanted, placed
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


def open_stack(path: Path, wanted: Wanted) -> Source:
    """One multi-page TIFF: a page is a section, unless OME or ImageJ metadata tell of channels."""
    import tifffile

    with listening(path):
        file = tifffile.TiffFile(path)
        if _in_several(file, path):
            from .ome_files import open_files

            file.close()
            return open_files(path, wanted)
        pages, remarks = full(file.pages)
        for page in pages:
            check_page(page, path.stat().st_size, path, wanted.labels)
        kinds = Counter((p.shape, str(p.dtype)) for p in pages)
        if len(kinds) > 1:
            listed = ", ".join(f"{n} of {s} {d}" for (s, d), n in kinds.items())
            raise DataError(f"{path.name}: pages of unlike shape or type: {listed}; expected one")
        at = _placed(file)
        bulk = _one_page_for_all(file, path) if not remarks else None
        planes = pages if bulk is not None else _planes(file, pages, wanted.channel, path)
    remarks += mirrored(pages[0]) + transparent(pages[0])
    shape, (dtype, look) = plane(pages[0]), greys(pages[0], path, wanted.labels)

    def read(region: Region) -> np.ndarray:
        if bulk is not None:
            return look(np.ascontiguousarray(bulk[region]))
        zs = range(*region[0].indices(len(planes)))
        out = np.empty((len(zs), *(len(range(*s.indices(n))) for s, n in zip(region[1:], shape))), dtype)
        with listening(path):
            for n, z in enumerate(zs):
                out[n] = greys(planes[z], path, wanted.labels)[1](part(planes[z], region[1], region[2]))
        return out

    depth = len(planes) if bulk is None else len(bulk)
    return Source(path.name, "tiff", (depth, *shape), dtype, read, at, remarks=remarks, close=file.close)


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


def _in_several(file: Any, path: Path) -> bool:
    """Whether OME-XML leads to other files than this, for planes that it lacks or for all that it says."""
    text = (file.ome_metadata or "") if file.is_ome else ""
    if "BinaryOnly" in text:
        return True
    names = re.findall(r"""FileName=["']([^"']+)""", text)
    return len(set(names)) > 1 or (len(names) > len(file.pages) and names[0] != path.name)


def _planes(file: Any, pages: list[Any], channel: int, path: Path) -> list[Any]:
    """The pages of one channel in z order."""
    if all(s.kind in ("generic", "uniform") for s in file.series):
        return pages
    own = {page.offset for page in pages}
    series = [s for s in file.series if any(p is not None and p.offset in own for p in s.pages)]
    if len(series) > 1:
        if any(s.axes != "YX" for s in series):
            raise DataError(f"{path.name}: {len(series)} images in one file; expected one stack")
        return pages
    across = "YXS" if has_alpha(pages[0]) else "YX"
    lead = [(a, n) for a, n in zip(series[0].axes, series[0].shape) if a not in across]
    axes, lengths = "".join(a for a, _ in lead), tuple(n for _, n in lead)
    found, count = list(series[0].pages), math.prod(lengths)
    if len(found) != count or len(pages) < count or None in found:
        raise DataError(f"{path.name}: metadata says {count} pages, found {len(pages)}; copy it again")
    order = np.arange(count).reshape(lengths)
    channels = dict(lead).get("C", 1)
    if 1 < channels < count:  # a lone C axis are sections that were not named so
        if channel >= channels:
            raise ParameterError(f"--channel {channel}: {path.name} has {channels} channels")
        order = order.take(channel, axis=axes.index("C"))
    if max((n for n in order.shape), default=1) != order.size:
        raise DataError(f"{path.name}: axes {series[0].axes} {series[0].shape}; expected ZYX or CZYX")
    return [found[n] for n in order.ravel()]


def _placed(file: Any) -> Placed:
    """From OME or ImageJ metadata, when all three axes are stated. ImageJ counts the origin in voxels."""
    if file.is_ome and file.ome_metadata:
        return placed_by_ome(file.ome_metadata)
    meta = file.imagej_metadata if file.is_imagej else None
    if not meta or "spacing" not in meta:
        return Placed()
    across = [file.pages[0].tags.get(name) for name in ("YResolution", "XResolution")]
    if not all(tag and tag.value[0] for tag in across):
        return Placed()
    size = [float(v) for v in (meta["spacing"], *(tag.value[1] / tag.value[0] for tag in across))]
    middle = [float(meta.get(f"{a}origin", 0)) for a in "zyx"]
    stated = any(f"{a}origin" in meta for a in "zyx")
    units = [str(meta.get(f"{a}unit") or meta.get("unit", "")) for a in "zyx"]  # those of z and y may differ
    return placed(size, units, [-m * s for m, s in zip(middle, size)] if stated else None)


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
