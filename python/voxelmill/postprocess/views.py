"""Views of movies: uint8 at half the size, for quick looks; level 1 of channels and crops.

Counts go from the 1st to the 99th percentile of a channel of a field of view, over all its frames; labels from
1-255 by id, 0 is background. A view is no level of a pyramid, since it holds other numbers than level 0: it is
not listed among the multiscales, where a reader would take it for one. What its values mean stands under
`voxelmill.view`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.volume import Image
from ..timelapse.store import Facts
from .crops import ViewScale, half_resolution, to_view

Limits = tuple[float, float]  # values shown as 0 and as 255


def all_of_it(t: int) -> None:
    """That all of frame t was acquired."""


def limits_of(image: Image, label: bool = False, acquired: Callable[[int], NDArray | None] = all_of_it) -> Limits:
    """Limits of a whole channel (t, y, x), read frame by frame, of what was acquired."""
    frames = range(image.shape[0])
    if label:
        return 0.0, float(max(int(image.read(t).max()) for t in frames))
    scale = ViewScale()
    for t in frames:
        mask = acquired(t)
        if mask is None or mask.any():
            scale.add(image.read(t) if mask is None else image.read(t)[mask])
    return scale.limits()


def view_of(stack: NDArray, limits: Limits, label: bool = False) -> NDArray[np.uint8]:
    """Frames (t, y, x) as they are looked at: uint8, half the size."""
    if not label:
        return half_resolution(to_view(stack, limits))
    _, height, width = half_shape(stack.shape)
    fy, fx = (2 if n > 1 else 1 for n in stack.shape[1:])
    small = stack[:, : height * fy : fy, : width * fx : fx]
    # rounded up, so that no cell becomes background
    return np.ceil(small * (255 / max(limits[1], 1.0))).astype(np.uint8)


def half_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(t, y, x) of the view; an axis of 1 px is kept."""
    t, height, width = shape
    return t, max(height // 2, 1), max(width // 2, 1)


def view_facts(
    known: Facts, fov: int, shape: tuple[int, ...], limits: Limits, corner: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """`view`: what the values of level 1 mean, and where it lies, in minutes and micrometers."""
    step = (1, *(2 if n > 1 else 1 for n in shape[1:]))
    space = known.views[fov].space.crop((0, *corner)).level(step)
    return {
        "view": {
            "path": "1",
            "black": limits[0],
            "white": limits[1],
            "scale": list(space.scale),
            "translation": list(space.origin),
        }
    }
