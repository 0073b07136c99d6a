"""Tiles at their places, made into one image: region by region, so that memory does not grow with the mosaic.

Where tiles overlap, `blending` says who is seen:

    none         the tile whose own rim is farther away: a cut through the middle of the overlap, nothing is mixed
    average      all alike
    diffusion    the weight that diffuses from the rim of one tile, where it is 0, to that of the other, where it
                 is 1: in the overlap of two tiles that solution of Laplace's equation is the ramp
    narrow       the same, in the middle of the overlap only: where tiles are bent, fine detail is not seen twice

      tile a  1 1 1 1 1 .8 .6 .4 .2 0
      tile b            0 .2 .4 .6 .8 1 1 1 1 1      diffusion
      tile b            0  0 .1 .9  1 1 1 1 1 1      narrow
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from ..core.params import Params, param

KERNEL = 3  # px around a pixel that cubic interpolation looks at, at most

STEEP = 8  # power of the distance to the rim: from 10 to 90 % within a seventh of the overlap

Blending = Literal["none", "average", "diffusion", "narrow"]
Box = tuple[slice, slice]  # (y, x) of the canvas, px


class Blended(Params):
    """How tiles become one image."""

    stitch_blending_method: Blending = param(
        "diffusion",
        "Where tiles overlap: a cut, the mean, or a smooth passage from one to the other, over all of it or its middle",
        defaults={"mosaic": "narrow"},
    )


def canvas(positions: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Positions (n, 2) on the smallest canvas that holds all tiles, and its shape (ny, nx), px."""
    placed = positions - np.floor(positions.min(0) + 1e-6)
    ny, nx = np.ceil((placed + shapes).max(0) - 1e-6).astype(int).tolist()
    return placed, (ny, nx)


def touching(positions: np.ndarray, shapes: np.ndarray, box: Box) -> list[int]:
    """Numbers of the tiles that have a pixel in a region."""
    low, high = (np.array([getattr(s, end) for s in box]) for end in ("start", "stop"))
    return np.flatnonzero(((positions < high) & (positions + shapes > low)).all(1)).tolist()


def fuse(
    read: Callable[[int], Any],
    positions: np.ndarray,
    shapes: np.ndarray,
    box: Box,
    blending: Blending = "diffusion",
    planes: int = 0,
    zero_is_empty: bool = False,
) -> np.ndarray:
    """A region of the mosaic, float32 (ny, nx), or (planes, ny, nx) where tiles have planes; 0 where no tile is.

    read        of the number of a tile, its pixels (ny, nx) or (planes, ny, nx), NaN (and 0, if zero_is_empty) where
                nothing was acquired: an array, or what reads a part when it is indexed by [..., y, x]
    positions   (n, 2) px, y, x, of `canvas`; shapes (n, 2)
    """
    size = (max(planes, 1), *(s.stop - s.start for s in box))
    total, weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for tile in touching(positions, shapes, box):
        at, moved, distance = _moved(read(tile), shapes[tile], positions[tile], box, zero_is_empty)
        if blending == "narrow":
            distance = np.maximum((distance / 64) ** STEEP, np.float32(1e-30))  # far from what float32 cannot hold
        elif blending == "average":
            distance = np.ones_like(distance)
        for seen, values, weights in zip(moved, total[:, *at], weight[:, *at], strict=True):
            mine = distance
            if not np.isfinite(seen).all():
                mine = np.where(np.isnan(seen), np.float32(0), mine)
                np.nan_to_num(seen, copy=False)
            if blending == "none":
                nearer = mine > weights
                values[nearer], weights[nearer] = seen[nearer], mine[nearer]
            else:
                seen *= mine
                values += seen
                weights += mine
    if blending != "none":
        np.divide(total, weight, out=total, where=weight > 0)
    return total if planes else total[0]


def _moved(
    pixels: Any, shape: np.ndarray, position: np.ndarray, box: Box, zero_is_empty: bool
) -> tuple[Box, Iterator[np.ndarray], np.ndarray]:
    """Where in the region a tile is seen, its pixels there (cubic), plane by plane, and the distance to its rim, px.

    Only what is seen is read, and KERNEL px around it."""
    import cv2

    low = np.array([s.start for s in box])
    first = np.maximum(np.ceil(position - 1e-6).astype(int), low)
    last = np.minimum(np.floor(position + shape - 1 + 1e-6).astype(int) + 1, [s.stop for s in box])
    last = np.maximum(last, first)
    off = first - position  # of the first pixel seen, in the tile
    size = (int(last[1] - first[1]), int(last[0] - first[0]))
    whole = np.abs(off - np.rint(off)).max() < 1e-3
    start = np.rint(off).astype(int) if whole else np.clip(np.floor(off).astype(int) - KERNEL, 0, None)
    stop = start + size[::-1] if whole else np.minimum(np.ceil(off).astype(int) + size[::-1] + KERNEL, shape)
    part = np.asarray(pixels[..., start[0] : stop[0], start[1] : stop[1]])
    part = part.reshape(-1, *part.shape[-2:]).astype(np.float32, copy=False)
    move = np.array([[1, 0, off[1] - start[1]], [0, 1, off[0] - start[0]]])

    def seen(plane: np.ndarray) -> np.ndarray:
        if zero_is_empty and not plane.all():
            plane = np.where(plane == 0, np.float32(np.nan), plane)
        if whole or not min(size):
            return plane[: size[1], : size[0]].copy()
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(plane, move, size, flags=how, borderMode=cv2.BORDER_REPLICATE)

    rim = [np.minimum(o + np.arange(n) + 1, s - o - np.arange(n)) for o, n, s in zip(off, size[::-1], shape)]
    distance = np.minimum(rim[0][:, None], rim[1][None]).astype(np.float32)
    at = tuple(slice(int(a - o), int(b - o)) for a, b, o in zip(first, last, low))
    return at, map(seen, part), np.maximum(distance, 1e-3)  # type: ignore[return-value]
