"""Region tables of label frames, and relabelling, by runs of equal labels.

A label frame is a few thousand horizontal runs, whatever its number of pixels, and every sum that tracking
needs (area, centroid, second moments, bounding box) has a closed form on a run. So one comparison of
neighbouring pixels is the only work that touches each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Regions:
    """The labelled regions of one frame, sorted by label; lengths in pixels.

    Attributes:
        label: (n,) int64, the labels present, background 0 left out.
        area: (n,) float64, pixels.
        centroid: (n, 2) float64, (y, x) of pixel centres.
        cov: (n, 2, 2) float64, covariance of the pixel positions in (y, x); a pixel counts as a unit
            square, so a single pixel has 1/12 and no covariance is singular.
        bbox: (n, 4) int64, (y0, x0, y1, x1), half-open.
        shape: (height, width) of the frame.
    """

    label: NDArray[np.int64]
    area: NDArray[np.float64]
    centroid: NDArray[np.float64]
    cov: NDArray[np.float64]
    bbox: NDArray[np.int64]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def on_border(self) -> NDArray[np.bool_]:
        """(n,) bool: the region touches the edge of the frame, so part of it may be outside."""
        box, (height, width) = self.bbox, self.shape
        return (box[:, 0] == 0) | (box[:, 1] == 0) | (box[:, 2] == height) | (box[:, 3] == width)

    def take(self, index: NDArray) -> Regions:
        """The regions at `index` (integers or a mask), in that order."""
        return Regions(
            self.label[index], self.area[index], self.centroid[index], self.cov[index], self.bbox[index], self.shape
        )


def check_frame(labels: NDArray, what: str = "label frame") -> NDArray:
    """The frame as a 2-D integer array.

    Raises:
        DataError: the values are not integers, the frame is not 2-D, is empty, or holds negative labels.
    """
    labels = np.asarray(labels)
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{what}: found dtype {labels.dtype}, expected integer labels; convert it, e.g. with labels.astype('uint32')"
        )
    if labels.ndim != 2 or 0 in labels.shape:
        raise DataError(
            f"{what}: found shape {labels.shape}, expected one non-empty frame (y, x); pass the frames of a movie one by one"
        )
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise DataError(f"{what}: found the label {labels.min()}, expected 0 for background and positive labels; renumber it")
    if labels.dtype == np.uint64 and labels.max() > np.iinfo(np.int64).max:
        raise DataError(f"{what}: found the label {labels.max()}, which does not fit into int64; renumber it")
    return labels


def _runs(labels: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Flat start, length and value of every run of equal labels; runs end with their row."""
    height, width = labels.shape
    change = np.empty((height, width), bool)
    change[:, 0] = True
    np.not_equal(labels[:, 1:], labels[:, :-1], out=change[:, 1:])
    start = np.flatnonzero(change)
    length = np.diff(start, append=height * width)
    return start, length, labels.reshape(-1)[start]


def region_table(labels: NDArray) -> Regions:
    """Measure every region of a label frame.

    Args:
        labels: (y, x) integers, 0 = background. A label may lie in several pieces: it is one region.

    Raises:
        DataError: see `check_frame`.
    """
    labels = check_frame(labels)
    start, length, value = _runs(labels)
    inside = value != 0
    start, length, value = start[inside], length[inside].astype(np.float64), value[inside].astype(np.int64)
    if not len(value):
        none = np.zeros(0)
        return Regions(
            none.astype(np.int64), none, none.reshape(0, 2), none.reshape(0, 2, 2), np.zeros((0, 4), np.int64), labels.shape
        )
    y, x = np.divmod(start, labels.shape[1])
    order = np.argsort(value, kind="stable")
    y, x, length, value = y[order], x[order], length[order], value[order]
    first = np.flatnonzero(np.diff(value, prepend=-1))

    def total(v: NDArray) -> NDArray:
        return np.add.reduceat(v, first)

    area = total(length)
    xm = x + (length - 1) / 2
    cy, cx = total(y * length) / area, total(xm * length) / area
    # second moments about the region's own centroid: nothing cancels, however large the frame
    count = np.diff(first, append=len(value))
    dy, dx = y - np.repeat(cy, count), xm - np.repeat(cx, count)
    cov = np.empty((len(first), 2, 2))
    cov[:, 0, 0] = total(dy * dy * length) / area + 1 / 12
    cov[:, 1, 1] = total((dx * dx + length * length / 12) * length) / area
    cov[:, 0, 1] = cov[:, 1, 0] = total(dy * dx * length) / area
    bbox = np.stack(
        [
            np.minimum.reduceat(y, first),
            np.minimum.reduceat(x, first),
            np.maximum.reduceat(y, first) + 1,
            np.maximum.reduceat(x + length.astype(np.int64), first),
        ],
        axis=1,
    )
    return Regions(value[first], area, np.stack([cy, cx], axis=1), cov, bbox, labels.shape)


def relabel_frame(labels: NDArray, label: NDArray, new: NDArray) -> NDArray[np.uint32]:
    """Give every region its new id.

    Args:
        labels: (y, x) integers.
        label: (n,) the labels to change, sorted.
        new: (n,) what each becomes, within uint32; 0 removes it.

    Returns:
        (y, x) uint32.

    Raises:
        DataError: a label of the frame is not among `label`, or a new id does not fit into uint32.
    """
    labels = check_frame(labels)
    label, new = np.concatenate([[0], label]).astype(np.int64), np.concatenate([[0], new]).astype(np.int64)
    if new.max() > np.iinfo(np.uint32).max or new.min() < 0:
        raise DataError(
            f"track id {new.max() if new.min() >= 0 else new.min()} does not fit into uint32; renumber the tracks from 1"
        )
    _, length, value = _runs(labels)
    value = value.astype(np.int64)
    where = np.minimum(np.searchsorted(label, value), len(label) - 1)
    unknown = label[where] != value
    if unknown.any():
        raise DataError(
            f"label {value[unknown][0]} is in the frame, but not in its table of "
            f"{len(label) - 1} regions; "
            "relabel the same frame that was tracked"
        )
    return np.repeat(new[where].astype(np.uint32), length).reshape(labels.shape)
