"""Join the supervoxels of adjacent sections (and of adjacent tiles) into segments, on tables only.

The classic notebook method links two sections' labels when they share at least `min_overlap` pixels. Taken
alone that rule chains everything into one body where sections are close together, so a link must also
cover a fair share of the two (intersection over union). Block tasks count overlaps and sizes; joining
them never looks at a voxel.

No task needs the tables of the whole volume: each batch of sections finds its components (`link`), one task joins
what lies on the borders between batches (`join_borders`), and each batch numbers its own (`number`). The segments
are those of one table, whatever the batches (`join`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from voxelmill.core.graphs import components

from ..core import ids as numbers
from ..core.errors import DataError

ROW_GROUP = 1 << 16  # supervoxels that are read at once of a file of components: 1.3 MB


class Overlaps(NamedTuple):
    """Pairs of labels that touch, and how much: the table that a block task leaves."""

    pairs: np.ndarray  # uint64 (n, 2): label in a, label in b; ascending
    counts: np.ndarray  # int64 (n,): px in which both lie on each other
    sizes: np.ndarray  # int64 (n, 2): px of each label in a and in b


T = TypeVar("T", bound=tuple)


class Components(NamedTuple):
    """Supervoxel -> component of one batch of sections, sorted by supervoxel."""

    supervoxel: np.ndarray  # uint64 (n,)
    component: np.ndarray  # int64 (n,): 0.. in the order of each component's smallest supervoxel
    score: np.ndarray  # float32 (n,): best intersection over union of the supervoxel's links; 0 = alone


class Border(NamedTuple):
    """What other batches need to know of one: the size of this goes with a section, not with the batch."""

    number: int  # components of the batch
    ids: np.ndarray  # uint64 (n,): supervoxels of its first section, ascending
    component: np.ndarray  # int64 (n,)
    next_ids: np.ndarray  # uint64 (m,): supervoxels of the next batch's first section that this one links to
    next_component: np.ndarray  # int64 (m,): ... from this component
    next_score: np.ndarray  # float32 (m,)


class Joined(NamedTuple):
    """What a batch learns of the others: how its components are numbered in the volume."""

    first: int  # segment of its first component that begins here
    merged: np.ndarray  # int64 (m,): components that go on one of an earlier batch, ascending
    segment: np.ndarray  # uint64 (m,): ... and its segment
    ids: np.ndarray  # uint64 (k,): supervoxels that the batch before links to
    score: np.ndarray  # float32 (k,)
    segments: int  # of the whole volume


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
    return Overlaps(np.stack([ids_a[i], ids_b[j]], 1), count[real].astype(np.int64), np.stack([size_a[i], size_b[j]], 1))


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


def join(supervoxels: np.ndarray, sections: Overlaps, seams: Overlaps | None = None, **rules: float) -> MergeTable:
    """Link the supervoxels of a whole volume and number the segments; arguments as `link`."""
    found, border = link(supervoxels, sections, seams, **rules)  # type: ignore[arg-type]
    if border.next_ids.size:
        raise _unknown(border.next_ids[0])
    return number(found)


def link(
    supervoxels: np.ndarray,
    sections: Overlaps,
    seams: Overlaps | None = None,
    *,
    first_ends: int = 0,
    min_overlap: int = 200,
    min_iou: float = 0.35,
    min_seam_iou: float = 0.5,
) -> tuple[Components, Border]:
    """Link the supervoxels of a batch of sections; independent of the order of ids and rows.

    Args:
        supervoxels: every id of the batch (any order, repeats allowed).
        sections: overlaps between adjacent sections; those of the last one with the next batch's first go
            into the border, and are known by ids above the batch's own.
        seams: contacts across tile seams, made by `section_overlaps` of the pixels on either side.
        first_ends: smallest id past the batch's first section.
        min_overlap: px that two supervoxels share at least (the notebook's rule).
        min_iou: and the share of their union; 0 is the notebook's rule alone.
        min_seam_iou: the same for the pixels along a seam.

    Raises:
        DataError: an overlap names a supervoxel that is not among ``supervoxels``.
    """
    ids = np.unique(np.asarray(supervoxels, np.uint64))
    ids = ids[ids > 0]
    last = ids[-1] if len(ids) else np.uint64(0)
    score = np.zeros(len(ids), np.float32)
    edges, beyond, beyond_from, beyond_score = [], [], [], []
    for table, least, share in ((sections, min_overlap, min_iou), (seams, 1, min_seam_iou)):
        if table is None:
            continue
        iou = intersection_over_union(table)
        linked = (table.counts >= least) & (iou >= share)
        pairs, iou = table.pairs[linked], iou[linked].astype(np.float32)
        outward = pairs[:, 1] > last
        upper = _places(ids, pairs[:, 0])
        np.maximum.at(score, upper, iou)
        lower = _places(ids, pairs[~outward, 1])
        np.maximum.at(score, lower, iou[~outward])
        edges.append(np.stack([upper[~outward], lower], 1))
        beyond.append(pairs[outward, 1])
        beyond_from.append(upper[outward])
        beyond_score.append(iou[outward])
    edge = np.concatenate(edges)
    root = components(len(ids), edge[:, 0], edge[:, 1])
    # A root is its component's smallest supervoxel, so the rank of the roots numbers the components.
    component = (np.cumsum(root == np.arange(len(ids))) - 1)[root]
    inside = int(np.searchsorted(ids, np.uint64(first_ends)))
    border = Border(
        int(component.max(initial=-1)) + 1,
        ids[:inside],
        component[:inside],
        np.concatenate(beyond),
        component[np.concatenate(beyond_from)],
        np.concatenate(beyond_score),
    )
    return Components(ids, component, score), border


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of each wanted id. Raises DataError for one that is not there."""
    at = np.searchsorted(ids, wanted)
    there = np.zeros(len(at), bool)
    there[at < len(ids)] = ids[at[at < len(ids)]] == wanted[at < len(ids)]
    if not there.all():
        raise _unknown(wanted[~there][0])
    return at


def _unknown(supervoxel: np.uint64) -> DataError:
    return DataError(f"stitching: an overlap names supervoxel {supervoxel}, which no block reports; rerun that block")


def join_borders(borders: list[Border]) -> list[Joined]:
    """Number the segments of all batches, given in the order of their sections.

        batch 0     0   1 --.           components; the smallest supervoxel of a segment lies in the
        batch 1     0 --- 1 -'  2       first batch that it touches, so segments are numbered as in one
                    |     |     |       table: those that begin in batch 0, then in batch 1, ...
        segment     3     2     4

    Raises:
        DataError: a batch links to a supervoxel that is not in the next one's first section.
    """
    first = np.cumsum([0, *(b.number for b in borders)])
    edges = [np.zeros((0, 2), np.int64)]
    for k, (one, after) in enumerate(pairwise(borders)):
        there = after.component[_places(after.ids, one.next_ids)]
        edges.append(np.stack([first[k] + one.next_component, first[k + 1] + there], 1))
    if borders and borders[-1].next_ids.size:
        raise _unknown(borders[-1].next_ids[0])
    touched, edge = np.unique(np.concatenate(edges), return_inverse=True)
    edge = edge.reshape(-1, 2)
    root = components(len(touched), edge[:, 0], edge[:, 1])
    gone = touched[root != np.arange(len(touched))]  # components that are not the first of their segment
    into = touched[root][root != np.arange(len(touched))]
    segment = into - np.searchsorted(gone, into) + 1
    found = []
    for k in range(len(borders)):
        here = slice(*np.searchsorted(gone, first[k : k + 2]))
        before = borders[k - 1] if k else None
        found.append(
            Joined(
                int(first[k] - here.start) + 1,
                gone[here] - first[k],
                segment[here].astype(np.uint64),
                before.next_ids if before else np.zeros(0, np.uint64),
                before.next_score if before else np.zeros(0, np.float32),
                int(first[-1] - len(gone)),
            )
        )
    return found


def number(found: Components, joined: Joined | None = None) -> MergeTable:
    """The merge table of a batch, or of some of its supervoxels; without ``joined`` the batch is the whole volume."""
    if joined is None:
        return MergeTable(found.supervoxel, (found.component + 1).astype(np.uint64), found.score)
    segment = (found.component - np.searchsorted(joined.merged, found.component) + joined.first).astype(np.uint64)
    if len(joined.merged):
        at = np.minimum(np.searchsorted(joined.merged, found.component), len(joined.merged) - 1)
        segment = np.where(joined.merged[at] == found.component, joined.segment[at], segment)
    score, here = found.score.copy(), np.isin(joined.ids, found.supervoxel)
    np.maximum.at(score, _places(found.supervoxel, joined.ids[here]), joined.score[here])
    return MergeTable(found.supervoxel, segment, score)


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


def save(path: Path, table: tuple) -> None:
    """Write one of the tables above (npz)."""
    with open(path, "wb") as file:
        np.savez(file, **table._asdict())  # type: ignore[attr-defined]


def load(path: Path, kind: type[T]) -> T:
    """Read it; numbers come back as numbers."""
    with np.load(path) as parts:
        values = {name: parts[name] if parts[name].ndim else int(parts[name]) for name in parts.files}
    return kind(**values)


def write_components(path: Path, parts: Iterable[Components]) -> None:
    """Write components so that a range of supervoxels can be read by itself (Parquet, in row groups).

    parts: in order, all but the last of whole row groups."""
    _write(path, (part._asdict() for part in parts), ROW_GROUP)


class StoredComponents:
    """A file of components, of which what is asked for is read; `rows_read` counts."""

    def __init__(self, path: Path):
        import pyarrow.parquet as pq

        self.file, self.rows_read = pq.ParquetFile(path), 0
        groups = [self.file.metadata.row_group(k) for k in range(self.file.num_row_groups)]
        known = [[group.column(k).statistics for k in (0, 1)] for group in groups if group.num_rows]
        self.ends = [(one.min, one.max) for one, _ in known]
        self.number = max((component.max for _, component in known), default=-1) + 1

    def within(self, ranges: list[tuple[int, int]]) -> Components:
        """Those of the supervoxels in half-open ranges."""
        touched = [k for k, (low, high) in enumerate(self.ends) if any(low < b and a <= high for a, b in ranges)]
        rows = self.file.read_row_groups(touched)
        self.rows_read += rows.num_rows
        found = [rows.column(name).to_numpy() for name in Components._fields]
        there = numbers.within(found[0], ranges)
        return Components(*(column[there] for column in found))


def write_merge(path: Path, table: MergeTable) -> None:
    """Write a merge table, or a part of it, for others to read (Parquet)."""
    write_merge_parts(path, [table])


def write_merge_parts(path: Path, parts: Iterable[MergeTable]) -> None:
    """The same of parts that are not held together."""
    named = ({"supervoxel": part.supervoxel, "root_id": part.segment, "score": part.score} for part in parts)
    _write(path, named, 1 << 20)


def _write(path: Path, parts: Iterable[dict[str, np.ndarray]], group: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = iter(parts)
    table = pa.table(next(parts))
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        writer.write_table(table, group)
        for part in parts:
            writer.write_table(pa.table(part), group)
