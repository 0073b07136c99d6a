"""Agarose around tissue: it scatters little and alike everywhere, and shows what optics and depth do to light.

plane 0  ~~~~ water ~~~~~~~~~        A column of boxes is agarose from the top down to where tissue begins in it: its
         aaaaaaTTTTTTTTTTaa          outline moves with depth. Near the surface agarose is told by its darkness; from
         aaaaaTTTTTTTTTTTTa          there on by being as bright as the rest of it.
         aaaaTTTTTTTTTTTTTa
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .slice_statistics import otsu, places, summed
from .slice_volume import SliceVolume

BOX = 4  # planes and px a side, of slices that have room for it
MOST_BOXES = 2**22  # of a slice: where there would be more, a box is twice as wide, and so on
MOST_PX = 2048  # a side of the picture: where there would be more, means of 2 x 2 px and so on
DARKER = 3.5  # agarose scatters so many times less than tissue; its dimmest parts do not
FIRST = 3  # boxes below the surface by whose mean it is told from tissue
GLARE = 30.0  # times as bright as what is darker: too bright for tissue, and what is darker may be tissue itself
FEW = 0.05  # of the columns: so few that are brighter may be glare, too
LIKE = 0.12  # agarose is so much alike: median deviation of the logarithm of its boxes
EVEN = 1.25  # times as bright as the rest of it: no agarose any more
AWAY = (2, 1, 0)  # boxes from tissue at which it begins: the most of these by which it is followed deepest
STEEPEST = 1.3  # times as bright as the box above: focus does not do that, tissue does
FEWEST = 16  # boxes; of fewer it is not known whether tissue is among them


def box_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Planes and px a side: memory does not grow with the slice."""
    side = BOX
    while np.prod([-(-n // s) for n, s in zip(shape, (BOX, side, side), strict=True)]) > MOST_BOXES:
        side *= 2
    return BOX, side, side


def overview(volume: SliceVolume) -> tuple[np.ndarray, np.ndarray]:
    """Means of what was acquired, 0 where nothing was: of boxes (see `box_of`), and a picture of A-lines (ny, nx), of
    MOST_PX a side at most."""
    box = box_of(volume.shape)
    boxes = np.zeros([-(-n // s) for n, s in zip(volume.shape, box, strict=True)], np.float32)
    f = 2 ** max(0, int(np.ceil(np.log2(max(volume.shape[1:]) / MOST_PX))))
    picture = np.zeros([-(-n // f) for n in volume.shape[1:]], np.float32)
    total, seen = np.zeros(()), np.zeros((), np.int32)  # of a column
    for region, values in volume.parts():
        acquired = values != 0
        boxes[places(region, box)] = _means(values, acquired, box)
        total = total + values.sum(0, dtype=np.float64)
        seen = seen + np.count_nonzero(acquired, axis=0)
        z, *yx = region
        if z.stop == volume.shape[0]:
            lines = total / np.maximum(seen, 1)
            picture[places(yx, (f, f))] = lines if f == 1 else _means(lines, seen > 0, (f, f))
            total, seen = np.zeros(()), np.zeros((), np.int32)
    return boxes, picture


def _means(values: np.ndarray, acquired: np.ndarray, box: Sequence[int]) -> np.ndarray:
    """Of the boxes of a part of a slice, whose last ones may be smaller."""
    total, whole = summed(values, box), int(np.prod(box))
    return total / (whole if acquired.all() and total.size * whole == values.size else np.maximum(summed(acquired, box), 1))


@dataclass(frozen=True)
class Columns:
    """A value a column, by boxes (gy, gx) of `side` px: `[y, x]` of a region gives those of its columns."""

    of: np.ndarray
    side: int

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        rows, columns = (np.arange(r.start, r.stop) // self.side for r in region)
        return self.of[rows[:, None], columns]

    def mapped(self, f: Callable[[np.ndarray], np.ndarray]) -> Columns:
        return Columns(f(self.of), self.side)


@dataclass(frozen=True)
class Agarose:
    """Of a slice (nz, ny, nx)."""

    begins: Columns  # bool: columns that are no tissue near the surface
    down: Columns  # int32: planes, from plane 0 on, in which a column is agarose for sure
    shape: tuple[int, int, int]

    @property
    def planes(self) -> int:
        """Down to which some columns are agarose."""
        return int(self.down.of.max(initial=0))

    @property
    def share(self) -> float:
        """Of all columns."""
        edges = (np.minimum(np.arange(n + 1) * self.begins.side, px) for n, px in zip(self.begins.of.shape, self.shape[1:]))
        high, wide = map(np.diff, edges)
        return float(high @ self.begins.of @ wide) / (self.shape[1] * self.shape[2])


def agarose(boxes: np.ndarray, shape: tuple[int, int, int]) -> Agarose:
    """Agarose of a slice of that shape, by the boxes that `overview` gives."""
    import cv2

    first, begins = _beginning(boxes)
    if begins.sum() < FEWEST:
        begins, down = np.zeros_like(begins), np.zeros(begins.shape, np.int32)
    else:
        far = cv2.distanceTransform(np.pad(begins, 1, mode="edge").astype(np.uint8), cv2.DIST_L1, 3)[1:-1, 1:-1]
        enough = (m for m in (far > px for px in AWAY) if m.sum() >= FEWEST)
        down = max((_followed(boxes, first, left) for left in enough), key=np.max)
    return _agarose(begins, np.minimum(down * BOX, shape[0]), shape)


def _followed(boxes: np.ndarray, first: int, left: np.ndarray) -> np.ndarray:
    """(gy, gx) boxes down to which columns `left` are agarose, from box `first` on; as far as enough of them are."""
    down = np.zeros(left.shape, np.int32)
    level = np.median(boxes[first][left])
    for z in range(first, len(boxes)):
        level = min(np.median(boxes[z][left]), STEEPEST * level)
        left = left & (boxes[z] <= EVEN * level)
        if left.sum() < FEWEST:
            break
        down[left] = z + 1
    return down


def _below_surface(columns: np.ndarray) -> int:
    """The first boxes below the surface, of columns (nz, n) of boxes."""
    most = columns.max(0)
    bright = np.percentile(columns[:, most <= GLARE * np.median(most)], 90, axis=1)
    return min(int(np.argmax(bright > bright.max() / 2)) + 1, len(columns) - 1)


def _agarose(begins: np.ndarray, down: np.ndarray, shape: tuple[int, int, int]) -> Agarose:
    side = box_of(shape)[-1]
    return Agarose(Columns(begins, side), Columns(down, side), shape)


def _beginning(boxes: np.ndarray) -> tuple[int, np.ndarray]:
    """The first boxes that lie below the surface, and which columns are agarose there.

    Otsu's threshold on the logarithm; where both its classes are tissue, bright and dim (there is little agarose), on the
    darker class again, and so on; so, too, where the brighter may be glare and the darker is not alike. None may be left."""
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
        bright = level[seen & (level > most)]
        darker = np.median(bright) - usual
        doubtful = darker > np.log(GLARE) or len(bright) < FEW * len(level[seen])
        alike = np.median(np.abs(dark - usual)) < LIKE
        if darker >= np.log(DARKER) and (alike or not doubtful):
            return first, seen & (level <= min(most, usual + np.log(EVEN)))
        left = dark
    return first, none
