"""What goes into the cell network, and cells out of its maps: arrays to arrays.

The network sees a frame shrunk so that a cell is WIDTH px wide (the largest circle that fits inside it), evened
out by `normalise`. Its maps, in the order of MAPS, become cells by `decode`: pixels of the foreground walk along
the flow, which points along the cell to its middle, and those that meet are one cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH = 12.0  # px, what a cell's width is brought to
MAPS = ("foreground", "boundary", "centrality", "flow_y", "flow_x")
FOLD = 16  # sides the network takes are multiples of this
INSIDE = 1.0  # logit of the foreground above which a pixel walks
SURE = 0.5  # a cell has a pixel that is this central, ...
LEAST = 0.25  # ... and this share of the area that cells of the frame have (their median)
_HAZE = 6 * WIDTH  # px, structure wider than this is illumination


def normalise(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Even out illumination and contrast of a shrunk frame (y, x): what the network sees.

    Background near 0, its noise near 1, strong contrast compressed by arcsinh. A frame without contrast gives
    zeros.
    """
    import cv2

    size = small.shape[::-1]
    coarse = cv2.resize(small, tuple(max(1, n // 8) for n in size), interpolation=cv2.INTER_AREA)
    haze = cv2.GaussianBlur(coarse, (0, 0), _HAZE / 8, borderType=cv2.BORDER_REFLECT)
    out = small - cv2.resize(haze, size, interpolation=cv2.INTER_LINEAR)
    out -= float(np.median(out[::2, ::2]))
    noise = 1.4826 * float(np.median(np.abs(out[::2, ::2])))
    # rounding of counts as large as these is no contrast
    floor = 1e-5 * max(float(np.abs(small).max(initial=0)), 1e-30)
    return np.arcsinh(out / np.float32(max(noise, floor)))


def decode(
    maps: NDArray[np.float32], *, threshold: float = INSIDE, doublings: int = 7, smallest: int = 40
) -> NDArray[np.int32]:
    """Cells of a shrunk frame from the network's maps (5, y, x): int32 (y, x), 0 = background, cells 1..n.

    threshold: logit of the foreground above which a pixel belongs to a cell.
    doublings: pixels walk 2 to the power of this, px; what has not arrived by then makes a cell of its own.
    smallest: cells of fewer px are dropped; so are those without a middle (SURE) and slivers (LEAST).
    """
    import cv2

    foreground, _, _, flow_y, flow_x = maps
    inside = foreground > threshold
    y, x = np.nonzero(inside)
    if not len(y):
        return np.zeros(inside.shape, np.int32)
    height, width = inside.shape
    flow = np.stack([cv2.GaussianBlur(f * inside, (3, 3), 0) for f in (flow_y, flow_x)], -1)
    limit = np.array([height - 1, width - 1], np.float32)
    start = np.stack([y, x], -1).astype(np.float32)

    def at(where: NDArray) -> tuple[NDArray, ...]:
        return tuple(np.rint(np.clip(where, 0, limit)).astype(np.int32).T)

    # where a pixel stands after n steps is where it stands after n / 2, and n / 2 more from there
    way = flow.copy()
    for _ in range(doublings):
        step = way[y, x]
        way[y, x] = step + way[at(start + step)]
    last = start + way[y, x]
    for _ in range(3):
        last += flow[at(last)]
    end = at(last)
    crowd = np.zeros(inside.shape, np.float32)
    np.add.at(crowd, (end[0], end[1]), 1)
    # ends of one cell lie within a pixel or two of each other
    meeting = cv2.dilate((cv2.GaussianBlur(crowd, (5, 5), 1.0) > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, points = cv2.connectedComponents(meeting, connectivity=8)
    labels = np.zeros(inside.shape, np.int32)
    labels[y, x] = points[end[0], end[1]]
    area = np.bincount(labels.ravel())
    central = np.full(len(area), -np.inf)
    np.maximum.at(central, labels[y, x], maps[2][y, x])
    keep = (area >= smallest) & (central >= np.log(SURE / (1 - SURE)))
    keep[0] = False
    if keep.any():
        keep &= area >= LEAST * np.median(area[keep])
    return np.take((np.cumsum(keep) * keep).astype(np.int32), labels)
