"""The default method: its labels against made truth, its guards."""

import subprocess
import sys

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.inference import cells
from voxelmill.testing.timelapse import make_movie
from voxelmill.testing.timelapse_score import segmentation

WIDTH = 26.0  # px, of the made cells


@pytest.fixture(scope="module")
def movie():
    return make_movie("dense", frames=2, size=384, channels=0, seed=43)


def test_dense_cells_are_found_apart_with_true_outlines(movie):
    found = [cells.segment(f, cell_diameter=WIDTH) for f in movie.phase]
    score = segmentation(movie.labels, found)
    assert score["f1_50"] >= 0.97
    assert score["mean_iou"] >= 0.82
    assert 0.85 <= score["area_ratio"] <= 1.15


def test_the_width_is_estimated_well_enough_to_segment(movie):
    width = cells.cell_diameter_of([movie.phase[0]])
    assert WIDTH / 1.5 < width < WIDTH * 1.5
    assert segmentation([movie.labels[0]], [cells.segment(movie.phase[0])])["f1_50"] >= 0.9


def test_the_width_follows_the_magnification(movie):
    small = movie.phase[0].reshape(192, 2, 192, 2).mean((1, 3)).astype(np.uint16)
    ratio = cells.cell_diameter_of([movie.phase[0]]) / cells.cell_diameter_of([small])
    assert 1.5 < ratio < 2.7


@pytest.mark.parametrize("shape", [(64, 64), (65, 63), (9, 200), (1, 1)])
@pytest.mark.parametrize("value", [0, 300, 65535])
def test_blank_constant_and_saturated_frames_hold_no_cells(shape, value):
    for width in (0, WIDTH):
        labels = cells.segment(np.full(shape, value, np.uint16), cell_diameter=width)
        assert (labels.shape, labels.dtype, labels.any()) == (shape, np.int32, False)


def test_a_slope_in_float_is_no_contrast():
    slope = np.tile(np.linspace(50_000, 50_001, 200, dtype=np.float32), (200, 1))
    assert not cells.segment(slope, cell_diameter=WIDTH).any()


def test_noise_holds_no_cells():
    noise = np.random.default_rng(3).normal(1000, 20, (256, 256)).astype(np.uint16)
    assert cells.segment(noise, cell_diameter=WIDTH).max() <= 1


def test_dtype_and_repetition_do_not_change_the_labels(movie):
    frame = movie.phase[0][:200, :200]
    expected = cells.segment(frame, cell_diameter=WIDTH)
    for same in (frame, frame.astype(np.int32), frame.astype(np.float64)):
        found = cells.segment(same, cell_diameter=WIDTH)
        assert np.mean(found != expected) < 1e-3
    assert np.array_equal(cells.segment(frame.copy(), cell_diameter=WIDTH), expected)
    assert np.array_equal(frame, movie.phase[0][:200, :200])


def test_sizes_are_kept_inclusively_and_ids_have_no_gaps(movie):
    frame = movie.phase[0]
    labels = cells.segment(frame, cell_diameter=WIDTH)
    areas = np.bincount(labels.ravel())[1:]
    assert areas.min() >= 50
    middle = int(np.sort(areas)[len(areas) // 2])
    large = cells.segment(frame, cell_diameter=WIDTH, min_object_size=middle)
    small = cells.segment(frame, cell_diameter=WIDTH, max_object_size=middle)
    assert (large.max(), small.max()) == ((areas >= middle).sum(), (areas <= middle).sum())


def test_small_holes_are_filled_and_gaps_stay():
    likely = np.ones((40, 40), np.float32)
    likely[5:7, 5:7] = likely[15:30, 15:30] = -1
    cells._fill_small_holes(likely)
    assert likely[5, 5] > 0 > likely[20, 20]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cell_diameter": -1}, "cell_diameter is -1"),
        ({"cell_diameter": 1000}, "2 to 500 px"),
        ({"min_object_size": 9, "max_object_size": 8}, "min_object_size 9"),
    ],
)
def test_parameters_out_of_bounds_are_refused(wrong, says):
    with pytest.raises(ParameterError, match=says):
        cells.segment(np.zeros((64, 64), np.uint16), **wrong)


def test_what_is_no_frame_is_refused():
    with pytest.raises(DataError, match="two axes"):
        cells.segment(np.zeros((2, 64, 64), np.uint16), cell_diameter=WIDTH)
    with pytest.raises(DataError, match="NaN"):
        cells.segment(np.full((64, 64), np.nan), cell_diameter=WIDTH)
    with pytest.raises(DataError, match="no frames"):
        cells.cell_diameter_of([])


@pytest.mark.parametrize("name", ["cells", "logstd"])
def test_methods_prepare_once_and_then_label_frame_by_frame(movie, name):
    method = cells.method_named(name)
    params = {"min_object_size": 60, "unknown_to_it": 1, "cell_diameter": 0.0}
    shared = method.prepare(movie.phase, params)
    assert set(shared) == {{"cells": "cell_diameter", "logstd": "threshold"}[name]}
    labels = method.segment(movie.phase[1], {**params, **shared})
    assert labels.max() > 5
    assert np.bincount(labels.ravel()).min() >= 60


def test_a_given_width_is_not_estimated(movie):
    assert cells.METHODS["cells"].prepare([], {"cell_diameter": 12.0}) == {"cell_diameter": 12.0}


def test_a_blank_sample_shares_no_threshold():
    assert cells.METHODS["logstd"].prepare([np.zeros((64, 64))], {}) == {}


def test_methods_are_added_by_name_once(monkeypatch):
    monkeypatch.setattr(cells, "METHODS", dict(cells.METHODS))
    mine = cells.Method(lambda frame, params: np.zeros(frame.shape, np.int32))
    cells.register("mine", mine)
    assert cells.method_named("mine") is mine
    assert mine.prepare([], {}) == {}
    with pytest.raises(ParameterError, match="there already"):
        cells.register("mine", mine)
    with pytest.raises(ParameterError, match="expected one of cells, logstd, mine"):
        cells.method_named("yours")


def test_importing_the_methods_is_cheap():
    slow = "cv2 scipy skimage SimpleITK matplotlib"
    code = f"import sys, voxelmill.inference.cells; print([m for m in '{slow}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mirrored_views_are_turned_back(monkeypatch: pytest.MonkeyPatch):
    """Maps of a network that follows its input: their mean is what one view gives; flows point the same way."""
    ramp = np.arange(32 * 48, dtype=np.float32).reshape(32, 48)

    def look(small: np.ndarray):
        dy, dx = np.gradient(small)
        return np.stack([small, small, small, dy, dx]).astype(np.float32), np.zeros((16, 24), np.float32)

    monkeypatch.setattr(cells, "_network", lambda: look)
    np.testing.assert_allclose(cells._maps(ramp, mirrored=True), cells._maps(ramp, mirrored=False), rtol=1e-5)


def test_a_finer_look_sets_the_outlines_of_large_cells(monkeypatch: pytest.MonkeyPatch):
    made = make_movie("pattern", frames=1, size=256, channels=0, seed=31)

    def iou() -> float:
        return segmentation(made.labels, [cells.segment(made.phase[0], cell_diameter=WIDTH)])["mean_iou"]

    finer = iou()
    monkeypatch.setattr(cells, "_FINE", 1.0)
    assert finer > iou() + 0.002
