"""A field of view of a movie, as its reader found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fov:
    """One field of view (ND2 position, CZI scene, OME image, image of an OME-Zarr).

    times: float64 (n_frames,), minutes on the file's own clock; the first need not be 0. NaN: no stamp.
    time_source: where they come from, in words.
    step: minutes between frames by the file's own word, for frames without stamps; NaN where it says nothing.
    pixel_size_um: side of a pixel in micrometres, or None when the file does not say.
    origin_um: where the file says that the centre of pixel 0 lies, y and x in micrometres; None where it does not.
    stage_um: where the stage was, y and x in micrometres. Which way its axes run on the picture no file says, so that
        it is kept as a fact and moves no pixel.
    channels: names, in the order in which this field of view stores them.
    there: bool (n_frames, channels as stored, n_planes), the planes that the file holds; None: all of them.
    planned: frames that the acquisition was to have; 0: as many as there are.
    notes: what the user should know, one line each.
    broken: why nothing of it can be read, in words.
    """

    name: str
    height: int
    width: int
    n_frames: int
    n_planes: int
    times: NDArray[np.float64]
    time_source: str = ""
    step: float = np.nan
    pixel_size_um: float | None = None
    channels: tuple[str, ...] = ()
    there: NDArray[np.bool_] | None = None
    planned: int = 0
    notes: tuple[str, ...] = ()
    broken: str = ""
    origin_um: tuple[float, float] | None = None
    stage_um: tuple[float, float] | None = None


def trimmed(there: NDArray[np.bool_]) -> int:
    """Frames up to the last one of which anything was recorded. there: (t, c, z)."""
    return int(np.flatnonzero(there.any(axis=(1, 2))).max(initial=-1)) + 1


def has_frames(fov: Fov) -> bool:
    """Whether there is anything to read."""
    return min(fov.height, fov.width, fov.n_frames, fov.n_planes) > 0
