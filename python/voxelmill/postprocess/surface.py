"""Surfaces of all segments of a label volume at once: surface nets (Gibson 1998), of many labels.

    a a a b         Wherever two voxels with different labels touch there is a square; its corners are those of the voxels.
    a a b b         Corners then move to the middle of their neighbours along edges of squares, a few times, and never out
    a b b b         of the half voxel around them. Two segments that touch share their corners, so no gap opens.

Everything is reckoned relative to the corner itself, so what a corner becomes does not depend on where the array that is
looked at begins: arrays that overlap by `HALO` voxels give the same corners on what they share, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

ROUNDS = 4  # a staircase of one voxel is gone, and a neurite of three keeps its width
HALO = ROUNDS + 2  # voxels that a corner depends on
REACH = 0.5  # voxels that a corner may move along each axis


class Squares(NamedTuple):
    """Squares of an array, each once for either label that is not 0, sorted by label; corners are numbered."""

    label: np.ndarray  # (m,)
    corners: np.ndarray  # (m, 4) around the square, counter-clockwise seen from outside of the label
    position: np.ndarray  # (n, 3) float64, z y x, of all corners: a voxel has its centre at its number


def squares(labels: np.ndarray, inside: tuple[slice, ...], begin: Sequence[int]) -> Squares:
    """The squares below, before and left of the voxels `inside`, with corners smoothed over the whole array.

    Args:
        labels: (z, y, x) unsigned; outside of it nothing is known, so `inside` keeps `HALO` from sides where more
            follows, and begins at 1 at least.
        begin: the number of its first voxel, along each axis.
    """
    number, at, moved = corners(labels)
    position = at + np.asarray(begin) - 0.5 + moved  # whole numbers first: rounded alike in all arrays
    found, sides = [], []
    for axis in range(3):
        one = labels[tuple(slice(s.start - (k == axis), s.stop - (k == axis)) for k, s in enumerate(inside))]
        other = labels[inside]
        at = np.argwhere(one != other) + [s.start for s in inside]
        first, second = (k for k in range(3) if k != axis)
        around = np.zeros((4, 3), np.int64)
        around[[1, 2], second if axis == 1 else first] = 1  # from first to second is a turn to the left, seen along +axis,
        around[[2, 3], first if axis == 1 else second] = 1  # but for y, where z x is a turn to the right
        ring = number[tuple((at[:, None] + around).transpose(2, 0, 1))]
        for values, turned in ((one, ring), (other, ring[:, ::-1])):  # seen from outside of `one`, or of `other`
            label = values[tuple((at - [s.start for s in inside]).T)]
            found.append(label[label > 0])
            sides.append(turned[label > 0])
    label, ring = np.concatenate(found), np.concatenate(sides)
    order = np.argsort(label, kind="stable")
    return Squares(label[order], ring[order], position)


def corners(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the corners where labels meet, at the index of the voxel after them; these indices; how far they moved."""
    from scipy.sparse import csr_array

    shape = labels.shape
    edge = [meets(labels, axis) for axis in range(3)]  # along each axis, from the corner with this index to the next one
    used = np.zeros(shape, bool)
    for axis in range(3):
        used |= edge[axis]
        later = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        before = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        used[later] |= edge[axis][before]
    at = np.argwhere(used)
    number = np.full(shape, -1, np.int32)
    number[used] = np.arange(len(at), dtype=np.int32)
    rows, columns, steps = [], [], np.zeros((len(at), 3))
    for axis in range(3):
        ends = np.argwhere(edge[axis])
        ends = ends[ends[:, axis] < shape[axis] - 1]
        a, b = number[tuple(ends.T)], number[tuple((ends + np.eye(3, dtype=np.int64)[axis]).T)]
        rows += [a, b]
        columns += [b, a]
        steps[a, axis] += 1
        steps[b, axis] -= 1
    row, column = np.concatenate(rows), np.concatenate(columns)
    net = csr_array((np.ones(len(row)), (row, column)), (len(at), len(at)))
    net.sort_indices()  # sums in the order of corners, whatever the array
    degree = np.maximum(np.bincount(row, minlength=len(at)), 1)[:, None]
    moved = np.zeros((len(at), 3))
    for _ in range(ROUNDS):
        moved = np.clip((net @ moved + steps) / degree, -REACH, REACH)
    return number, at, moved


def meets(labels: np.ndarray, axis: int) -> np.ndarray:
    """Whether the four voxels around an edge along an axis are not all the same; false at index 0, where some are unknown."""
    same = np.ones(labels.shape, bool)
    here = labels
    for k in (k for k in range(3) if k != axis):
        later = tuple(slice(1, None) if n == k else slice(None) for n in range(3))
        before = tuple(slice(None, -1) if n == k else slice(None) for n in range(3))
        equal = np.ones(labels.shape, bool)
        equal[later] = here[later] == here[before]
        both = equal.copy()
        for n in (n for n in range(3) if n not in (axis, k)):
            both[tuple(slice(1, None) if m == n else slice(None) for m in range(3))] &= equal[
                tuple(slice(None, -1) if m == n else slice(None) for m in range(3))
            ]
        same &= both
    found = ~same
    for k in (k for k in range(3) if k != axis):
        found[tuple(slice(0, 1) if n == k else slice(None) for n in range(3))] = False
    return found


def meshes(found: Squares) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(label, positions (n, 3) z y x, triangles (m, 3)) of each label, ascending; a square is two triangles."""
    labels, starts = np.unique(found.label, return_index=True)
    for label, ring in zip(labels.tolist(), np.split(found.corners, starts[1:])):
        used, local = np.unique(ring, return_inverse=True)
        local = local.reshape(ring.shape)
        yield label, found.position[used], np.concatenate([local[:, [0, 1, 2]], local[:, [0, 2, 3]]]).astype(np.uint32)


def area(position: np.ndarray, triangles: np.ndarray) -> float:
    """Of all triangles, in the square of the positions' unit."""
    a, b, c = position[triangles].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
