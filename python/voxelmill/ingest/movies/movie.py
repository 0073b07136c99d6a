"""What every reader of movies gives: a `Movie` of fields of view, read one plane at a time.

A reader fills in the attributes of `Movie` and gives `_plane`; everything that must hold for all kinds
(bounds, z, sizes, dtype, errors) is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.space import common

from .counts import to_uint16
from .fov import Fov, has_frames
from .ranges import listed, parse_range

ZChoice = int | Literal["max"]


class Movie:
    """An open movie; a context manager. Get one from `open_movie`.

    Attributes:
        path: the file or store.
        file_type: "nd2", "czi", "ome-tiff", "tiff", "ome-zarr", "folder".
        fovs: the fields of view; they may differ in size and number of frames.
        channel_names: one per channel, in the order of the first chosen field of view.
        dtype: as stored, the widest of all (see `stored_type`); `read_frame` always gives uint16.
        notes: what the user should know about this file as a whole, one line each.
        files: all files that were opened, where these are several.
        archive: the zip that it came out of.
    """

    path: Path
    file_type: str
    fovs: tuple[Fov, ...]
    channel_names: tuple[str, ...]
    dtype: np.dtype
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    archive: Path | None = None
    z_plane: ZChoice | None = None
    convert: bool = False
    factor: float = 1.0
    z_is_time: bool = False
    _order: Mapping[int, tuple[int, ...]] = MappingProxyType({})  # where a field of view stores channels otherwise

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray[Any]:
        """The stored plane (y, x), channel as this field of view counts; it is `there`. Any exception means a
        damaged file."""
        raise NotImplementedError

    def _type(self, fov: int, channel: int) -> np.dtype:
        """Type of the pixels of a channel, channel as this field of view counts."""
        return self.dtype

    def files_of(self, fov: int) -> tuple[Path, ...]:
        """The files that a field of view is read from."""
        return self.files or (self.path,)

    def _mask(self, fov: int, t: int, channel: int, z: int) -> NDArray[np.bool_] | None:
        """Which pixels (y, x) of a plane that is `there` were acquired; None: all."""
        return None

    def close(self) -> None:
        """Close the file; closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def pixel_size_um(self) -> float | None:
        """Of the first field of view."""
        return self.fovs[0].pixel_size_um

    @property
    def time_source(self) -> str:
        """Where the times come from, in words."""
        return self._sources(range(len(self.fovs)))

    def _sources(self, fovs: Iterable[int]) -> str:
        return "; ".join(dict.fromkeys(s for f in fovs if (s := self.fovs[f].time_source)))

    def describe(self, fovs: Sequence[int] | None = None) -> dict[str, Any]:
        """All attributes as plain values, for YAML or JSON; notes and sources of the chosen `fovs` only."""
        chosen = list(range(len(self.fovs))) if fovs is None else list(fovs)
        return {
            "file_path": str(self.path),
            "base_name": base_name(self.path),
            "file_type": self.file_type,
            "n_fovs": len(self.fovs),
            "n_channels": len(self.channel_names),
            "channel_names": list(self.channel_names),
            "dtype": str(self.dtype),
            "pixel_size_um": common([self.fovs[f].pixel_size_um for f in chosen]),
            "time_unit": "min",
            "time_source": self._sources(chosen),
            "notes": self.notes_of(chosen),
            "fovs": [
                {
                    "name": f.name,
                    "height": f.height,
                    "width": f.width,
                    "n_frames": f.n_frames,
                    "n_planes": f.n_planes,
                    "pixel_size_um": f.pixel_size_um,
                    **({"origin_um": list(f.origin_um)} if f.origin_um and any(f.origin_um) else {}),
                    **({"stage_um": list(f.stage_um)} if f.stage_um else {}),
                    "times": [round(float(t), 6) for t in f.times],
                }
                for f in self.fovs
            ],
        }

    def notes_of(self, fovs: Iterable[int]) -> list[str]:
        """Notes of the file, then of these fields of view; a note that all of these share stands there once."""
        chosen = list(fovs)
        seen: dict[str, list[int]] = {}
        for fov in chosen:
            for note in self.fovs[fov].notes:
                seen.setdefault(note, []).append(fov)
        return [*self.notes, *(self.named(of, note) for note, of in seen.items())]

    def named(self, fovs: Sequence[int], note: str) -> str:
        """A note with the fields of view that it is about, where there are several."""
        return note[:1].upper() + note[1:] if len(self.fovs) == 1 else f"Field of view {listed(fovs)}: {note}"

    def parse_fovs(self, spec: str | int | None) -> list[int]:
        """Indices of the fields of view that `spec` names; see `parse_range`."""
        return parse_range(spec, len(self.fovs), f"{self.path.name}: field of view")

    def parse_channel(self, spec: str | int) -> int:
        """Index of a channel given by its index or its name, as written or in other case.

        Raises:
            ParameterError: there is no such channel, or several have the name.
        """
        text, names = str(spec).strip(), self.channel_names
        if text.isdecimal() and text not in names:
            self.require([int(text)], [])
            return int(text)
        for same in (lambda name: name == text, lambda name: name.casefold() == text.casefold()):
            found = [i for i, name in enumerate(names) if same(name)]
            if len(found) == 1:
                return found[0]
            if found:
                break
        listing = ", ".join(f"{i} {name}" for i, name in enumerate(names))
        what = f"{len(found)} channels are called {text!r}; give its number" if found else f"there is no channel {text!r}"
        raise ParameterError(f"{self.path}: {what}; the file has {listing}")

    def choose(self, fovs: Sequence[int]) -> None:
        """Channels are meant as the first of these fields of view has them; others may store them in another order.

        Raises:
            DataError: a field of view has other channels than the first.
        """
        first = self.fovs[fovs[0]].channels
        order, refused = {}, None
        for fov in fovs:
            names = self.fovs[fov].channels
            if not has_frames(self.fovs[fov]) or (len(names) == len(first) and all(map(_alike, first, names, count()))):
                continue
            if len(set(names)) == len(names) and sorted(names) == sorted(first):
                order[fov] = tuple(names.index(name) for name in first)
            elif refused is None:
                refused = DataError(
                    f"{self.path}: field of view {fov} has the channels {', '.join(names)}, field of view {fovs[0]} has "
                    f"{', '.join(first)}; process them apart with --fovs"
                )
        if refused:
            raise refused
        self._order, self.channel_names = order, first

    def require(self, channels: Iterable[int], fovs: Iterable[int] | None = None) -> None:
        """Check before any work that these channels and fields of view can be read.

        Raises:
            ParameterError: a channel is not there, or z is not settled.
            DataError: a field of view cannot be read, or its pixels are of no type that is taken.
        """
        wanted = list(channels)
        for channel in wanted:
            if not 0 <= channel < len(self.channel_names):
                names = ", ".join(f"{i} {name}" for i, name in enumerate(self.channel_names))
                raise ParameterError(f"{self.path}: there is no channel {channel}; the file has {names}")
        for fov in range(len(self.fovs)) if fovs is None else fovs:
            if self.fovs[fov].broken:
                raise DataError(f"{self.path}: {self.fovs[fov].broken}; or leave field of view {fov} out with --fovs")
            if has_frames(self.fovs[fov]):
                for channel in wanted:
                    self._planes_of(fov, channel, None)

    def lacks(self, fov: int, channels: Iterable[int]) -> list[str]:
        """What the acquisition was to have and has not, one line each: an error under `--strict`."""
        view, said = self.fovs[fov], []
        if view.broken:
            return [view.broken]
        if not has_frames(view):
            return ["not a single frame was recorded."]
        if view.n_frames < view.planned:
            said.append(f"{view.n_frames} of {view.planned} planned frames are there: the acquisition was stopped.")
        for channel in channels:
            name = f"channel {channel} ({self.channel_names[channel]})"
            none: list[int] = []
            few: list[int] = []
            part: list[int] = []
            planes = self._planes_of(fov, channel, None)
            for t in range(view.n_frames):
                found = self._planes_at(fov, t, channel, None)
                (none if not found else few if len(found) < len(planes) else []).append(t)
                if found and self._partial(fov, t, channel, found):
                    part.append(t)
            if len(none) == view.n_frames:
                said.append(f"{name} was not recorded.")
            elif none:
                said.append(f"{name} was not recorded at frame {listed(none)}: left empty, and not measured there.")
            if few:
                said.append(f"{name} lacks z planes at frame {listed(few)}: the maximum is of those that are there.")
            if part:
                said.append(f"{name} lacks parts of the picture at frame {listed(part)}: they are left out.")
        return said

    def _partial(self, fov: int, t: int, channel: int, planes: Sequence[int]) -> bool:
        """Whether something of a plane is missing that other planes of this field of view have."""
        return any(self._is_partial(fov, *self._as_stored(t, self._in_file(fov, channel), z)) for z in planes)

    def _is_partial(self, fov: int, t: int, channel: int, z: int) -> bool:
        return False

    def read_frame(self, fov: int, t: int, channel: int, z: ZChoice | None = None) -> NDArray[np.uint16]:
        """One frame of one channel.

        Args:
            fov, t, channel: indices from 0.
            z: index of a plane, "max" for the maximum over planes; None = as `open_movie` was told.

        Returns:
            (y, x) uint16, a fresh array; pixels that were not `acquired` are 0.

        Raises:
            ParameterError: an index is outside, or there are several planes and z was not chosen.
            DataError: the plane is missing or damaged, has another size, or does not fit into uint16.
        """
        planes = self._located(fov, t, channel, z)
        frame = to_uint16(self._raw(fov, t, channel, planes[0]), self.convert, self._where(fov, t, channel), self.factor)
        for plane in planes[1:]:
            other = to_uint16(self._raw(fov, t, channel, plane), self.convert, self._where(fov, t, channel), self.factor)
            np.maximum(frame, other, out=frame)
        return frame

    def read_stored(self, fov: int, t: int, channel: int, z: ZChoice | None = None) -> NDArray[Any]:
        """As `read_frame`, in the type that the file has."""
        planes = self._located(fov, t, channel, z)
        return np.max([self._raw(fov, t, channel, plane) for plane in planes], axis=0)

    def stored_type(self, fov: int, channel: int) -> np.dtype:
        """Type of the pixels of a channel in the file: fields of view and channels may differ."""
        return self._type(fov, self._in_file(fov, channel))

    def recorded(self, fov: int, t: int, channel: int) -> bool:
        """Whether the file holds anything of this frame."""
        return bool(self._planes_at(fov, t, channel, None))

    def acquired(self, fov: int, t: int, channel: int) -> NDArray[np.bool_] | None:
        """Which pixels (y, x) of a frame were acquired; None: all of them."""
        view, planes = self.fovs[fov], self._planes_at(fov, t, channel, None)
        if not planes:
            return np.zeros((view.height, view.width), bool)
        seen = np.zeros((view.height, view.width), bool)
        for z in planes:
            mask = self._mask(fov, *self._as_stored(t, self._in_file(fov, channel), z))
            if mask is None:
                return None
            seen |= mask
        return seen

    def _located(self, fov: int, t: int, channel: int, z: ZChoice | None) -> Sequence[int]:
        if not 0 <= fov < len(self.fovs):
            raise ParameterError(f"{self.path}: there is no field of view {fov}; it has 0-{len(self.fovs) - 1}")
        self.require([channel], [])
        view = self.fovs[fov]
        if view.broken:
            raise DataError(f"{self.path}: {view.broken}")
        if not has_frames(view):
            raise DataError(f"{self.path}: field of view {fov} has no frames (a stopped acquisition); leave it out")
        if not 0 <= t < view.n_frames:
            raise ParameterError(f"{self.path}: field of view {fov} has frames 0-{view.n_frames - 1}, not {t}")
        planes = self._planes_at(fov, t, channel, z)
        if not planes:
            raise DataError(
                f"{self._where(fov, t, channel)} is not in the file (it was not recorded, or the acquisition was stopped)"
            )
        return planes

    def _in_file(self, fov: int, channel: int) -> int:
        """The number of a channel as this field of view stores it."""
        return self._order[fov][channel] if fov in self._order else channel

    def _as_stored(self, t: int, channel: int, z: int) -> tuple[int, int, int]:
        return (z, channel, t) if self.z_is_time else (t, channel, z)

    def _there(self, fov: int, channel: int) -> NDArray[np.bool_]:
        """(t, z): the planes of a channel that the file holds."""
        view, c = self.fovs[fov], self._in_file(fov, channel)
        if view.there is None:
            return np.ones((view.n_frames, view.n_planes), bool)
        return view.there[: view.n_frames, c]

    def _planes_of(self, fov: int, channel: int, z: ZChoice | None) -> list[int]:
        """The z planes to read of a channel; one that has a single plane leaves no choice."""
        z, n = self.z_plane if z is None else z, self.fovs[fov].n_planes
        there = np.flatnonzero(self._there(fov, channel).any(axis=0)).tolist()
        if z == "max":
            return there
        if z is None:
            if len(there) > 1:
                hint = "" if self.fovs[fov].n_frames > 1 else ", or --z_is_time if they are the frames of a movie"
                raise ParameterError(
                    f"{self.path}: field of view {fov} has {n} z planes; choose one with "
                    f"--z_plane 0-{n - 1}, or --z_plane max for their maximum{hint}"
                )
            return there
        if not isinstance(z, (int, np.integer)) or not 0 <= z < n:
            raise ParameterError(f"{self.path}: z_plane {z!r} is not there; field of view {fov} has planes 0-{n - 1}")
        return there if len(there) == 1 else [int(z)]

    def _planes_at(self, fov: int, t: int, channel: int, z: ZChoice | None) -> list[int]:
        there = self._there(fov, channel)
        return [plane for plane in self._planes_of(fov, channel, z) if there[t, plane]]

    def _where(self, fov: int, t: int, channel: int) -> str:
        return f"{self.path}: field of view {fov}, frame {t}, channel {channel}"

    def _raw(self, fov: int, t: int, channel: int, z: int) -> NDArray[Any]:
        where = self._where(fov, t, channel)
        try:
            plane = np.asarray(self._plane(fov, *self._as_stored(t, self._in_file(fov, channel), z)))
        except (DataError, ParameterError):
            raise
        except Exception as error:
            raise DataError(
                f"{where}: cannot be read ({type(error).__name__}: {error}); the file is "
                "damaged or cut off, copy it again from the microscope"
            ) from error
        view = self.fovs[fov]
        if plane.shape != (view.height, view.width):
            raise DataError(
                f"{where}: found {plane.shape}, expected {(view.height, view.width)} as in the "
                "other frames; frames of unequal size cannot make a movie"
            )
        kind = plane.dtype.newbyteorder("=")
        if kind != (first := self._kinds.setdefault((fov, channel), kind)):
            raise DataError(
                f"{where}: found {kind}, expected {first} as in the frame that was read first; counts of unequal scale "
                "cannot make a movie, export all in one type"
            )
        return plane

    @cached_property
    def _kinds(self) -> dict[tuple[int, int], np.dtype]:
        """Field of view, channel -> type of the plane that was read first."""
        return {}


def _alike(a: str, b: str, index: int) -> bool:
    """Whether two names may be of one channel; `Channel 1` is what one without a name is called."""
    return a.casefold() == b.casefold() or f"Channel {index}" in (a, b)


def base_name(path: str | Path) -> str:
    """File name without its kind, fit for the names of other files: `run.ome.tif` -> `run`, `a'$b.nd2` -> `a__b`."""
    name = re.sub(r"[^\w .,+=@()-]", "_", Path(path).name)
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", ".nd2", ".czi", ".lsm", ".stk", ".tiff", ".tif", ".zarr", ".zip"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
