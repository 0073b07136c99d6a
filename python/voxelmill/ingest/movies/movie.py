"""What every reader of movies gives: a `Movie` of fields of view, read one plane at a time.

A reader fills in the attributes of `Movie` and gives `_plane`; everything that must hold for all kinds
(bounds, z, sizes, dtype, errors) is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError

ZChoice = int | Literal["max"]


@dataclass(frozen=True, slots=True)
class Fov:
    """One field of view (ND2 position, CZI scene, OME image).

    times: float64 (n_frames,), minutes on the file's own clock; the first need not be 0.
    """

    name: str
    height: int
    width: int
    n_frames: int
    n_planes: int
    times: NDArray[np.float64]


class Movie:
    """An open movie; a context manager. Get one from `open_movie`.

    Attributes:
        path: the file or store.
        file_type: "nd2", "czi", "ome-tiff", "tiff", "ome-zarr".
        fovs: the fields of view; they may differ in size and number of frames.
        channel_names: one per channel.
        dtype: as stored; `read_frame` always gives uint16.
        pixel_size_um: side of a pixel in micrometres, or None when the file does not say.
        time_source: where the times come from, in words.
        notes: what the user should know about this file, one line each.
    """

    path: Path
    file_type: str
    fovs: tuple[Fov, ...]
    channel_names: tuple[str, ...]
    dtype: np.dtype
    pixel_size_um: float | None = None
    time_source: str = ""
    notes: tuple[str, ...] = ()
    z_plane: ZChoice | None = None
    convert: bool = False

    def _plane(self, fov: int, t: int, channel: int, z: int) -> NDArray[Any]:
        """The stored plane (y, x); indices are within bounds. Any exception means a damaged file."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def describe(self) -> dict[str, Any]:
        """All attributes as plain values, for YAML or JSON."""
        return {
            "file_path": str(self.path),
            "base_name": base_name(self.path),
            "file_type": self.file_type,
            "n_fovs": len(self.fovs),
            "n_channels": len(self.channel_names),
            "channel_names": list(self.channel_names),
            "dtype": str(self.dtype),
            "pixel_size_um": self.pixel_size_um,
            "time_unit": "min",
            "time_source": self.time_source,
            "notes": list(self.notes),
            "fovs": [
                {
                    "name": f.name,
                    "height": f.height,
                    "width": f.width,
                    "n_frames": f.n_frames,
                    "n_planes": f.n_planes,
                    "times": [round(float(t), 6) for t in f.times],
                }
                for f in self.fovs
            ],
        }

    def parse_fovs(self, spec: str | int | None) -> list[int]:
        """Indices of the fields of view that `spec` names; see `parse_range`."""
        return parse_range(spec, len(self.fovs), f"{self.path.name}: field of view")

    def require(self, channels: Iterable[int], fovs: Iterable[int] | None = None) -> None:
        """Check before any work that these channels and fields of view can be read.

        Raises:
            ParameterError: a channel is not there, or z is not settled.
        """
        for channel in channels:
            if not 0 <= channel < len(self.channel_names):
                names = ", ".join(f"{i} {name}" for i, name in enumerate(self.channel_names))
                raise ParameterError(f"{self.path}: there is no channel {channel}; the file has {names}")
        for fov in range(len(self.fovs)) if fovs is None else fovs:
            self._planes_of(fov, None)

    def read_frame(self, fov: int, t: int, channel: int, z: ZChoice | None = None) -> NDArray[np.uint16]:
        """One frame of one channel.

        Args:
            fov, t, channel: indices from 0.
            z: index of a plane, "max" for the maximum over planes; None = as `open_movie` was told.

        Returns:
            (y, x) uint16, a fresh array.

        Raises:
            ParameterError: an index is outside, or there are several planes and z was not chosen.
            DataError: the plane is missing or damaged, has another size, or does not fit into uint16.
        """
        if not 0 <= fov < len(self.fovs):
            raise ParameterError(f"{self.path}: there is no field of view {fov}; it has 0-{len(self.fovs) - 1}")
        self.require([channel], [])
        view = self.fovs[fov]
        if not has_frames(view):
            raise DataError(f"{self.path}: field of view {fov} has no frames (a stopped acquisition); leave it out")
        if not 0 <= t < view.n_frames:
            raise ParameterError(f"{self.path}: field of view {fov} has frames 0-{view.n_frames - 1}, not {t}")
        first, *others = self._planes_of(fov, z)
        frame = self._checked(fov, t, channel, first)
        for plane in others:
            np.maximum(frame, self._checked(fov, t, channel, plane), out=frame)
        return frame

    def _planes_of(self, fov: int, z: ZChoice | None) -> Sequence[int]:
        z, n = self.z_plane if z is None else z, self.fovs[fov].n_planes
        if z == "max":
            return range(n)
        if z is None:
            if n > 1:
                raise ParameterError(
                    f"{self.path}: field of view {fov} has {n} z planes; choose one with "
                    f"--z_plane 0-{n - 1}, or --z_plane max for their maximum"
                )
            return [0]
        if not isinstance(z, (int, np.integer)) or not 0 <= z < n:
            raise ParameterError(f"{self.path}: z_plane {z!r} is not there; field of view {fov} has planes 0-{n - 1}")
        return [int(z)]

    def _checked(self, fov: int, t: int, channel: int, z: int) -> NDArray[np.uint16]:
        where = f"{self.path}: field of view {fov}, frame {t}, channel {channel}"
        try:
            plane = np.asarray(self._plane(fov, t, channel, z))
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
        return to_uint16(plane, self.convert, where)


def parse_range(spec: str | int | None, n: int, what: str = "index") -> list[int]:
    """Indices below n that a text names: "0-3", "2", "0-1,4", "all" or -1; sorted, each once.

    Raises:
        ParameterError: not of this form, or an index is not below n.
    """
    text = "all" if spec is None else str(spec).replace(" ", "")
    if text in ("all", "-1", ""):
        return list(range(n))
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ParameterError(f'{what}: cannot read {part!r} in {text!r}; expected e.g. "0-3", "2", "0-1,4" or "all"')
        low, high = int(first), int(last or first)
        if low > high:
            raise ParameterError(f"{what}: {part!r} runs backwards; write {high}-{low}")
        if high >= n:
            raise ParameterError(f"{what} {high} is not there; there are {n}, numbered 0-{n - 1}")
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def to_uint16(plane: NDArray, convert: bool, where: str) -> NDArray[np.uint16]:
    """Counts as uint16: uint16 as it is, uint8 widened, all else only with `convert`, rounded and never
    clipped.

    Raises:
        DataError: another type without `convert`; or values that are not finite, not within 0-65535, or, for
            floats all within 0-1, that rounding would destroy.
    """
    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:
        return plane.astype(np.uint16)
    if plane.dtype.kind not in "uif":
        raise DataError(f"{where}: pixels are {plane.dtype}, expected numbers of counts")
    if not convert:
        raise DataError(
            f"{where}: pixels are {plane.dtype}, expected uint8 or uint16; give --convert to round them to uint16"
        )
    low, high = plane.min(), plane.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{where}: NaN or infinite values cannot be converted to counts; replace them first")
    if plane.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
        raise DataError(f"{where}: values lie within 0-1, rounding would destroy them; multiply them to counts first")
    rounded = np.rint(plane)
    if rounded.min() < 0 or rounded.max() > 65535:
        raise DataError(f"{where}: values {low} to {high} do not fit into uint16; rescale them first")
    return rounded.astype(np.uint16)


def base_name(path: str | Path) -> str:
    """File name without its kind, fit for the names of other files: `run.ome.tif` -> `run`, `a'$b.nd2` -> `a__b`."""
    name = re.sub(r"[^\w .,+=@()-]", "_", Path(path).name)
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", ".nd2", ".czi", ".tiff", ".tif", ".zarr"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def has_frames(fov: Fov) -> bool:
    """Whether there is anything to read."""
    return min(fov.height, fov.width, fov.n_frames, fov.n_planes) > 0


def usable(times: NDArray | None, n: int) -> bool:
    """Whether these are n real times: finite and, if several, never running backwards nor all equal."""
    if times is None or len(times) != n or not np.isfinite(times).all():
        return False
    return n < 2 or bool((np.diff(times) >= 0).all() and times[-1] > times[0])
