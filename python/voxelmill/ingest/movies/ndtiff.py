"""NDTiff movies, which Micro-Manager 2 and Pycro-Manager write: `NDTiff.index` beside the files that hold the planes.

The index says of each plane its time, channel, z and whatever else (position, row, column: together a field of view),
and where in which file its pixels and its metadata lie. The pages of a file alone say none of it.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError

from .fov import Fov, trimmed
from .frame_names import natural
from .movie import Movie

INDEX = "NDTiff.index"
TYPES = {0: "<u1", 1: "<u2", 3: "<u2", 4: "<u2", 5: "<u2", 6: "<u2"}  # 2 is RGB
MOST_TEXT = 2**24  # bytes of the metadata of a plane
MOST_WORDS = 2**16  # bytes of the axes, or of the file's name, of a plane in the index
Entry = tuple[dict[str, Any], str, int, int, int, int, int, int, int, int]
Plane = tuple[Path, int, int, int, str, int, int]  # file, offset, height, width, type; offset and bytes of metadata


def home(path: Path) -> Path | None:
    """The folder of the movie, given that or one of its files; None where it is of another kind."""
    folder = path if path.is_dir() else path.parent
    belongs = path.is_dir() or (path.name.lower().endswith((".tif", ".tiff")) and "NDTiffStack" in path.name)
    return folder if belongs and (folder / INDEX).is_file() else None


class NdTiffMovie(Movie):
    """A folder with an `NDTiff.index`; positions are fields of view."""

    file_type = "ndtiff"

    def __init__(self, path: Path):
        self.path = path
        folder = home(path)
        assert folder is not None
        entries, stopped = _entries(folder / INDEX)
        found = list(_planes(folder, entries))
        if not found:
            raise DataError(f"{folder / INDEX}: names no plane; the acquisition was stopped before the first")
        channels = list(dict.fromkeys(axes.get("channel", 0) for axes, _ in found))
        if not any(isinstance(c, str) for c in channels):
            channels.sort()  # names stay as they come
        views = sorted({_view(axes) for axes, _ in found}, key=natural)
        first = {a: min(int(axes.get(a, 0)) for axes, _ in found) for a in ("time", "z")}
        self._planes_of_all: dict[tuple[int, int, int, int], Plane] = {}
        for axes, plane in found:
            t, z = (int(axes.get(a, 0)) - first[a] for a in ("time", "z"))
            self._planes_of_all[views.index(_view(axes)), t, channels.index(axes.get("channel", 0)), z] = plane
        n_t, n_c, n_z = (max(at[k] for at in self._planes_of_all) + 1 for k in (1, 2, 3))
        if n_t * n_c * n_z > 100 * len(found) + 1000:
            raise DataError(f"{folder / INDEX}: {len(found)} planes are some of {n_t} x {n_c} x {n_z}; it is damaged")
        names = tuple(c if isinstance(c, str) else f"Channel {c}" for c in channels)
        self.fovs = tuple(self._fov(v, view, names, (n_t, n_c, n_z)) for v, view in enumerate(views))
        self.channel_names = names
        if stopped:
            self.notes = (f"{INDEX} is cut off, as of an acquisition that was stopped: {len(found)} planes are whole in it.",)
        self.dtype = max(np.dtype(p[4]) for p in self._planes_of_all.values()).newbyteorder("=")
        self.files = (folder / INDEX, *sorted({plane[0] for plane in self._planes_of_all.values()}))

    def _fov(self, v: int, view: str, names: tuple[str, ...], size: tuple[int, int, int]) -> Fov:
        own = {at[1:]: plane for at, plane in sorted(self._planes_of_all.items()) if at[0] == v}
        shapes = {plane[2:4] for plane in own.values()}
        if len(shapes) > 1:
            raise DataError(f"{self.path}: planes of unequal size {sorted(shapes)} in {view or 'it'}; they make no movie")
        there = np.zeros(size, bool)
        for at in own:
            there[at] = True
        frames = trimmed(there)
        times, told = np.full(frames, np.nan), dict[str, Any]()
        for (t, _, _), plane in own.items():
            if np.isnan(times[t]):
                told = _metadata(plane)
                times[t] = float(told.get("ElapsedTime-ms", np.nan)) / 60_000
        stage = [told.get(f"{axis}PositionUm", told.get(f"{axis}Position_um_Intended")) for axis in "YX"]
        ((height, width),) = shapes
        return Fov(
            view or "Image 0",
            height,
            width,
            frames,
            size[2],
            times,
            "Micro-Manager's metadata of the planes" if np.isfinite(times).any() else "",
            np.nan,
            float(told.get("PixelSizeUm") or told.get("PixelSize_um") or 0) or None,
            names,
            there[:frames],
            stage_um=None if None in stage else (float(stage[0]), float(stage[1])),  # type: ignore[arg-type]
        )

    def files_of(self, fov: int) -> tuple[Path, ...]:
        held = {plane[0] for at, plane in self._planes_of_all.items() if at[0] == fov}
        return (self.files[0], *sorted(held))

    def _type(self, fov: int, channel: int) -> np.dtype:
        kinds = [np.dtype(p[4]) for at, p in self._planes_of_all.items() if (at[0], at[2]) == (fov, channel)]
        return max(kinds, default=self.dtype).newbyteorder("=")

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray:
        file, offset, height, width, kind, *_ = self._planes_of_all[fov, t, channel, z]
        return np.fromfile(file, kind, height * width, offset=offset).reshape(height, width)


def _entries(index: Path) -> tuple[list[Entry], bool]:
    """What the index says of each plane; and whether it ends within an entry or in zeros, as one that was not closed.

    Of each plane: axes, name of its file, then offset, width, height, type, compression of its pixels, offset, length,
    compression of its metadata. Raises DataError where the index is damaged before its end."""
    found: list[Entry] = []
    with open(index, "rb") as file:

        def take(count: int) -> bytes:
            taken = file.read(count)
            if len(taken) < count:
                raise EOFError
            return taken

        def words() -> bytes:
            (length,) = struct.unpack("<I", take(4))
            if length > MOST_WORDS:
                raise ValueError(f"{length} bytes for the name of a plane")
            return take(length)

        while file.peek(1):
            try:
                axes = words()
                if not axes and not file.read().strip(b"\0"):
                    return found, True
                found.append(
                    (dict(json.loads(axes)), words().decode(errors="replace"), *struct.unpack("<IiiiiIii", take(32)))
                )
            except EOFError:
                return found, True
            except (ValueError, TypeError) as error:
                raise DataError(f"{index}: damaged behind {len(found)} planes ({error}); copy it again") from None
    return found, False


def _planes(folder: Path, entries: list[Entry]) -> Iterator[tuple[dict[str, Any], Plane]]:
    """Axes and place of each plane that the index names. Raises DataError for what is not whole, or no grey plane."""
    sizes: dict[str, int] = {}
    for axes, name, offset, width, height, kind, packed, meta, length, _ in entries:
        file = folder / os.path.basename(name.replace("\\", "/"))
        if name not in sizes:
            if not file.exists():
                raise DataError(f"{folder}: its index names {file.name}, which is not beside it; keep all its files together")
            sizes[name] = file.stat().st_size
        if kind not in TYPES or packed:
            raise DataError(f"{file}: {'compressed planes' if packed else 'colour (RGB)'} are not read; save single channels")
        if min(width, height) < 1 or offset + width * height * np.dtype(TYPES[kind]).itemsize > sizes[name]:
            raise DataError(
                f"{file}: cut off: a plane of {height} x {width} at byte {offset} of {sizes[name]}; copy it again"
            )
        yield axes, (file, offset, height, width, TYPES[kind], meta, length)


def _view(axes: dict[str, Any]) -> str:
    """Name of the field of view: all that is neither time, channel nor z."""
    rest = {k: v for k, v in axes.items() if k not in ("time", "channel", "z")}
    return " ".join(v if isinstance(v, str) and len(rest) == 1 else f"{k} {v}" for k, v in sorted(rest.items()))


def _metadata(plane: Plane) -> dict[str, Any]:
    """What the file says of a plane; nothing where it cannot be read."""
    file, *_, offset, length = plane
    with suppress(OSError, ValueError):
        if 0 < length <= MOST_TEXT:
            with open(file, "rb") as held:
                held.seek(offset)
                found = json.loads(held.read(length))
            return found if isinstance(found, dict) else {}
    return {}
