"""Supervoxels: basins of a map of affinities, without a queue and without markers.

Every voxel points at its highest neighbour, and pointers are followed by doubling to the summits: a few passes over the
array. Summits of the smoothed map say what basins there are: many (one every few hundred voxels), which leaves the decision
what belongs together to agglomeration, which sees more than a voxel. The sharp map says where they end: a voxel climbs it,
and takes the basin that its summit lies in. After the steepest-ascent watershed of A. Zlateski and H. S. Seung
(arXiv:1505.00249).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..transform import contrast

SIGMA = 1.0  # px, of the smoothing: less makes more supervoxels, more joins what thin membranes part
LOST = 3  # sections in a row without data that no neurite is followed across
# (z, y, x) of the neighbours that lie before a voxel; those after it are the same with the other sign
BEFORE = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -1, -1), (0, -1, 1))


def no_data(sections: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where sections (z, y, x) show nothing for LOST of them in a row; beyond the first and last one nothing is shown.

    What is lost for less is bridged: the network has seen the sections around it."""
    nothing = np.stack([contrast.no_data(section) for section in sections])
    beyond = np.pad(nothing, [(LOST - 1, LOST - 1), (0, 0), (0, 0)], constant_values=True)
    lasting = np.logical_and.reduce([beyond[k : len(beyond) - LOST + 1 + k] for k in range(LOST)])
    return np.logical_or.reduce([lasting[k : k + len(nothing)] for k in range(LOST)])


def beside(outside: NDArray[np.bool_], flat: bool) -> NDArray[np.bool_]:
    """Which voxels (z, y, x) touch `outside`, which is (z + 2, y + 2, x + 2), one voxel around them.

    flat: in their section."""
    found = np.zeros(tuple(n - 2 for n in outside.shape), bool)
    for axis in (1, 2) if flat else (0, 1, 2):
        for step in (0, 2):
            found |= outside[
                tuple(slice(step, step + n) if k == axis else slice(1, 1 + n) for k, n in enumerate(found.shape))
            ]
    return found


def sharp(affinity: NDArray[np.uint8], flat: bool) -> NDArray[np.float32]:
    """Summed affinities of a voxel with the neighbours before and after it: float32 (z, y, x), of (3, z, y, x).

    flat: each section by itself."""
    high = np.zeros(affinity.shape[1:], np.float32)
    for axis in (1, 2) if flat else (0, 1, 2):
        before = np.moveaxis(affinity[axis], axis, 0)
        rows = np.moveaxis(high, axis, 0)
        rows += before
        rows[:-1] += before[1:]
        rows[-1] += before[-1]  # what lies after the last one is not known
    return high


def smoothed(affinity: NDArray[np.uint8], flat: bool) -> NDArray[np.float32]:
    """Smoothed sum of the affinities with the neighbours before: float32 (z, y, x)."""
    import cv2

    near = affinity[1:] if flat else affinity
    out = np.stack([cv2.GaussianBlur(section.sum(0, dtype=np.float32), (0, 0), SIGMA) for section in near.swapaxes(0, 1)])
    if not flat and len(out) > 1:
        rows = out.reshape(len(out), -1)
        kernel = cv2.getGaussianKernel(2 * round(3 * SIGMA) + 1, SIGMA, cv2.CV_32F)
        cv2.sepFilter2D(rows, -1, np.ones(1, np.float32), kernel, dst=rows)
    return out


def basins(affinity: NDArray[np.uint8], outside: NDArray[np.bool_], flat: bool) -> NDArray[np.int32]:
    """Basins of affinities (3, z, y, x): labels 1.. in raster order of their summits, 0 where `outside`."""
    top = summits(smoothed(affinity, flat), outside, flat)
    named = np.zeros(top.size, bool)
    named[top] = True
    named &= ~outside.ravel()
    labels = (np.cumsum(named, dtype=np.int32) * named)[top]
    labels = labels[summits(sharp(affinity, flat), outside, flat)]
    there = np.bincount(labels, minlength=int(named.sum()) + 1) > 0  # a summit's own voxel may climb on to another basin
    there[0] = False
    return (np.cumsum(there, dtype=np.int32) * there)[labels].reshape(outside.shape)


def summits(high: NDArray[np.float32], outside: NDArray[np.bool_], flat: bool) -> NDArray[np.int32]:
    """The summit that each voxel (z, y, x) climbs to: places in the raveled map; `outside` stays where it is.

    A plateau has one summit: of neighbours of one height a voxel points at the one before it."""
    high = np.where(outside, -np.inf, high).astype(np.float32)
    best, number = high.copy(), np.arange(high.size, dtype=np.int32).reshape(high.shape)
    to = number.copy()
    steps = [d for d in BEFORE if not (flat and d[0])]
    for step in [tuple(-d for d in step) for step in steps] + steps:
        here, there = _apart(step)
        near, top = high[there], best[here]
        better = near >= top if step in BEFORE else near > top
        np.maximum(top, near, out=top)
        np.copyto(to[here], number[there], where=better)
    pointer = to.ravel()
    pointer[outside.ravel()] = np.flatnonzero(outside)
    while True:
        further = pointer[pointer]
        if np.array_equal(further, pointer):
            return pointer
        pointer = further


def _apart(step: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of all voxels that have a neighbour at `step`, and of these neighbours."""
    here = tuple(slice(max(-d, 0), -d if d > 0 else None) for d in step)
    there = tuple(slice(max(d, 0), d if d < 0 else None) for d in step)
    return here, there
