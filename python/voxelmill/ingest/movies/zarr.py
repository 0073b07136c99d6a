"""OME-Zarr movies (0.1 to 0.6), by the package `zarr`.

A store is one image, or a collection (bioformats2raw layout, or a plate) whose images are the fields of view.
Times come from the OME-XML beside a bioformats2raw collection, else from the scale of the time axis and its
unit. A chunk that is not in the store would be read as its fill value: it counts as not acquired.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError
from voxelmill.core.ngff import attributes_of, multiscales
from voxelmill.core.space import micrometres_per

from .fov import Fov, trimmed
from .movie import Movie
from .ome_xml import OmeImage, pixel_size_of, read_ome_xml, step_of

ABSENT = 2**64 - 1  # place and size, in a shard's index, of a chunk that is not there


class ZarrMovie(Movie):
    """An OME-Zarr store; the finest level of each image is read."""

    file_type = "ome-zarr"

    def __init__(self, path: Path):
        self.path = path
        import zarr

        from ..volumes import bounded

        bounded.use()

        try:
            root = zarr.open_group(str(path), mode="r")
        except Exception as error:
            raise DataError(
                f"{path}: not an OME-Zarr group ({type(error).__name__}); give a folder with "
                "multiscales metadata, or one movie file"
            ) from error
        ome = _ome_xml(path)
        images = _images(root, path, len(ome))
        self._arrays: list[Any] = []
        self._axes: list[str] = []
        self._chunks: list[NDArray[np.bool_]] = []  # (t, c, z, y, x) of chunks: which are there
        fovs = []
        for i, (name, group) in enumerate(images):
            if not _is_whole(group):
                fovs.append(Fov(name, 0, 0, 0, 0, np.zeros(0)))
                self._arrays.append(None)
                self._axes.append("")
                self._chunks.append(np.zeros((0,) * 5, bool))
                continue
            fovs.append(self._image(name, group, ome[i] if len(ome) == len(images) else None))
        self.fovs = tuple(fovs)
        self.dtype = np.dtype(next((a.dtype for a in self._arrays if a is not None), np.uint16))

    def _type(self, fov: int, channel: int) -> np.dtype:
        array = self._arrays[fov]
        return self.dtype if array is None else np.dtype(array.dtype)

    def _image(self, name: str, group: Any, image: OmeImage | None) -> Fov:
        try:
            found = multiscales(dict(group.attrs))
        except DataError as error:
            raise DataError(f"{self.path}: image {name!r}: {error}") from None
        if found is None:
            raise DataError(f"{self.path}: image {name!r} has no multiscales metadata; expected OME-Zarr 0.1 to 0.6")
        finest = found.finest
        axes, where = "".join(found.axes).upper(), found.paths[finest]
        units = [unit or "" for unit in found.units]
        scale = found.scales[finest] if found.scales else (0.0,) * len(axes)
        array = group[where]
        if axes[-2:] != "YX" or set(axes) - set("TCZYX") or len(set(axes)) < len(axes) or len(axes) != array.ndim:
            raise DataError(
                f"{self.path}: image {name!r} has axes {axes!r} for an array {array.shape}; expected some of t, c, z, then "
                "y, x, one for each dimension"
            )
        size = dict.fromkeys("TCZYX", 1) | dict(zip(axes, array.shape))
        chunks = chunks_there(array, self.path / array.path)
        missing = tuple(i for i, a in enumerate("TCZYX") if a not in axes)
        chunks = np.expand_dims(chunks.transpose([axes.index(a) for a in "TCZYX" if a in axes]), missing)
        self._arrays.append(array)
        self._axes.append(axes)
        self._chunks.append(chunks)
        there: NDArray[np.bool_] = np.asarray(chunks.any(axis=(3, 4)))
        for axis, letter in enumerate("TCZ"):
            there = there.repeat(array.chunks[axes.index(letter)] if letter in axes else 1, axis)
        there = there[: size["T"], : size["C"], : size["Z"]]
        y, x = axes.index("Y"), axes.index("X")
        pixel_size, notes = pixel_size_of((scale[x], units[x]), (scale[y], units[y]))
        if finest:
            notes += (f"its first level is not the finest: level {where} is read.",)
        origin = None
        if found.translations and (per := [micrometres_per(units[a]) for a in (y, x)]) and all(per):
            down, right = (found.translations[finest][a] * (size or 0) for a, size in zip((y, x), per))
            origin = down, right
        step = np.nan
        said: tuple[str, ...] = ()
        if "T" in axes and units[axes.index("T")]:
            step, said = step_of(scale[axes.index("T")], units[axes.index("T")])
        frames = trimmed(there)
        times, source = np.arange(size["T"], dtype=np.float64) * step, "OME-Zarr scale of the time axis" if step > 0 else ""
        if image is not None and len(image.times) == size["T"] and np.isfinite(image.times).any():
            times, source = image.times, image.time_source
        if pixel_size is None and image is not None:
            pixel_size, notes = image.pixel_size_um, image.notes
        return Fov(
            name,
            size["Y"],
            size["X"],
            frames,
            size["Z"],
            times[:frames],
            source,
            step if np.isfinite(step) or image is None else image.step,
            pixel_size,
            _channels(group, size["C"], image),
            there[:frames],
            size["T"],
            (*notes, *said),
            origin_um=origin,
            stage_um=image.stage_um if image else None,
        )

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        at = {"T": t, "C": channel, "Z": z, "Y": slice(None), "X": slice(None)}
        from ..volumes import bounded

        array = self._arrays[fov]
        with bounded.within(array.shards or array.chunks):
            return array[tuple(at[a] for a in self._axes[fov])]

    def _tiles(self, fov: int, t: int, channel: int, z: int) -> NDArray[np.bool_]:
        """Which chunks (y, x) of a plane are there."""
        chunk = dict(zip(self._axes[fov], self._arrays[fov].chunks))
        return self._chunks[fov][tuple(i // chunk.get(a, 1) for i, a in zip((t, channel, z), "TCZ"))]

    def _is_partial(self, fov: int, t: int, channel: int, z: int) -> bool:
        return not self._tiles(fov, t, channel, z).all()

    def _mask(self, fov: int, t: int, channel: int, z: int) -> NDArray[np.bool_] | None:
        tiles, view = self._tiles(fov, t, channel, z), self.fovs[fov]
        if tiles.all():
            return None
        height, width = self._arrays[fov].chunks[-2:]
        return tiles.repeat(height, 0).repeat(width, 1)[: view.height, : view.width]


def chunks_there(array: Any, folder: Path) -> NDArray[np.bool_]:
    """Which chunks of a local Zarr array are stored, one value for each; of shards, their inner chunks."""
    shape, chunk = array.shape, array.chunks
    shard = array.shards or chunk
    found = np.zeros([-(-n // s) * (s // c) for n, s, c in zip(shape, shard, chunk)], bool)
    inner = tuple(s // c for s, c in zip(shard, chunk))
    index = _shard_index(array) if array.shards else None
    for at in np.ndindex(*(-(-n // s) for n, s in zip(shape, shard))):
        file = folder / array.metadata.encode_chunk_key(at)
        if not file.is_file():
            continue
        block = tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, inner))
        found[block] = True if index is None else _in_shard(file, inner, *index)
    return found[tuple(slice(-(-n // c)) for n, c in zip(shape, chunk))]


def _shard_index(array: Any) -> tuple[bool, int]:
    """Whether the index of a shard is at its end, and the bytes of its checksum."""
    codec = array.metadata.codecs[0]
    check = 4 if any("crc32c" in type(one).__name__.lower() for one in codec.index_codecs) else 0
    return "end" in str(codec.index_location).lower(), check


@lru_cache(maxsize=4096)
def _in_shard(file: Path, inner: tuple[int, ...], at_end: bool, check: int) -> NDArray[np.bool_]:
    size = 16 * math.prod(inner)
    with open(file, "rb") as data:
        if at_end:
            data.seek(-size - check, 2)
        entries = np.frombuffer(data.read(size), "<u8").reshape(*inner, 2)
    return (entries != ABSENT).any(axis=-1)


def _ome(group: Any) -> dict[str, Any]:
    return attributes_of(dict(group.attrs))


def _is_whole(group: Any) -> bool:
    """Whether an image has the array that it names; one that was not copied so far has not, or is None."""
    if group is None or not _ome(group):
        return False
    found = multiscales(dict(group.attrs))
    return found is None or found.paths[found.finest] in group


def _images(root: Any, path: Path, images: int) -> list[tuple[str, Any]]:
    """Names and groups of the images in the store; None for one that is not there: a plate lists them, and a collection
    has as many `images` as its OME-XML tells (0: it has none), and those of its `series`."""
    ome = _ome(root)
    if "multiscales" in ome:
        return [("Image 0", root)]
    if "plate" in ome:
        found: list[tuple[str, Any]] = []
        for well in ome["plate"]["wells"]:
            held = _ome(root[well["path"]]).get("well", {}).get("images", []) if well["path"] in root else []
            names = [f"{well['path']}/{image['path']}" for image in held]
            found += [(name, root.get(name)) for name in names] or [(well["path"], None)]
        return found
    numbers = {int(n) for n in root.group_keys() if n.isdecimal() and "multiscales" in _ome(root[n])}
    if not numbers:
        raise DataError(f"{path}: no OME multiscales metadata in the store; expected OME-Zarr 0.1 to 0.6")
    first = 0 if max(numbers) < images else min(numbers)  # some count from 1
    named = _ome(root["OME"]).get("series", []) if "OME" in root else []
    every = sorted(numbers | set(range(first, first + images)) | {int(n) for n in map(str, named) if n.isdecimal()})
    return [(str(n), root[str(n)] if n in numbers else None) for n in every]


def _ome_xml(path: Path) -> list[OmeImage]:
    file = path / "OME" / "METADATA.ome.xml"
    return read_ome_xml(file.read_text(encoding="utf-8")) if file.exists() else []


def _channels(group: Any, n: int, image: OmeImage | None) -> tuple[str, ...]:
    labels = [c.get("label") for c in _ome(group).get("omero", {}).get("channels", [])]
    names = labels or list(image.channel_names if image else ())
    return tuple((names[c] if c < len(names) else None) or f"Channel {c}" for c in range(n))
