"""The region graph: which supervoxels touch, over how many faces of voxels, and how strongly they belong together there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Nodes(NamedTuple):
    """Supervoxels, in ascending order of their ids."""

    ids: NDArray[np.uint64]
    sizes: NDArray[np.int64]  # voxels of each
    sections: NDArray[np.int32]  # that each lies in, where none lies in two; else 0
    ends: NDArray[np.bool_]  # whether it touches where data end: the volume's faces, or no data


class Edges(NamedTuple):
    """Pairs of supervoxels that touch, each once."""

    pairs: NDArray[np.uint64]  # (n, 2), the smaller id first; ascending
    total: NDArray[np.int64]  # (n,): sum of the affinities, 0-255 each, of all faces between the two
    faces: NDArray[np.int64]  # (n,): faces of voxels between the two


def chosen(edges: Edges, those: NDArray[np.bool_]) -> Edges:
    return Edges(edges.pairs[those], edges.total[those], edges.faces[those])


def none() -> Edges:
    return Edges(np.zeros((0, 2), np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def edges(labels: NDArray[np.integer], affinity: NDArray[np.uint8]) -> Edges:
    """Edges inside an array of labels (z, y, x), 0 = none, with affinities (3, z, y, x) as in `affinities`."""
    found = []
    for axis in range(3):
        here, there = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(-1)))
        found.append(_touching(labels[there], labels[here], affinity[axis][here]))
    return added(*(np.concatenate(column) for column in zip(*found, strict=True)))


def between(before: NDArray[np.integer], after: NDArray[np.integer], affinity: NDArray[np.uint8]) -> Edges:
    """Edges between two planes of labels that lie on each other; affinity: of those `after` with those before."""
    return added(*_touching(before, after, affinity))


def merged(tables: Sequence[Edges]) -> Edges:
    """Several tables as one: the faces of a pair that is in more than one are added up."""
    if not tables:
        return none()
    pairs, total, faces = (np.concatenate(column) for column in zip(*tables, strict=True))
    return added(pairs[:, 0], pairs[:, 1], total, faces)


def added(a: NDArray, b: NDArray, total: NDArray, faces: NDArray | None = None) -> Edges:
    """One edge for each pair of ends: the smaller end first, none with itself. faces: None stands for one each."""
    kept = np.flatnonzero(a != b)
    if not len(kept):
        return none()
    a, b = np.minimum(a[kept], b[kept]), np.maximum(a[kept], b[kept])
    # one number a pair: ids of one array lie close together
    low, span = int(a.min()), int(b.max()) - int(a.min()) + 1
    known = None
    if span >= 2**31:
        known, index = np.unique(np.concatenate([a, b]), return_inverse=True)
        (a, b), low, span = np.split(index, 2), 0, len(known)
    key = (a.astype(np.int64) - low) * span + (b.astype(np.int64) - low)
    order = np.argsort(key, kind="stable")
    key, kept = key[order], kept[order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    pairs = np.stack([key[starts] // span + low, key[starts] % span + low], 1)
    counted = np.diff(np.append(starts, len(key))) if faces is None else np.add.reduceat(faces[kept], starts)
    return Edges(
        (pairs if known is None else known[pairs]).astype(np.uint64),
        np.add.reduceat(total[kept].astype(np.int64), starts),
        counted,
    )


def _touching(before, after, affinity) -> tuple[NDArray, NDArray, NDArray]:
    """(label before, label after, affinity) of each face between different labels."""
    border = (before != after) & (before > 0) & (after > 0)
    return before[border], after[border], affinity[border]
