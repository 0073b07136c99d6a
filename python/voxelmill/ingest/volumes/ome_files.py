"""A volume over several OME-TIFFs, opened by any one of them or by its `.companion.ome`.

Which plane lies on which page of which file is what TiffData say, as in movies (`movies/ome_xml.py`).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import Region
from ..movies.ome_tiff import description, file_of
from ..movies.ome_xml import Ome, OmeImage, read_ome
from .source import Source, Wanted
from .tiff_pages import check_page, greys, listening, mirrored, part, placed_by_ome

MOST_OPEN = 16  # files at a time, and no more pages are known than theirs


def open_files(path: Path, wanted: Wanted) -> Source:
    """One image, one time point, a channel of it.

    Raises DataError naming files that are not there, planes that no file holds, pages that do not fit."""
    path = path.resolve()  # its other files lie beside the file itself
    ome, home, text = _document(path)
    if len(ome.images) != 1:
        raise DataError(f"{path.name}: {len(ome.images)} images in its metadata; expected one stack")
    image = ome.images[0]
    planes = _planes(image, ome, home, path, wanted.channel)
    files = sorted({file for file, _ in planes})
    opened = functools.lru_cache(MOST_OPEN)(_Pages)
    shape, kinds, remarks = image.shape[3:], set(), dict[str, None]()
    for file in files:
        pages = opened(file)
        for _, n in (p for p in planes if p[0] == file):
            if n >= len(pages.all):
                raise DataError(f"{file.name}: {len(pages.all)} pages, and page {n} is wanted; copy it again")
            page = pages.all[n]
            check_page(page, file.stat().st_size, file, wanted.labels)
            if page.shape != shape:
                raise DataError(f"{file.name}: a page of {page.shape}; expected {shape} as its metadata say")
            kinds.add(greys(page, file, wanted.labels)[0])
            remarks |= dict.fromkeys(mirrored(page))
    if len(kinds) > 1:
        raise DataError(f"{path.name}: pages of unlike type: {', '.join(sorted(map(str, kinds)))}; expected one")
    dtype = kinds.pop()

    def read(region: Region) -> np.ndarray:
        zs = range(*region[0].indices(len(planes)))
        out = np.empty((len(zs), *(len(range(*s.indices(n))) for s, n in zip(region[1:], shape, strict=True))), dtype)
        for n, z in enumerate(zs):
            file, at = planes[z]
            page = opened(file).all[at]
            with listening(file):
                out[n] = greys(page, file, wanted.labels)[1](part(page, region[1], region[2]))
        return out

    beside = f"{files[0].name} to {files[-1].name}" if len(files) > 1 else files[0].name
    said = (
        f"its planes lie in {len(files)} files, {beside}: no digest holds others than {path.name}, and -resume sees a "
        "change in those whose names differ from it in numbers"
    )
    return Source(
        path.name,
        "tiff",
        (len(planes), *shape),
        dtype,
        read,
        placed_by_ome(text),
        remarks=[*remarks, said],
        close=opened.cache_clear,
    )


class _Pages:
    """A TIFF and its pages; closed when it is let go."""

    def __init__(self, file: Path):
        import tifffile

        with listening(file):
            self._file = tifffile.TiffFile(file, is_ome=False)
            self.all: list[Any] = list(self._file.pages)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def _document(path: Path) -> tuple[Ome, Path, str]:
    """The metadata, the file that they lie in, and their text."""
    home = path
    for _ in range(2):
        try:
            text = description(home)
            ome = read_ome(text)
        except (ParseError, ValueError) as error:
            raise DataError(f"{home.name}: its OME-XML is damaged ({error}); copy it again") from None
        if not ome.metadata_file:
            return ome, home, text
        home = path.with_name(Path(ome.metadata_file.replace("\\", "/")).name)
        if not home.exists():
            raise DataError(f"{path.name}: its metadata lie in {home.name}, which is not beside it; put it there")
    raise DataError(f"{path.name}: its metadata should lie in {home.name}, which has none; give the file that has them")


def _planes(image: OmeImage, ome: Ome, home: Path, path: Path, channel: int) -> list[tuple[Path, int]]:
    """File and page of each section."""
    times, channels, depth = image.shape[:3]
    if times > 1 or any(n > 1 for n in image.samples):
        what = f"{times} time points; expected one" if times > 1 else "colours; expected grey planes"
        raise DataError(f"{path.name}: {what}")
    if channel >= channels:
        raise ParameterError(f"--channel {channel}: {path.name} has {channels} channels")
    found, names = [], dict[tuple[str, str], Path | None]()
    for z in range(depth):
        if (0, channel, z) not in image.planes:
            raise DataError(f"{path.name}: its metadata place section {z} of {depth} on no page; save it anew")
        uuid, name, page = image.planes[0, channel, z]
        if (uuid, name) not in names:
            names[uuid, name] = file_of(uuid, name, ome.uuid, home, path)
        found.append((names[uuid, name], page))
    gone = sorted({name or uuid for (uuid, name), file in names.items() if file is None})
    if gone:
        raise DataError(
            f"{path.name}: its sections lie in {', '.join(gone[:3])}, not beside it or of another volume by the UUID "
            f"({len(gone)} of {len(names)} files); put them there"
        )
    return [(file, page) for file, page in found if file]
