"""Tiles at their places, made into one image: region by region, so that memory does not grow with the mosaic.

Where tiles overlap, `blending` says who is seen:

    none         the tile whose own rim is farther away: a cut through the middle of the overlap, nothing is mixed
    average      all alike
    diffusion    the weight that diffuses from the rim of one tile, where it is 0, to that of the other, where it
                 is 1: in the overlap of two tiles that solution of Laplace's equation is the ramp

      tile a  1 1 1 1 1 .8 .6 .4 .2 0
      tile b            0 .2 .4 .6 .8 1 1 1 1 1      diffusion
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Blending = Literal["none", "average", "diffusion"]
Box = tuple[slice, slice]  # (y, x) of the canvas, px


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
    read: Callable[[int], np.ndarray],
    positions: np.ndarray,
    shapes: np.ndarray,
    box: Box,
    blending: Blending = "diffusion",
    planes: int = 0,
) -> np.ndarray:
    """A region of the mosaic, float32 (ny, nx), or (planes, ny, nx) where tiles have planes; 0 where no tile is.

    read        of the number of a tile, its pixels (ny, nx) or (planes, ny, nx); NaN where nothing was acquired
    positions   (n, 2) px, y, x, of `canvas`; shapes (n, 2)
    """
    size = (max(planes, 1), *(s.stop - s.start for s in box))
    total, weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for tile in touching(positions, shapes, box):
        pixels = np.asarray(read(tile)).reshape(size[0], *shapes[tile])
        at, seen, mine = _moved(pixels, positions[tile], box)
        if blending == "average":
            mine = (mine > 0).astype(np.float32)
        mine = np.where(np.isnan(seen), np.float32(0), mine)
        seen = np.nan_to_num(seen, copy=False)
        here = (slice(None), *at)
        if blending == "none":
            nearer = mine > weight[here]
            total[here][nearer], weight[here][nearer] = seen[nearer], mine[nearer]
        else:
            total[here] += mine * seen
            weight[here] += mine
    if blending != "none":
        np.divide(total, weight, out=total, where=weight > 0)
    return total if planes else total[0]


def _moved(pixels: np.ndarray, position: np.ndarray, box: Box) -> tuple[Box, np.ndarray, np.ndarray]:
    """Where in the region a tile is seen, its pixels there (cubic), and the distance to its rim, px."""
    import cv2

    shape = np.array(pixels.shape[1:])
    low = np.array([s.start for s in box])
    first = np.maximum(np.ceil(position - 1e-6).astype(int), low)
    last = np.minimum(np.floor(position + shape - 1 + 1e-6).astype(int) + 1, [s.stop for s in box])
    last = np.maximum(last, first)
    off = first - position  # of the first pixel seen, in the tile
    size = (int(last[1] - first[1]), int(last[0] - first[0]))
    start = np.floor(off + 1e-6).astype(int)
    if np.abs(off - np.rint(off)).max() < 1e-3:  # whole pixels: as they are
        start = np.rint(off).astype(int)
        seen = pixels[:, start[0] : start[0] + size[1], start[1] : start[1] + size[0]].astype(np.float32)
    else:
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        move = np.array([[1, 0, off[1]], [0, 1, off[0]]])
        planes = [
            cv2.warpAffine(p.astype(np.float32), move, size, flags=how, borderMode=cv2.BORDER_REPLICATE) for p in pixels
        ]
        seen = np.stack(planes) if min(size) else np.zeros((len(pixels), size[1], size[0]), np.float32)
    rim = [np.minimum(o + np.arange(n) + 1, s - o - np.arange(n)) for o, n, s in zip(off, size[::-1], shape)]
    distance = np.minimum(rim[0][:, None], rim[1][None]).astype(np.float32)
    at = tuple(slice(int(a - o), int(b - o)) for a, b, o in zip(first, last, low))
    return at, seen, np.broadcast_to(np.maximum(distance, 1e-3), seen.shape)  # type: ignore[return-value]
