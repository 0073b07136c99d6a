"""The background against surfaces that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.testing.timelapse import make_movie
from voxelmill.transform.background import BackgroundOptions, estimate_frame, estimate_movie, fill_gaps, fit_frame


def vignette(height: int, width: int, level: float = 350.0, depth: float = 100.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    return level - depth * (1.4 * (x**2 + y**2) - 0.25 * x)


def noisy(surface: np.ndarray, sigma: float = 13.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, surface.shape)
    return np.clip(np.rint(surface + noise), 0, 65535).astype(np.uint16)


def cells(height: int, width: int, n: int, radius: int = 12, seed: int = 1) -> np.ndarray:
    labels = np.zeros((height, width), np.uint16)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    for i in range(1, n + 1):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = i
    return labels


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - truth) ** 2)))


@pytest.mark.parametrize("preset", ["sparse", "dense"])
def test_made_movies(preset):
    movie = make_movie(preset, frames=3, size=512, seed=3)
    surface, report = estimate_movie(lambda t: (movie.fluorescence[0, t], movie.labels[t]), 3, (512, 512))
    found = np.stack([surface(t) for t in range(3)])
    assert rmse(found, movie.background[0]) < 1.0  # the method this replaces has 10-12
    assert report["frames_borrowed"] == report["frames_guessed"] == []


def test_no_clamp_outside_the_outer_tile_centres():
    y, x = np.mgrid[:300, :400].astype(float)
    plane = 200 + 0.5 * x + 0.25 * y
    found = estimate_frame(plane, np.zeros(plane.shape, int))
    assert found.dtype == np.float32
    assert np.abs(found - plane).max() < 0.3  # a clamp would be wrong by 10 in the corners


@pytest.mark.parametrize("shape", [(64, 64), (100, 60), (512, 512), (513, 256), (30, 900), (700, 40), (2, 3), (1, 1)])
def test_any_size(shape):
    truth = vignette(*shape)
    found = estimate_frame(noisy(truth, 0), np.zeros(shape, np.uint16))
    assert found.shape == shape
    assert np.isfinite(found).all()
    if min(shape) > 20:
        assert rmse(found, truth) < 0.8


def test_bright_cells_do_not_leak_in():
    truth, labels = vignette(400, 400), cells(400, 400, 30)
    image = noisy(truth) + (labels > 0) * np.uint16(5000)
    assert rmse(estimate_frame(image, labels), truth) < 1.5


def test_glow_within_the_dilation_radius_is_left_out():
    import cv2

    truth, labels = vignette(400, 400), cells(400, 400, 30)
    glow = cv2.GaussianBlur((labels > 0) * 5000.0, (0, 0), 3)
    image = noisy(truth + glow)
    assert rmse(estimate_frame(image, labels), truth) < 1.5
    assert rmse(estimate_frame(image, labels, BackgroundOptions(dilation_radius=0)), truth) > 3


def test_cells_without_a_label_are_outvoted():
    truth = vignette(512, 512)
    unseen = cells(512, 512, 12, radius=14, seed=5)
    image = noisy(truth) + (unseen > 0) * np.uint16(800)
    assert rmse(estimate_frame(image, np.zeros((512, 512), int)), truth) < 3


def test_a_region_without_background_is_bridged():
    truth = vignette(512, 512)
    labels = np.zeros((512, 512), np.uint16)
    labels[150:350, 150:350] = 1
    image = noisy(truth) + labels * np.uint16(3000)
    found = estimate_frame(image, labels)
    assert np.abs(found - truth)[150:350, 150:350].max() < 3
    assert rmse(found, truth) < 1


def test_one_tile_of_background_gives_its_level():
    labels = np.ones((300, 300), np.uint16)
    labels[100:160, 100:160] = 0
    found = estimate_frame(np.full((300, 300), 240, np.uint16), labels)
    assert np.allclose(found, 240, atol=0.01)


def test_frames_without_background_borrow_from_their_neighbours_in_time():
    levels = [100, 0, 0, 400, 0]

    def read(t):
        covered = t in (1, 2, 4)
        return np.full((128, 128), 5000 if covered else levels[t], np.uint16), np.full((128, 128), covered)

    surface, report = estimate_movie(read, 5, (128, 128))
    assert [round(float(surface(t).mean())) for t in range(5)] == [100, 200, 300, 400, 400]
    assert report["frames_borrowed"] == [1, 2, 4]
    assert report["frames_guessed"] == []


def test_a_movie_without_any_background_is_guessed_and_says_so():
    image = np.full((128, 128), 900, np.uint16)
    image[:40] = 300
    surface, report = estimate_movie(lambda t: (image, np.ones((128, 128), int)), 2, (128, 128))
    assert np.allclose(surface(1), 300)
    assert report["frames_guessed"] == [0, 1]
    assert fill_gaps([])[0] == []


def test_blank_and_saturated_frames_are_not_nan():
    for value in (0, 65535):
        found = estimate_frame(np.full((96, 96), value, np.uint16), cells(96, 96, 3))
        assert np.allclose(found, value, rtol=1e-4)


def test_labels_beyond_16_bit_are_foreground():
    labels = np.zeros((128, 128), np.uint32)
    labels[30:90, 30:90] = 65536  # 0 when cast to uint16
    image = np.full((128, 128), 200, np.uint16) + (labels > 0) * np.uint16(4000)
    assert np.abs(estimate_frame(image, labels) - 200).max() < 1


def test_memory_is_flat_in_time():
    import tracemalloc

    image, labels = noisy(vignette(256, 256)), cells(256, 256, 5)
    peaks = []
    for n in (3, 40):
        tracemalloc.start()
        estimate_movie(lambda t: (image, labels), n, (256, 256))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_the_same_input_gives_the_same_bytes():
    image, labels = noisy(vignette(200, 300)), cells(200, 300, 9)
    assert estimate_frame(image, labels).tobytes() == estimate_frame(image.copy(), labels.copy()).tobytes()


def test_refusals():
    flat, none = np.zeros((32, 32), np.uint16), np.zeros((32, 32), int)
    with pytest.raises(DataError, match="two equal"):
        fit_frame(flat, none[:16])
    with pytest.raises(DataError, match="two equal"):
        fit_frame(flat[:0], none[:0])
    with pytest.raises(DataError, match="NaN"):
        fit_frame(np.full((32, 32), np.nan), none)
    with pytest.raises(DataError, match="frame 1"):
        estimate_movie(lambda t: (flat[: 32 - t], none[: 32 - t]), 2, (32, 32))
    for wrong in ({"tile_size": 4}, {"dilation_radius": -1}, {"min_background": 1.5}, {"knot_spacing": 0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            BackgroundOptions(**wrong)
