"""Cell crops: one window per cell for its whole track, raw counts, in flat memory.

    1. `track_boxes` reads the tracked labels once: bounding boxes and frames of every cell;
    2. `windows` gives each cell one window that holds all its boxes, so that its crop is one array (t, y, x);
    3. `iter_crops` reads the movie a block of frames at a time and gives every cell's crop of that block. A
    store that is
       chunked by the block writes each chunk once, and no more than one block of frames is in memory;
    4. `ViewScale` and `to_view` make the normalised uint8 view; counts are never overwritten by it.

The seed normalises crops to 0-1, which loses the counts that the extraction needs, and gives a window per
frame: here counts, mask and background are kept, and the window is the union of the boxes, with its offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError


@dataclass(frozen=True, slots=True)
class TrackBoxes:
    """Where every cell is, in each frame.

    cell_ids: (N,) int32 (uint32 where an id needs it), ascending.
    bboxes: (N, T, 4) int32, [y0, x0, y1, x1], half-open; zeros where the cell is not there.
    valid_frames: (N, T) bool.
    shape: (height, width) of the frames.
    """

    cell_ids: NDArray[np.integer]
    bboxes: NDArray[np.int32]
    valid_frames: NDArray[np.bool_]
    shape: tuple[int, int]

    def windows(self, padding: int = 0) -> NDArray[np.int32]:
        """(N, 4) int32 [y0, x0, y1, x1]: the union of each cell's boxes, widened by `padding` px within the
        frame.

        Raises:
            ParameterError: negative padding.
        """
        if padding < 0:
            raise ParameterError(f"padding is {padding}, expected 0 or more pixels")
        far = np.int32(max(self.shape) + 1)
        low = np.where(self.valid_frames[..., None], self.bboxes[..., :2], far).min(1, initial=far)
        high = self.bboxes[..., 2:].max(1, initial=0)
        low, high = np.maximum(low - padding, 0), np.minimum(high + padding, self.shape)
        return np.concatenate([low, high], axis=1, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Crop:
    """One cell in one block of frames.

    index: position of the cell in `TrackBoxes.cell_ids`.
    cell: its id.
    frames: slice of the movie's frames.
    mask: bool (t, y, x), the cell.
    images: per channel (t, y, x), as read: raw counts, or a background in counts.
    """

    index: int
    cell: int
    frames: slice
    mask: NDArray[np.bool_]
    images: dict[str, NDArray]


def track_boxes(frames: Iterable[NDArray], shape: tuple[int, int]) -> TrackBoxes:
    """Bounding boxes of all cells of a movie, read once, frame by frame.

    Args:
        frames: tracked labels (y, x) of each frame in turn, integers, 0 = background.
        shape: (height, width).

    Raises:
        DataError: a frame has another shape, or an id does not fit into uint32.
    """
    from .features import CellPixels

    found: list[tuple[NDArray, NDArray]] = []
    for t, labels in enumerate(frames):
        if labels.shape != tuple(shape):
            raise DataError(f"tracked labels: frame {t} is {labels.shape}, expected {tuple(shape)} as in the others")
        cells = CellPixels(labels)
        found.append((cells.ids, cells.bbox))
    ids = np.unique(np.concatenate([i for i, _ in found])) if found else np.zeros(0, np.int64)
    if ids.size and ids[-1] > np.iinfo(np.uint32).max:
        raise DataError(f"tracked labels: id {ids[-1]} does not fit into uint32; renumber the tracks from 1")
    kind = np.uint32 if ids.size and ids[-1] > np.iinfo(np.int32).max else np.int32
    bboxes, valid = np.zeros((len(ids), len(found), 4), np.int32), np.zeros((len(ids), len(found)), bool)
    for t, (present, box) in enumerate(found):
        rows = np.searchsorted(ids, present)
        bboxes[rows, t], valid[rows, t] = box, True
    return TrackBoxes(ids.astype(kind), bboxes, valid, (int(shape[0]), int(shape[1])))


def iter_crops(
    boxes: TrackBoxes,
    windows: NDArray,
    labels: Callable[[int], NDArray],
    images: dict[str, Callable[[int], NDArray]],
    block: int = 16,
    cells: Sequence[int] | None = None,
) -> Iterator[Crop]:
    """Crops of all cells, a block of frames at a time; within a block by cell.

    A cell comes in every block between its first and its last frame, gaps included, and in no other. Crops of
    a block
    are views of the frames in memory: copy what is to outlive the loop's step.

    Args:
        boxes: from `track_boxes`.
        windows: (N, 4) from `TrackBoxes.windows`.
        labels: `labels(t)` gives the tracked labels (y, x) of frame t.
        images: per channel name, `read(t)` gives the frame (y, x).
        block: frames in memory at a time; the store's chunk along t.
        cells: positions in `boxes.cell_ids`; None = all.

    Raises:
        ParameterError: block below 1.
        DataError: a frame's shape is not that of the labels.
    """
    if block < 1:
        raise ParameterError(f"block is {block}, expected 1 or more frames")
    n_frames = boxes.valid_frames.shape[1]
    chosen = np.arange(len(boxes.cell_ids)) if cells is None else np.asarray(cells, np.intp)
    first = boxes.valid_frames.argmax(1)
    last = n_frames - 1 - boxes.valid_frames[:, ::-1].argmax(1)
    for start in range(0, n_frames, block):
        stop = min(start + block, n_frames)
        here = [k for k in chosen if first[k] < stop and last[k] >= start]
        if not here:
            continue
        tracked = _stack(labels, start, stop, boxes.shape, "tracked labels")
        stacks = {name: _stack(read, start, stop, boxes.shape, name) for name, read in images.items()}
        for k in here:
            y0, x0, y1, x1 = windows[k]
            inside, cell = np.s_[:, y0:y1, x0:x1], boxes.cell_ids[k]
            yield Crop(
                int(k),
                int(cell),
                slice(start, stop),
                tracked[inside] == cell,
                {name: stack[inside] for name, stack in stacks.items()},
            )


def frames_per_block(shape: tuple[int, int], bytes_per_pixel: int, budget: int = 64 << 20) -> int:
    """Frames, 1-32, whose images fit into `budget` bytes; the same for every run of a movie.

    Args:
        shape: (height, width).
        bytes_per_pixel: of all images and the labels together, e.g. 2 + 2 + 2 + 4 for two channels of counts,
            labels and a background.
    """
    return int(np.clip(budget // max(shape[0] * shape[1] * bytes_per_pixel, 1), 1, 32))


def _stack(read: Callable[[int], NDArray], start: int, stop: int, shape: tuple[int, int], what: str) -> NDArray:
    """Frames start to stop as (t, y, x)."""
    frame = read(start)
    stack = np.empty((stop - start, *shape), frame.dtype)
    for t in range(start, stop):
        frame = frame if t == start else read(t)
        if frame.shape != shape:
            raise DataError(f"{what}: frame {t} is {frame.shape}, expected {shape} as in the others")
        stack[t - start] = frame
    return stack


class ViewScale:
    """Limits of the normalised view of one channel: percentiles over all frames, from a histogram of counts.

    One scale serves all cells of a field of view, so that views can be compared. Feed it every frame, then
    read `limits`.
    """

    def __init__(self) -> None:
        self._histogram = np.zeros(65536, np.int64)

    def add(self, frame: NDArray) -> None:
        """Count a frame (y, x); floats are rounded, what is outside 0-65535 counts as the nearest end."""
        if frame.dtype != np.uint16:
            frame = np.clip(np.rint(frame), 0, 65535).astype(np.uint16)
        self._histogram += np.bincount(frame.ravel(), minlength=65536)

    def limits(self, low: float = 1.0, high: float = 99.0) -> tuple[float, float]:
        """Counts shown as 0 and as 255: percentiles, or least and greatest count where those are equal."""
        total = np.cumsum(self._histogram)
        if not total[-1]:
            return 0.0, 1.0
        a, b = (float(np.searchsorted(total, p / 100 * total[-1], side="left")) for p in (low, high))
        if a >= b:
            used = np.flatnonzero(self._histogram)
            a, b = float(used[0]), float(used[-1])
        return a, b


def to_view(counts: NDArray, limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Normalised view of any shape: limits[0] -> 0, limits[1] -> 255, clipped; 0 where both are equal."""
    low, high = limits
    if high <= low:
        return np.zeros(counts.shape, np.uint8)
    scaled = (counts.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)


def half_resolution(stack: NDArray) -> NDArray:
    """(t, y, x) -> (t, y // 2, x // 2) by the mean of 2 x 2 pixels, rounded; an axis of 1 px is kept."""
    t, height, width = stack.shape
    fy, fx = (2 if n > 1 else 1 for n in (height, width))
    even = stack[:, : height // fy * fy, : width // fx * fx]
    whole = stack.dtype.kind in "ui"
    # four strided sums: a mean over the axes of a 5-D view costs ten times as much
    total = np.zeros((t, height // fy, width // fx), np.uint32 if whole else np.float32)
    for y in range(fy):
        for x in range(fx):
            total += even[:, y::fy, x::fx]
    n = fy * fx
    return ((total + n // 2) // n if whole else total / n).astype(stack.dtype)
