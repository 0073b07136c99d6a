"""OME-TIFF movies: one file, or several of which each plane is read from its own; companion files.

Which plane lies on which page of which file is what OME-XML says in TiffData, read by `ome_xml`; tifffile gives
the pages. Planes that no file holds are left out of `there`, never read as zeros. A file whose metadata lie in
another (`BinaryOnly`, `*.companion.ome`) leads there.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from ..volumes.tiff_pages import has_alpha, mirrored, plane
from .fov import Fov, trimmed
from .movie import Movie
from .ome_xml import Ome, OmeImage, read_ome
from .tiff import as_seen, check_page, gathered_log, refuse_faults, room_behind, said_of_greys

MOST_OPEN = 32  # files at a time


def description(path: Path) -> str:
    """Text of the first page of a TIFF, or of a file that is XML itself."""
    import tifffile

    with open(path, "rb") as file:
        head = file.read(4)
    if head not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return path.read_text(encoding="utf-8-sig", errors="replace")
    with gathered_log(), tifffile.TiffFile(path) as file:
        text = file.pages.first.tags.valueof("ImageDescription", default="")
    return text if isinstance(text, str) else ""


def has_ome_xml(path: Path) -> bool:
    """Whether a TIFF carries OME-XML; False also for one that cannot be read: its reader says why."""
    try:
        text = description(path).lstrip("\ufeff \t\r\n")
    except Exception:
        return False
    return text.startswith(("<?xml", "<OME", "<!--")) and "<OME" in text


class Pages:
    """The pages of one TIFF file, each checked: a plane a page, or all planes behind a single one."""

    def __init__(self, path: Path):
        import tifffile

        self.path = path
        with gathered_log() as log:
            self._file = tifffile.TiffFile(path)
            try:
                self._pages: list[Any] = list(self._file.pages)
                refuse_faults(log, path)
                for page in self._pages:
                    check_page(page, path)
                self.notes = said_of_greys(self._pages[0])
            except BaseException:
                self._file.close()
                raise
        first = self._pages[0]
        self._behind = 1
        if len(self._pages) == 1 and first.compression == 1 and first.is_contiguous:
            self._behind = max(room_behind(first) // max(first.nbytes, 1), 1)

    def remarks(self) -> list[str]:
        return mirrored(self._pages[0])

    def dtype(self, k: int) -> np.dtype:
        """Of page k: pages of one file may differ."""
        return np.dtype(self._of(k).dtype)

    def shape(self, k: int) -> tuple[int, ...]:
        page = self._of(k)
        return plane(page) if has_alpha(page) else page.shape

    def is_reduced(self, k: int) -> bool:
        """Whether page k is a smaller copy of another one."""
        return self._of(k).is_reduced

    @property
    def full(self) -> list[int]:
        """Pages that are pictures of their own; as `full` of volumes has it."""
        kept = [k for k in range(len(self)) if not self._of(k).subfiletype & 5]
        return kept or list(range(len(self)))

    def _of(self, k: int) -> Any:
        return self._pages[k if len(self._pages) > 1 else 0]

    @property
    def whole(self) -> bool:
        """Whether each plane has a page of its own."""
        return self._behind == 1

    def __len__(self) -> int:
        return len(self._pages) if len(self._pages) > 1 else self._behind

    def read(self, k: int) -> NDArray:
        first = self._pages[0]
        if len(self._pages) > 1 or k == 0:
            return as_seen(self._pages[k].asarray(), self._pages[k], self.path)
        stored = first.dtype.newbyteorder(self._file.byteorder)
        offset = first.dataoffsets[0] + k * first.nbytes
        plane = np.fromfile(self.path, stored, first.size, offset=offset).reshape(first.shape).astype(first.dtype)
        return as_seen(plane, first, self.path)

    def close(self) -> None:
        self._file.close()


class OmeTiffMovie(Movie):
    """OME-TIFF: OME images are fields of view."""

    file_type = "ome-tiff"

    def __init__(self, path: Path):
        self.path = path
        self._open: OrderedDict[Path, Pages] = OrderedDict()
        try:
            ome, home = self._metadata(path)
            self._read(ome, home)
        except BaseException:
            self.close()
            raise

    def _metadata(self, path: Path) -> tuple[Ome, Path]:
        """The document that describes this file, and the file that it lies in."""
        ome = self._document(path)
        if not ome.metadata_file:
            return ome, path
        home = path.with_name(Path(ome.metadata_file).name)
        if not home.exists():
            raise DataError(
                f"{path}: its metadata lie in {ome.metadata_file}, which is not beside it; keep all its files in one folder"
            )
        ome = self._document(home)
        if ome.metadata_file:
            raise DataError(f"{path}: its metadata should lie in {home.name}, but that names {ome.metadata_file}; give that")
        return ome, home

    def _document(self, path: Path) -> Ome:
        try:
            xml = _is_xml(path)
            return read_ome(description(path), 0 if xml else len(self._pages(path)))
        except DataError:
            raise
        except (ParseError, ValueError) as error:
            raise DataError(f"{path}: its OME-XML is damaged ({error}); copy it again from the microscope") from error

    def _read(self, ome: Ome, home: Path) -> None:
        if not ome.images:
            raise DataError(f"{self.path}: its OME-XML describes no image")
        if not any(image.planes for image in ome.images):
            raise DataError(
                f"{self.path}: its OME-XML does not say on which pages the planes lie (TiffData); save it anew as OME-TIFF"
            )
        self._planes: list[dict[tuple[int, int, int], tuple[Path, int]]] = []
        fovs, names = [], {}
        self._types: list[dict[int, np.dtype]] = []  # of each image: channel -> type of its pixels
        for index, image in enumerate(ome.images):
            if any(n > 1 for n in image.samples):
                raise DataError(f"{self.path}: colour (RGB) images are not supported; save single channels")
            found: dict[tuple[int, int, int], tuple[Path, int]] = {}
            absent: set[str] = set()
            broken = ""
            for at, (uuid, name, page) in image.planes.items():
                key = (uuid, name)
                if key not in names:
                    names[key] = file_of(uuid, name, ome.uuid, home, self.path)
                file = names[key]
                if file is None:
                    absent.add(name or uuid)
                elif page < len(self._pages(file)):
                    found[at] = file, page
                    if (shape := self._pages(file).shape(page)) != image.shape[3:] and not broken:
                        broken = (
                            f"the pictures of field of view {index} are {image.shape[3:]} by its metadata, but page {page} "
                            f"of {file.name} is {shape}; save it anew as OME-TIFF"
                        )
            types: dict[int, np.dtype] = {}
            for (_, channel, _), (file, page) in found.items():
                stored = self._pages(file).dtype(page)
                types[channel] = max(types.get(channel, stored), stored, key=_room)
            self._types.append(types)
            self._planes.append(found)
            fovs.append(_fov(image, found, absent, index, broken))
        self.fovs = tuple(fovs)
        self.channel_names = fovs[0].channels
        self.files = tuple(sorted({home, *(f for f in names.values() if f is not None)}))
        self.notes = self._notes()
        used = {file for found in self._planes for file, _ in found.values()}
        self.notes += tuple(dict.fromkeys(said for file in sorted(used) for said in self._pages(file).remarks()))
        every = [stored for types in self._types for stored in types.values()]
        self.dtype = max(every, key=_room, default=np.dtype(np.uint16))

    def _notes(self) -> tuple[str, ...]:
        """On pages of the files that are no plane by the metadata, and on how grey values are stored."""
        used: dict[Path, set[int]] = {}
        for planes in self._planes:
            for file, page in planes.values():
                used.setdefault(file, set()).add(page)
        said: dict[str, None] = {}
        for file, pages in used.items():
            held = self._pages(file)
            left = [k for k in range(len(held)) if k not in pages and not held.is_reduced(k)]
            if left and held.whole:
                said[
                    f"{len(left)} of the {len(held)} pages of {file.name} are no plane by its metadata: they are not read."
                ] = None
            said |= dict.fromkeys(note[:1].upper() + note[1:] for note in held.notes)
        return tuple(said)

    def files_of(self, fov: int) -> tuple[Path, ...]:
        return (self.path, *sorted({file for file, _ in self._planes[fov].values()}))

    def _pages(self, path: Path) -> Pages:
        """The pages of a file; the least used one of many is closed."""
        if path not in self._open:
            self._open[path] = Pages(path)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        file, page = self._planes[fov][t, channel, z]
        return self._pages(file).read(page)

    def _type(self, fov: int, channel: int) -> np.dtype:
        return self._types[fov].get(channel, self.dtype)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _room(stored: np.dtype) -> tuple[bool, int]:
    """Orders types of pixels: floats after whole numbers, wide after narrow."""
    return stored.kind == "f", stored.itemsize


def _is_xml(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def file_of(uuid: str, name: str, own: str, home: Path, given: Path) -> Path | None:
    """The file that TiffData mean; None when it is not there. One that was renamed is known by its UUID, and one that
    has the name but another UUID belongs to another movie."""
    within = None if _is_xml(home) else home
    if (uuid and uuid == own) or not (uuid or name):
        return within
    if not name:
        return None if own else within
    beside = home.with_name(os.path.basename(name.replace("\\", "/")))
    if beside.exists() and not (uuid and _uuid(beside) not in ("", uuid)):
        return beside
    return given if uuid and _uuid(given) == uuid else None


def _uuid(file: Path) -> str:
    """By which OME-XML knows a file; empty where it says nothing."""
    if _is_xml(file) or not has_ome_xml(file):
        return ""
    try:
        return read_ome(description(file)).uuid
    except (ParseError, ValueError):
        return ""


def _fov(image: OmeImage, found: dict, absent: set[str], index: int, broken: str) -> Fov:
    t, c, z, height, width = image.shape
    there = np.zeros((t, c, z), bool)
    for at in found:
        there[at] = True
    frames = trimmed(there)
    if absent:
        some = ", ".join(sorted(absent)[:3])
        broken = (
            f"the OME-TIFF lacks planes of field of view {index}: its metadata name {some}, which is not beside it (or is of "
            "another movie by its UUID); keep all its files in one folder, or copy it again"
        )
    return Fov(
        image.name,
        height,
        width,
        0 if broken else frames,
        z,
        image.times[:frames],
        image.time_source,
        image.step,
        image.pixel_size_um,
        image.channel_names,
        there[:frames],
        t,
        image.notes,
        broken,
        stage_um=image.stage_um,
    )
