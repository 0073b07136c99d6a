"""Touching objects taken apart: basins of a height map grown from markers; tidying of label frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PIECE = 0.2  # of the area of the largest piece of an object, from which another is an object too
_PASSES = 64  # longest walk, in pixels, from a basin without a marker to one that has one


def components(mask: NDArray) -> tuple[int, NDArray[np.int32]]:
    """4-connected components of a mask (y, x), numbered 1..n in raster order: (n, labels int32)."""
    import cv2

    n, labels = cv2.connectedComponents(np.ascontiguousarray(mask, np.uint8), connectivity=4)
    return n - 1, labels


def basins(height: NDArray[np.float32], markers: NDArray[np.int32], mask: NDArray) -> NDArray[np.int32]:
    """Give every pixel of `mask` the label of the marker that steepest ascent of `height` leads to.

    A watershed without a queue: every pixel points at its highest neighbour and pointers are followed by
    doubling, so the cost is a few array passes over the mask. Pixels whose summit has no marker take the
    label of a touching basin; parts of the mask that touch no marker become objects of their own.

    height: (y, x); markers: (y, x), 0 = none, inside the mask; mask: (y, x), > 0 inside.
    Returns int32 (y, x), 0 outside the mask.
    """
    rows, width = height.shape[0] + 2, height.shape[1] + 2
    high = np.full((rows, width), -np.inf, np.float32)
    high[1:-1, 1:-1] = np.where(mask > 0, height, -np.inf)
    out = np.zeros((rows, width), np.int32)
    out[1:-1, 1:-1] = markers * (mask > 0)
    high, out = high.ravel(), out.ravel()
    inside = np.flatnonzero(high > -np.inf)

    free = inside[out[inside] == 0]
    best, top = free.copy(), high[free]
    around = (-1, 1, -width, width, -width - 1, -width + 1, width - 1, width + 1)
    for step in around:
        near = high[free + step]
        better = near > top
        best[better], top[better] = (free + step)[better], near[better]
    to = np.arange(rows * width)
    to[free] = best
    while True:
        further = to[best]
        if np.array_equal(further, best):
            break
        best = to[free] = further
    out[free] = out[best]

    left = free[out[free] == 0]
    for _ in range(_PASSES):
        if not len(left):
            break
        found = np.max([out[left + step] for step in around[:4]], axis=0)
        if not found.any():
            break
        out[left] = found
        left = left[found == 0]
    labels = out.reshape(rows, width)[1:-1, 1:-1]
    if len(left):
        _, alone = components((labels == 0) & (mask > 0))
        labels = np.where(alone > 0, alone + labels.max(), labels)
    return np.ascontiguousarray(labels)


def keep_sizes(labels: NDArray[np.int32], smallest: float, largest: float) -> NDArray[np.int32]:
    """Drop objects whose area in pixels is outside [smallest, largest]; number the rest 1..n in id order."""
    area = np.bincount(labels.ravel())
    keep = (area >= smallest) & (area <= largest)
    keep[0] = False
    # "clip" only spares the check of bounds: every label is one that was counted
    return np.take((np.cumsum(keep) * keep).astype(np.int32), labels, mode="clip")


def apart(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each object (y, x) in one piece: of one in several pieces, those of at least `_PIECE` of the largest become
    objects of their own, specks become background. Numbered 1..n."""
    import cc3d

    pieces, n = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=8, return_N=True)
    owner = np.zeros(n + 1, np.int64)
    owner[pieces.ravel()] = labels.ravel()
    if n == len(np.unique(owner[1:])):
        return labels
    area = np.bincount(pieces.ravel(), minlength=n + 1)
    largest = np.zeros(int(owner.max()) + 1, np.int64)
    np.maximum.at(largest, owner[1:], area[1:])
    keep = area >= _PIECE * largest[owner]
    keep[0] = False
    return (np.cumsum(keep) * keep).astype(np.int32)[pieces]


def fill_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask (y, x) with the background that does not reach the border filled, as 0 and 1."""
    import cv2

    # one pixel of background all round, so that the flood from its corner reaches the whole outside
    flooded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(flooded, None, (0, 0), 2)
    return (flooded[1:-1, 1:-1] != 2).astype(np.uint8)
