"""Join the supervoxels of adjacent sections (and of adjacent tiles) into segments, on tables only.

The classic notebook method links two sections' labels when they share at least `min_overlap` pixels. Taken
alone that rule chains everything into one body where sections are close together, so a link must also
cover a fair share of the two (intersection over union). Block tasks count overlaps and sizes; joining
them never looks at a voxel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from voxelmill.inference.watershed import components

from ..core.errors import DataError


class Overlaps(NamedTuple):
    """Pairs of labels that touch, and how much: the table that a block task leaves."""

    pairs: np.ndarray  # uint64 (n, 2): label in a, label in b; ascending
    counts: np.ndarray  # int64 (n,): px in which both lie on each other
    sizes: np.ndarray  # int64 (n, 2): px of each label in a and in b


class MergeTable(NamedTuple):
    """Supervoxel -> segment, sorted by supervoxel."""

    supervoxel: np.ndarray  # uint64 (n,)
    segment: np.ndarray  # uint64 (n,): 1.. in the order of each segment's smallest supervoxel
    score: np.ndarray  # float32 (n,): best intersection over union of the supervoxel's links; 0 = alone


def section_overlaps(a: np.ndarray, b: np.ndarray, *, step: int = 1) -> Overlaps:
    """Overlaps of the labels of two sections on one grid; 0 is no label.

    ``a`` and ``b`` are integer arrays of one shape: two adjacent sections, or the two rows of pixels
    on either side of a tile seam. Linear in pixels: equal neighbours in a row count as one run. With
    ``step`` only every step-th row and column is looked at and counts for ``step**2`` px: what labels
    made at ``shrink=2`` need, since they are constant on 2 x 2 px.

    Raises:
        DataError: the shapes differ.
    """
    if a.shape != b.shape:
        raise DataError(f"stitching: sections of shape {a.shape} and {b.shape}; expected one grid")
    weight = step**a.ndim
    a, b = (np.ravel(x[(slice(None, None, step),) * x.ndim]) for x in (a, b))
    if not a.size:
        return _no_overlaps()
    start = np.flatnonzero(np.concatenate(([True], (a[1:] != a[:-1]) | (b[1:] != b[:-1]))))
    run = np.diff(start, append=a.size) * weight
    a, b = a[start].astype(np.uint64), b[start].astype(np.uint64)
    (ids_a, index_a), (ids_b, index_b) = _index(a), _index(b)
    size_a, size_b = (np.bincount(i, run, len(ids)).astype(np.int64) for i, ids in ((index_a, ids_a), (index_b, ids_b)))
    key = index_a * len(ids_b) + index_b
    if len(ids_a) * len(ids_b) <= 4 * len(key) + 4096:
        count = np.bincount(key, run)
        key = np.flatnonzero(count)
        count = count[key]
    else:
        key, inverse = np.unique(key, return_inverse=True)
        count = np.bincount(inverse, run)
    i, j = key // len(ids_b), key % len(ids_b)
    real = (ids_a[i] > 0) & (ids_b[j] > 0)
    i, j = i[real], j[real]
    return Overlaps(
        np.stack([ids_a[i], ids_b[j]], 1), count[real].astype(np.int64), np.stack([size_a[i], size_b[j]], 1)
    )


def _index(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending labels and the place of each element among them, as `numpy.unique`, which sorts.

    The ids of one tile lie close together: a table does for them. It may name labels that do not occur.
    """
    some = labels[labels > 0]
    low, span = (some.min(), int(some.max() - some.min())) if some.size else (np.uint64(1), 0)
    if span > 4 * labels.size + 1024:
        return np.unique(labels, return_inverse=True)
    ids = np.concatenate((np.zeros(1, np.uint64), low + np.arange(span + 1, dtype=np.uint64)))
    return ids, np.where(labels > 0, labels - (low - np.uint64(1)), 0).astype(np.int64)


def concatenate(tables: Iterable[Overlaps]) -> Overlaps:
    """The tables of several section pairs as one."""
    tables = list(tables)
    return Overlaps(*(np.concatenate(column) for column in zip(*tables, strict=True))) if tables else _no_overlaps()


def _no_overlaps() -> Overlaps:
    return Overlaps(np.zeros((0, 2), np.uint64), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))


def intersection_over_union(overlaps: Overlaps) -> np.ndarray:
    """float64 ``(n,)``, 0..1."""
    return overlaps.counts / np.maximum(overlaps.sizes.sum(1) - overlaps.counts, 1)


def join(
    supervoxels: np.ndarray,
    sections: Overlaps,
    seams: Overlaps | None = None,
    *,
    min_overlap: int = 200,
    min_iou: float = 0.33,
    min_seam_iou: float = 0.5,
) -> MergeTable:
    """Link supervoxels and number the segments; independent of block layout and table order.

    Args:
        supervoxels: every id of the volume (any order, repeats allowed).
        sections: overlaps between adjacent sections.
        seams: contacts across tile seams, made by `section_overlaps` of the pixels on either side.
        min_overlap: px that two supervoxels share at least (the notebook's rule).
        min_iou: and the share of their union; 0 is the notebook's rule alone.
        min_seam_iou: the same for the pixels along a seam.

    Raises:
        DataError: an overlap names a supervoxel that is not among ``supervoxels``.
    """
    ids = np.unique(np.asarray(supervoxels, np.uint64))
    ids = ids[ids > 0]
    score = np.zeros(len(ids), np.float32)
    edges = []
    for table, least, share in ((sections, min_overlap, min_iou), (seams, 1, min_seam_iou)):
        if table is None or not len(table.counts):
            continue
        iou = intersection_over_union(table)
        linked = (table.counts >= least) & (iou >= share)
        edge = np.searchsorted(ids, table.pairs[linked])
        if edge.size:
            found = ids[np.minimum(edge, len(ids) - 1)] if len(ids) else np.zeros_like(edge)
            if not np.array_equal(found, table.pairs[linked]):
                missing = table.pairs[linked][found != table.pairs[linked]][0]
                raise DataError(
                    f"stitching: an overlap names supervoxel {missing}, which no block reports; rerun that block"
                )
            for side in (0, 1):
                np.maximum.at(score, edge[:, side], iou[linked].astype(np.float32))
            edges.append(edge)
    edge = np.concatenate(edges) if edges else np.zeros((0, 2), np.int64)
    root = components(len(ids), edge[:, 0], edge[:, 1])
    # A root is its component's smallest supervoxel, so the rank of the roots numbers the segments.
    segment = np.cumsum(root == np.arange(len(ids)))[root].astype(np.uint64)
    return MergeTable(ids, segment, score)


def remap(labels: np.ndarray, table: MergeTable, *, step: int = 1) -> np.ndarray:
    """Segments of a block of supervoxels: uint64, same shape; 0 stays 0.

    ``step`` as in `section_overlaps`: look at one of each step x step px and repeat it.

    Raises:
        DataError: a label is not in the table.
    """
    if step > 1:
        out = remap(labels[..., ::step, ::step], table).repeat(step, axis=-1).repeat(step, axis=-2)
        return out[..., : labels.shape[-2], : labels.shape[-1]]
    labels = np.ascontiguousarray(labels, np.uint64)
    flat = labels.ravel()
    start = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1]))) if flat.size else np.zeros(0, np.int64)
    run = np.diff(start, append=flat.size)
    ids = np.concatenate((np.zeros(1, np.uint64), table.supervoxel))
    values = np.concatenate((np.zeros(1, np.uint64), table.segment))
    where = np.minimum(np.searchsorted(ids, flat[start]), len(ids) - 1)
    if not np.array_equal(ids[where], flat[start]):
        missing = flat[start][ids[where] != flat[start]][0]
        raise DataError(f"stitching: supervoxel {missing} is not in the merge table; is the table of another run?")
    return np.repeat(values[where], run).reshape(labels.shape)
