"""LOG-STD: its sums, its threshold, its shapes and its outlines, against made frames of known truth."""

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.inference import logstd
from voxelmill.testing.timelapse import make_movie
from voxelmill.testing.timelapse_score import segmentation


@pytest.fixture(scope="module")
def movie():
    return make_movie("sparse", frames=2, size=320, channels=0, seed=42)


def brute_variance(frame, window):
    half = window // 2
    padded = np.pad(frame.astype(np.float64), half, mode="symmetric")
    views = np.lib.stride_tricks.sliding_window_view(padded, (window, window))
    return views.var(axis=(2, 3))


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_variance_is_that_of_the_window(window, dtype):
    frame = np.random.default_rng(0).integers(0, 255, (70, 33)).astype(dtype)
    np.testing.assert_allclose(logstd.local_variance(frame, window), brute_variance(frame, window), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_noise_of_one_count_is_measured_on_a_mean_of_50000(dtype):
    slope = np.linspace(0, 4000, 130)  # so that no one shift is good for the whole frame
    frame = np.rint(np.random.default_rng(1).normal(50_000 + slope, 1, (130, 130))).astype(dtype)
    np.testing.assert_allclose(logstd.local_variance(frame), brute_variance(frame, 3), rtol=1e-3, atol=1e-3)


def test_what_rounding_leaves_of_a_constant_area_is_no_variation():
    frame = np.full((40, 40), 0.1, np.float32)
    frame[:20] = np.random.default_rng(6).normal(0, 1e3, (20, 40))  # leaves its rounding in running sums
    assert not logstd.local_variance(frame, 7)[24:].any()


def test_threshold_is_mode_plus_three_sigma_of_the_background():
    rng = np.random.default_rng(2)
    background = np.exp(2 * rng.normal(1.0, 0.1, 50_000))
    cells = np.exp(2 * rng.normal(3.0, 0.3, 5_000))
    variance = np.concatenate([background, cells]).astype(np.float32).reshape(100, -1)
    assert logstd.texture_threshold(variance) == pytest.approx(1.3, abs=0.06)


def test_threshold_in_the_valley_lies_between_the_modes():
    rng = np.random.default_rng(3)
    background = np.exp(2 * rng.normal(1.0, 0.1, 50_000))
    cells = np.exp(2 * rng.normal(2.0, 0.1, 20_000))
    variance = np.concatenate([background, cells]).astype(np.float32).reshape(100, -1)
    assert 1.3 < logstd.texture_threshold(variance, "valley") < 1.7


def test_windows_without_variation_do_not_move_the_threshold():
    rng = np.random.default_rng(4)
    variance = np.exp(2 * rng.normal(1.0, 0.1, (100, 200))).astype(np.float32)
    saturated = np.vstack([variance, np.zeros((300, 200), np.float32)])
    assert logstd.texture_threshold(saturated) == pytest.approx(logstd.texture_threshold(variance))


def test_morphology_is_as_wide_as_it_says():
    mask = np.zeros((60, 60), np.uint8)
    mask[5:11, 5:55] = 1  # 6 px wide: less than the disk
    mask[30:40, 30:40] = 1
    opened = logstd._reshape(mask, True, 7, 3)
    assert not opened[:20].any()
    assert opened[30:40, 30:40].sum() > 70  # the seed's disk(7), three times, leaves nothing under 43 px
    for gap, closed in ((6, True), (8, False)):
        mask[:] = 0
        mask[10:50, 10:20] = mask[10:50, 20 + gap : 40] = 1
        assert logstd._reshape(mask, False, 7, 3)[30, 20 : 20 + gap].all() == closed


def test_cells_are_found_with_true_outlines(movie):
    score = segmentation(movie.labels, [logstd.segment(f) for f in movie.phase])
    assert score["f1_50"] >= 0.95
    assert score["mean_iou"] >= 0.85
    assert 0.9 <= score["area_ratio"] <= 1.1


def test_without_the_halo_correction_areas_are_too_large(movie):
    score = segmentation(movie.labels, [logstd.segment(f, halo_width=0) for f in movie.phase])
    assert score["area_ratio"] > 1.4


def rough_disks(*centres, radius=16, size=128):
    """Smooth background and rough disks, without any halo."""
    yy, xx = np.mgrid[:size, :size]
    rng = np.random.default_rng(5)
    inside = np.any([np.hypot(yy - y, xx - x) < radius for y, x in centres], axis=0)
    return np.rint(1000 + rng.normal(0, 2, (size, size)) + inside * rng.normal(0, 80, (size, size)))


def test_touching_cells_are_split():
    frame = rough_disks((64, 46), (64, 75)).astype(np.uint16)
    assert logstd.segment(frame).max() == 2
    assert logstd.segment(frame, split=False).max() == 1


def test_one_round_cell_is_not_split():
    assert logstd.segment(rough_disks((64, 64), radius=30).astype(np.uint16)).max() == 1


def test_a_flat_middle_is_filled():
    frame = rough_disks((64, 64), radius=24)
    yy, xx = np.mgrid[:128, :128]
    frame[np.hypot(yy - 64, xx - 64) < 10] = 1000
    assert logstd.segment(frame.astype(np.uint16))[64, 64] == 1


def test_sizes_are_kept_inclusively():
    frame = rough_disks((40, 40), (90, 90)).astype(np.uint16)
    areas = sorted(np.bincount(logstd.segment(frame).ravel())[1:].tolist())
    assert len(areas) == 2
    assert logstd.segment(frame, min_object_size=areas[1]).max() == 1
    assert logstd.segment(frame, min_object_size=areas[1] + 1).max() == 0
    assert logstd.segment(frame, max_object_size=areas[0]).max() == 1


@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (16, 300), (3, 3), (1, 1), (1, 50)])
@pytest.mark.parametrize("value", [0, 7, 65535])
def test_blank_constant_and_saturated_frames_hold_no_cells(shape, value):
    labels = logstd.segment(np.full(shape, value, np.uint16))
    assert (labels.shape, labels.dtype, labels.any()) == (shape, np.int32, False)


def test_a_frame_saturated_in_part_keeps_its_cells():
    frame = rough_disks((64, 64)).astype(np.uint16)
    frame[:, 110:] = 65535
    assert logstd.segment(frame)[64, 64] > 0


def test_the_dtype_does_not_change_the_labels():
    frame = rough_disks((64, 64)).astype(np.uint16)
    expected = logstd.segment(frame)
    for dtype in (np.int32, np.int64, np.float32, np.float64, np.uint32):
        assert np.array_equal(logstd.segment(frame.astype(dtype)), expected)


def test_the_same_frame_gives_the_same_labels_and_stays_as_it_is(movie):
    frame = movie.phase[0].copy()
    assert np.array_equal(logstd.segment(frame), logstd.segment(frame))
    assert np.array_equal(frame, movie.phase[0])


def test_labels_are_numbered_without_gaps(movie):
    labels = logstd.segment(movie.phase[0])
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


def test_one_threshold_for_a_movie_leaves_out_frames_that_do_not_vary(movie):
    blank = np.zeros((64, 64), np.uint16)
    each = [logstd.threshold_of_movie([f]) for f in movie.phase]
    assert logstd.threshold_of_movie([*movie.phase, blank]) == pytest.approx(np.median(each))
    assert logstd.threshold_of_movie([blank]) == np.inf
    assert not logstd.segment(movie.phase[0], threshold=np.inf).any()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros((2, 8, 8), np.uint16), r"\(2, 8, 8\)"),
        (np.zeros((0, 8), np.uint16), r"\(0, 8\)"),
        (np.zeros((8, 8), complex), "complex"),
        (np.full((8, 8), np.nan, np.float32), "64 of 64"),
    ],
)
def test_what_is_no_frame_is_refused(frame, says):
    with pytest.raises(DataError, match=says):
        logstd.segment(frame)


@pytest.mark.parametrize(
    "wrong",
    [
        {"logstd_window_size": 4},
        {"logstd_window_size": 1},
        {"morph_size": 0},
        {"morph_iterations": 0},
        {"min_object_size": -1},
        {"min_object_size": 60, "max_object_size": 50},
        {"threshold": "otsu"},
    ],
)
def test_parameters_out_of_bounds_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong)) if "min_object_size" not in wrong else "max"):
        logstd.segment(np.zeros((64, 64), np.uint16), **wrong)
