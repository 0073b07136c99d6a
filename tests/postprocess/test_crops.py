"""Crops: windows, what is in them, blocks; the normalised view."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.postprocess.crops import ViewScale, frames_per_block, half_resolution, iter_crops, to_view, track_boxes

SHAPE = (30, 40)


@pytest.fixture
def labels() -> np.ndarray:
    """Cell 5 walks right and is missing in frame 2; cell 9 is there in frame 3 only; cell 2 in 0-1."""
    stack = np.zeros((7, *SHAPE), np.uint16)
    for t in (0, 1, 3, 4):
        stack[t, 10:14, 5 + 3 * t : 10 + 3 * t] = 5
    stack[3, 0:3, 38:40] = 9
    stack[:2, 20:25, 0:6] = 2
    return stack


def test_boxes_and_windows(labels):
    boxes = track_boxes(labels, SHAPE)
    assert boxes.cell_ids.tolist() == [2, 5, 9]
    assert boxes.cell_ids.dtype == np.int32
    assert boxes.bboxes.shape == (3, 7, 4)
    assert boxes.bboxes.dtype == np.int32
    assert [np.flatnonzero(v).tolist() for v in boxes.valid_frames] == [[0, 1], [0, 1, 3, 4], [3]]
    assert boxes.bboxes[1, 3].tolist() == [10, 14, 14, 19]
    assert boxes.bboxes[1, 2].tolist() == [0, 0, 0, 0]
    assert boxes.windows().tolist() == [[20, 0, 25, 6], [10, 5, 14, 22], [0, 38, 3, 40]]
    assert boxes.windows(2).tolist() == [[18, 0, 27, 8], [8, 3, 16, 24], [0, 36, 5, 40]]  # within the frame


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_crops_hold_the_raw_counts(labels, block):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 65536, labels.shape).astype(np.uint16)
    background = rng.random(labels.shape).astype(np.float32)
    boxes = track_boxes(labels, SHAPE)
    windows = boxes.windows(1)
    seen: dict[int, list[int]] = {}
    reads = []

    def read(t):
        reads.append(t)
        return counts[t]

    images = {"fl": read, "bg": lambda t: background[t]}
    for crop in iter_crops(boxes, windows, lambda t: labels[t], images, block):
        y0, x0, y1, x1 = windows[crop.index]
        inside = np.s_[crop.frames, y0:y1, x0:x1]
        assert np.array_equal(crop.images["fl"], counts[inside])
        assert crop.images["fl"].dtype == np.uint16
        assert np.array_equal(crop.images["bg"], background[inside])
        assert np.array_equal(crop.mask, labels[inside] == crop.cell)
        seen.setdefault(crop.cell, []).extend(range(crop.frames.start, crop.frames.stop))
    assert sorted(set(reads)) == sorted(reads)  # every frame is read once at most
    assert max(seen[2]) < 2 + block
    for cell in (2, 5, 9):
        valid = np.flatnonzero(boxes.valid_frames[boxes.cell_ids.tolist().index(cell)])
        assert set(range(valid[0], valid[-1] + 1)) <= set(seen[cell])  # the gap comes too


def test_some_cells_only(labels):
    boxes = track_boxes(labels, SHAPE)
    found = {c.cell for c in iter_crops(boxes, boxes.windows(), lambda t: labels[t], {}, 4, cells=[0, 2])}
    assert found == {2, 9}


def test_no_more_than_a_block_is_in_memory():
    import tracemalloc

    frame = np.zeros((200, 200), np.uint16)
    frame[90:110, 90:110] = 1
    peaks = []
    for n in (8, 200):
        boxes = track_boxes((frame for _ in range(n)), (200, 200))
        tracemalloc.start()
        for _ in iter_crops(boxes, boxes.windows(), lambda t: frame, {"pc": lambda t: frame}, 4):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5


def test_large_ids_need_uint32_and_no_more():
    frame = np.zeros((4, 4), np.int64)
    frame[0, 0] = 2**31
    assert track_boxes([frame], (4, 4)).cell_ids.dtype == np.uint32
    frame[0, 0] = 2**32
    with pytest.raises(DataError, match="does not fit into uint32"):
        track_boxes([frame], (4, 4))


def test_movies_without_cells_or_frames():
    boxes = track_boxes([np.zeros(SHAPE, np.uint16)] * 3, SHAPE)
    assert (boxes.bboxes.shape, boxes.windows().shape) == ((0, 3, 4), (0, 4))
    assert list(iter_crops(boxes, boxes.windows(), None, {})) == []
    assert track_boxes([], SHAPE).valid_frames.shape == (0, 0)


def test_refusals(labels):
    boxes = track_boxes(labels, SHAPE)
    with pytest.raises(DataError, match=r"frame 1 is \(30, 39\)"):
        track_boxes([labels[0], labels[1, :, 1:]], SHAPE)
    with pytest.raises(DataError, match="pc: frame 0"):
        next(iter_crops(boxes, boxes.windows(), lambda t: labels[t], {"pc": lambda t: labels[t, 1:]}))
    with pytest.raises(ParameterError, match="block"):
        next(iter_crops(boxes, boxes.windows(), lambda t: labels[t], {}, 0))
    with pytest.raises(ParameterError, match="padding"):
        boxes.windows(-1)


def test_block_size_follows_the_budget():
    assert frames_per_block((2048, 2048), 10, 64 << 20) == 1
    assert frames_per_block((512, 512), 8, 64 << 20) == 32
    assert frames_per_block((1024, 1024), 8, 64 << 20) == 8


def test_view_scale_is_the_percentile_of_all_frames():
    frames = np.random.default_rng(0).integers(100, 5000, (5, 50, 60)).astype(np.uint16)
    scale = ViewScale()
    for frame in frames:
        scale.add(frame)
    low, high = scale.limits()
    assert (low, high) == pytest.approx(np.percentile(frames, [1, 99]), abs=1)
    view = to_view(frames, (low, high))
    assert view.dtype == np.uint8
    assert (view.min(), view.max()) == (0, 255)
    assert to_view(np.array([100, 200, 300, 999], np.uint16), (100, 300)).tolist() == [0, 128, 255, 255]


def test_view_of_flat_and_nearly_flat_frames():
    scale = ViewScale()
    assert scale.limits() == (0.0, 1.0)
    scale.add(np.full((9, 9), 7, np.uint16))
    assert not to_view(np.full((9, 9), 7, np.uint16), scale.limits()).any()
    scale.add(np.array([[3.0, 9.4]]))
    assert scale.limits(10, 90) == (3, 9)  # equal percentiles: least and greatest count
    assert scale.limits(0.1, 99.9) == (3, 9)


def test_half_resolution():
    stack = np.array([[[0, 2, 9], [4, 6, 9], [9, 9, 9]]], np.uint16)
    assert half_resolution(stack).tolist() == [[[3]]]
    assert half_resolution(np.ones((2, 1, 8), np.uint8)).shape == (2, 1, 4)
    assert half_resolution(np.ones((2, 6, 8), np.float32)).dtype == np.float32
