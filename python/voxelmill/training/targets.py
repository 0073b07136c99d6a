"""What the networks are to say: fields and maps made from labels, in numpy.

Cells: how central a pixel is, and which way along the cell its middle lies. Neurites: affinities to near and far
voxels, and local shape descriptors (Sheridan et al., Nature Methods 2022): centre, spread and size of what a voxel
sees of its own object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


def depth_inside(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Distance of a pixel to the outline of its own cell, px: float32 (y, x), 0 in the background."""
    import cv2

    ids = cv2.copyMakeBorder(labels.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_CONSTANT).astype(np.int32)
    edge = np.zeros(ids.shape, bool)
    edge[:-1] |= ids[:-1] != ids[1:]
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    inside = ((ids > 0) & ~edge).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1] + 0.5
    return np.where(labels > 0, depth, 0).astype(np.float32)


def most(labels: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest value inside each label: float32 (max label + 1,), index 0 unused."""
    out = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    np.maximum.at(out, labels.ravel(), values.ravel())
    return out


def width(labels: NDArray[np.int32]) -> float:
    """Median width of the cells of a frame, px: of the largest circle that fits inside; 0 without cells."""
    widths = 2 * most(labels, depth_inside(labels))[1:]
    return float(np.median(widths[widths > 0])) if (widths > 0).any() else 0.0


def centrality(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Depth over the most in that cell: float32 (y, x), 0-1."""
    depth = depth_inside(labels)
    largest: NDArray[np.float32] = np.maximum(most(labels, depth), np.float32(1e-6))
    return depth / largest[labels]


def way_to_middle(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Length of the shortest way inside the cell to its middle, px: float32 (y, x), inf where there is none.

    The middle is thick and near the centre of mass; it always lies in the cell.
    """
    y, x = np.nonzero(labels)
    out = np.full(labels.shape, np.inf, np.float32)
    if not len(y):
        return out
    own = labels[y, x]
    area = np.maximum(np.bincount(own), 1)
    cy, cx = np.bincount(own, y) / area, np.bincount(own, x) / area
    off = np.hypot(y - cy[own], x - cx[own]) / np.sqrt(area[own])
    goodness = centrality(labels)[y, x] - 1.5 * off
    order = np.lexsort((goodness, own))
    middle = order[np.r_[own[order][1:] != own[order][:-1], True]]

    cols = labels.shape[1] + 2
    ids = np.pad(labels, 1).ravel()
    length = np.full(ids.shape, np.inf, np.float32)
    front = (y[middle] + 1) * cols + x[middle] + 1
    length[front] = 0
    while len(front):
        reached = []
        for dy, dx in _AROUND:
            to = front + dy * cols + dx
            new = length[front] + np.float32(np.hypot(dy, dx))
            better = (ids[to] == ids[front]) & (new < length[to] - 1e-3)
            np.minimum.at(length, to[better], new[better])
            reached.append(to[better])
        front = np.unique(np.concatenate(reached))
    out[:] = length.reshape(-1, cols)[1:-1, 1:-1]
    out[labels == 0] = np.inf
    return out


def flow(labels: NDArray[np.int32], way: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors (2, y, x), towards shorter ways within the same label; 0 in middles and background."""
    out = np.zeros((2, *labels.shape), np.float32)
    ids, length = np.pad(labels, 1), np.pad(way, 1, constant_values=np.inf)
    rows, cols = labels.shape
    here = np.where(np.isfinite(way), way, 0)
    for dy, dx in _AROUND:
        there = (slice(1 + dy, 1 + dy + rows), slice(1 + dx, 1 + dx + cols))
        same = (ids[there] == labels) & (labels > 0) & np.isfinite(length[there])
        fall = np.where(same, here - np.where(same, length[there], 0), 0)
        out[0] += fall * (dy / (dy * dy + dx * dx))
        out[1] += fall * (dx / (dy * dy + dx * dx))
    return out / np.maximum(np.hypot(out[0], out[1]), 1e-3)


def seams(labels: NDArray[np.int32], reach: int = 3) -> NDArray[np.bool_]:
    """Pixels of a cell within `reach` px (Chebyshev) of another cell: bool (y, x)."""
    import cv2

    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    highest = cv2.dilate(labels.astype(np.float32), kernel)
    lowest = cv2.erode(np.where(labels > 0, labels, 1 << 24).astype(np.float32), kernel)
    return (labels > 0) & (highest != lowest)


def thinned(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels (z, y, x) less the pixels at which another one is a neighbour in the section: membranes get 0."""
    out = labels.copy()
    for a, b in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((..., slice(1, None)), (..., slice(None, -1))),
    ):
        differ = labels[a] != labels[b]
        out[a][differ] = 0
        out[b][differ] = 0
    return out


def affinities(
    labels: NDArray[np.int32], offsets: tuple[tuple[int, int, int], ...]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Are p and p + offset of one object (not 0)? And is p + offset inside: both bool (offset, z, y, x)."""
    same = np.zeros((len(offsets), *labels.shape), bool)
    known = np.zeros_like(same)
    for k, offset in enumerate(offsets):
        if any(abs(d) >= n for d, n in zip(offset, labels.shape)):
            continue
        here = tuple(slice(max(-d, 0), n - max(d, 0)) for d, n in zip(offset, labels.shape))
        there = tuple(slice(max(d, 0), n - max(-d, 0)) for d, n in zip(offset, labels.shape))
        same[k][here] = (labels[here] == labels[there]) & (labels[here] > 0)
        known[k][here] = True
    return same, known


def descriptors(
    labels: NDArray[np.int32], sigma: tuple[float, float, float], step: tuple[int, int, int] = (1, 4, 4)
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Local shape descriptors of every `step`-th voxel: float32 (10, z, y, x), and where there is an object.

    Mean offset (3), covariance zz, yy, xx, zy, zx, yx and share of the Gaussian window (sigma, voxels) that is the
    voxel's own object; offsets over sigma, covariances over sigma squared.
    """
    small = labels[tuple(slice(s // 2, None, s) for s in step)]
    ids, own = np.unique(small, return_inverse=True)
    own = own.reshape(small.shape)
    mask = (own[None] == np.flatnonzero(ids > 0)[:, None, None, None]).astype(np.float32)
    out = np.zeros((10, *small.shape), np.float32)
    if not len(mask):
        return out, small > 0
    # coordinates in sigmas; Gaussians as matrices, for the patch is small
    along = [np.arange(n, dtype=np.float32) * (s / g) for n, s, g in zip(small.shape, step, sigma)]
    window = [np.exp(-0.5 * (a[:, None] - a[None]) ** 2) for a in along]
    whole = np.ones((1, *small.shape), np.float32)

    def smooth(v: np.ndarray) -> np.ndarray:
        v = np.einsum("ab,lbyx->layx", window[0], v, optimize=True)
        return np.matmul(np.matmul(window[1], v), window[2])

    z, y, x = np.meshgrid(*along, indexing="ij", sparse=True)
    position = [c + np.zeros(small.shape, np.float32) for c in (z, y, x)]
    index = np.where(small > 0, own - (len(ids) - len(mask)), 0)[None]

    def seen(factor: np.ndarray | float) -> np.ndarray:
        return np.take_along_axis(smooth(mask * factor), index, 0)[0]

    size = np.maximum(seen(1.0), 1e-6)
    mean = [seen(p) / size for p in position]
    for i in range(3):
        out[i] = mean[i] - position[i]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), start=3):
        out[k] = seen(position[i] * position[j]) / size - mean[i] * mean[j]
    out[9] = size / smooth(whole)[0]
    return out * (small > 0), small > 0
