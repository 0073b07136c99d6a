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
    inside = np.zeros((rows, width), bool)
    inside[1:-1, 1:-1] = mask > 0
    out = np.zeros((rows, width), np.int32)
    out[1:-1, 1:-1] = markers * (mask > 0)
    out = out.ravel()
    free = np.flatnonzero(inside.ravel() & (out == 0))
    to = np.arange(rows * width)
    to[free] = best = _highest(height, inside)[free]
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
        found = np.max([out[left + step] for step in (-1, 1, -width, width)], axis=0)
        if not found.any():
            break
        out[left] = found
        left = left[found == 0]
    labels = out.reshape(rows, width)[1:-1, 1:-1]
    if len(left):
        _, alone = components((labels == 0) & (mask > 0))
        labels = np.where(alone > 0, alone + labels.max(), labels)
    return np.ascontiguousarray(labels)


def _highest(height: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Flat index of the highest of the nine pixels round each; of equally high ones the first.

    height: (y, x); inside: (y + 2, x + 2), one pixel of margin, which is False. Returns one value per pixel of that."""
    # bits of floats from 0 on are ordered as the floats are: with them above the index, one number tells both
    lift = (height - height.min(initial=0)).astype(np.float32)
    last = inside.size - 1
    key = np.zeros(inside.shape, np.int64)
    key[1:-1, 1:-1] = lift.view(np.int32)
    key <<= 32
    key += np.arange(last, -1, -1).reshape(key.shape)
    key *= inside
    key[1:-1] = np.maximum(np.maximum(key[:-2], key[2:]), key[1:-1])
    key[:, 1:-1] = np.maximum(np.maximum(key[:, :-2], key[:, 2:]), key[:, 1:-1])
    return last - (key & 0xFFFFFFFF).ravel()


def keep_sizes(labels: NDArray[np.int32], smallest: float, largest: float) -> NDArray[np.int32]:
    """Drop objects whose area in pixels is outside [smallest, largest]; number the rest 1..n in id order."""
    area = _areas(labels)
    keep = (area >= smallest) & (area <= largest)
    keep[0] = False
    if keep[1:].all():
        return labels
    # "clip" only spares the check of bounds: every label is one that was counted
    return np.take((np.cumsum(keep) * keep).astype(np.int32), labels, mode="clip")


def _areas(labels: NDArray[np.int32]) -> NDArray:
    """Pixels of each label from 0 to the greatest."""
    import cv2

    n = int(labels.max(initial=0)) + 1
    if n > 1 << 16 or not labels.size:
        return np.bincount(labels.ravel(), minlength=n)
    return cv2.calcHist([labels.astype(np.uint16)], [0], None, [n], [0, n]).ravel()


def apart(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each object (y, x) in one piece: of one in several pieces, those of at least `_PIECE` of the largest become
    objects of their own, specks become background. Numbered 1..n."""
    import cc3d

    pieces, n = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=8, return_N=True)
    if n == np.count_nonzero(_areas(labels)[1:]):
        return labels
    owner = np.zeros(n + 1, np.int64)
    owner[pieces.ravel()] = labels.ravel()
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
