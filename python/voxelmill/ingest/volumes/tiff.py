"""TIFF stacks, refused from the header when they cannot be whole. Folders of sections are in `sections.py`."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import Region
from .source import Placed, Source, Wanted, placed
from .tiff_pages import check_page, full, greys, has_alpha, listening, mirrored, part, placed_by_ome, plane, transparent


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
