"""Agarose around tissue: it scatters little and alike everywhere, and shows what optics and depth do to light.

plane 0  ~~~~ water ~~~~~~~~~        A column of boxes is agarose from the top down to where tissue begins in it: its
         aaaaaaTTTTTTTTTTaa          outline moves with depth. Near the surface agarose is told by its darkness; from
         aaaaaTTTTTTTTTTTTa          there on by being as bright as the rest of it.
         aaaaTTTTTTTTTTTTTa
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .slice_statistics import otsu
from .slice_volume import SliceVolume

BOX = 4  # planes and px a side
DARKER = 3.5  # agarose scatters so many times less than tissue; its dimmest parts do not
FIRST = 3  # boxes below the surface by whose mean it is told from tissue
EVEN = 1.25  # times as bright as the rest of it: no agarose any more
AWAY = (2, 1, 0)  # boxes from tissue at which it begins, if there is enough
FEWEST = 16  # boxes


def overview(volume: SliceVolume) -> tuple[np.ndarray, np.ndarray]:
    """Means of what was acquired, 0 where nothing was: of boxes (nz / BOX, ny / BOX, nx / BOX), of A-lines (ny, nx)."""
    boxes = np.zeros([-(-n // BOX) for n in volume.shape], np.float32)
    lines = np.zeros(volume.shape[1:], np.float32)
    total, seen = np.zeros(()), np.zeros((), np.int32)  # of a column
    for region, values in volume.parts():
        acquired = values != 0
        boxes[tuple(slice(r.start // BOX, -(-r.stop // BOX)) for r in region)] = _means(values, acquired)
        total = total + values.sum(0, dtype=np.float64)
        seen = seen + np.count_nonzero(acquired, axis=0)
        z, *yx = region
        if z.stop == volume.shape[0]:
            lines[*yx] = total / np.maximum(seen, 1)
            total, seen = np.zeros(()), np.zeros((), np.int32)
    return boxes, lines


def _means(values: np.ndarray, acquired: np.ndarray) -> np.ndarray:
    """Of the boxes of a part of a slice, whose last ones may be smaller."""
    total = _summed(values)
    return total / (BOX**3 if acquired.all() and total.size * BOX**3 == values.size else np.maximum(_summed(acquired), 1))


def _summed(values: np.ndarray) -> np.ndarray:
    out = values.astype(np.float32, copy=False)
    for axis, n in enumerate(values.shape):
        out = np.add.reduceat(out, np.arange(0, n, BOX), axis)
    return out


@dataclass(frozen=True)
class Agarose:
    """Of a slice (nz, ny, nx)."""

    begins: np.ndarray  # (ny, nx) bool: columns that are no tissue near the surface
    down: np.ndarray  # (ny, nx) int32: planes, from plane 0 on, in which a column is agarose for sure

    @property
    def share(self) -> float:
        return float(self.begins.mean())


def agarose(boxes: np.ndarray, shape: tuple[int, int, int]) -> Agarose:
    """Agarose of a slice of that shape, by the boxes that `overview` gives."""
    import cv2

    down = np.zeros(boxes.shape[1:], np.int32)
    first, begins = _beginning(boxes)
    if begins.sum() < FEWEST:
        begins = np.zeros_like(begins)
    else:
        far = cv2.distanceTransform(np.pad(begins, 1, mode="edge").astype(np.uint8), cv2.DIST_L1, 3)[1:-1, 1:-1]
        left = next(m for m in (far > px for px in AWAY) if m.sum() >= FEWEST)
        down[left] = first
        for z in range(first, len(boxes)):
            left = left & (boxes[z] <= EVEN * np.median(boxes[z][left]))
            down[left] = z + 1
    return Agarose(_columns(begins, shape), _columns(np.minimum(down * BOX, shape[0]), shape))


def dimmest(boxes: np.ndarray, shape: tuple[int, int, int]) -> Agarose:
    """The dimmest third of the tissue near the surface, for want of agarose."""
    seen = boxes.all(0)
    if not seen.any():
        return Agarose(*(np.zeros(shape[1:], kind) for kind in (bool, np.int32)))
    first = _below_surface(boxes[:, seen])
    level = boxes[first : first + FIRST].mean(0)
    dim = _columns(seen & (level <= np.quantile(level[seen], 1 / 3)), shape)
    return Agarose(dim, np.where(dim, np.int32(shape[0]), np.int32(0)))


def _below_surface(columns: np.ndarray) -> int:
    """The first boxes below the surface, of columns (nz, n) of boxes."""
    bright = np.percentile(columns, 90, axis=1)
    return min(int(np.argmax(bright > bright.max() / 2)) + 1, len(columns) - 1)


def _columns(of: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    return np.repeat(np.repeat(of, BOX, 0), BOX, 1)[: shape[1], : shape[2]]


def _beginning(boxes: np.ndarray) -> tuple[int, np.ndarray]:
    """The first boxes that lie below the surface, and which columns are agarose there.

    Otsu's threshold on the logarithm; where both its classes are tissue, bright and dim (there is little agarose), on the
    darker class again, and so on. None may be left."""
    seen = boxes.all(0)
    none = np.zeros_like(seen)
    if not seen.any():
        return 0, none
    first = _below_surface(boxes[:, seen])
    level = np.log(np.where(seen, boxes[first : first + FIRST].mean(0), 1))
    left = level[seen]
    while len(left) > 1 and np.ptp(left) > 0:
        most = otsu(left)
        dark = left[left <= most]
        usual = np.median(dark)
        if np.median(level[seen & (level > most)]) - usual >= np.log(DARKER):
            return first, seen & (level <= min(most, usual + np.log(EVEN)))
        left = dark
    return first, none
