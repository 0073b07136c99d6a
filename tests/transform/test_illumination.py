"""One field for all tiles: found from overlaps, from many tiles, and from a few bright objects in the dark."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError
from voxelmill.testing.mosaics import mosaic
from voxelmill.transform.illumination import CELLS, R4_DEVIATION, R4_MEAN, _basis, centres, correct, estimate, reduced


def unevenness(flat: np.ndarray, truth: np.ndarray) -> float:
    """Relative standard deviation of what is left over a tile after the correction."""
    left = truth / flat
    return float(left.std() / left.mean())


@pytest.mark.parametrize("vignetting", [0.0, 0.3, 0.5])
def test_overlaps_give_the_field(vignetting):
    made = mosaic(4, 4, vignetting=vignetting)
    cells = np.stack([reduced(t) for t in made.tiles])
    found = estimate(cells, made.truth * CELLS / 128)
    assert unevenness(found.flat((128, 128)), made.flat) < 0.01
    assert abs(found.flat((128, 128)).mean() - 1) < 1e-6


def test_a_specimen_that_ends_inside_the_mosaic_is_not_taken_for_the_field():
    """Bright in the middle of the mosaic, dark around: tiles at its rim are lit from one side by the scene."""
    made = mosaic(3, 3)
    y, x = (
        made.truth[:, k, None, None] + np.arange(128)[(slice(None), None) if k == 0 else (None, slice(None))] for k in (0, 1)
    )
    inside = np.hypot(y - 166, x - 166) < 140
    tiles = np.where(inside, made.tiles, 0.1 * made.tiles)
    cells = np.stack([reduced(t) for t in tiles])
    assert unevenness(estimate(cells, made.truth * CELLS / 128).flat((128, 128)), made.flat) < 0.015


def test_few_objects_in_a_dark_field_without_overlap():
    rng = np.random.default_rng(0)
    flat = mosaic(1, 1, vignetting=0.4).flat
    dark_field = np.full((40, 128, 128), 80.0)
    for tile in dark_field:
        for y, x in rng.integers(0, 108, (4, 2)):
            tile[y : y + 20, x : x + 20] = 800
    cells = np.stack([reduced(rng.poisson(t * flat) + 100.0) for t in dark_field])
    assert unevenness(estimate(cells, dark=100.0).flat((128, 128)), flat) < 0.01


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 1000.0))
def test_the_field_does_not_depend_on_the_gain(gain):
    made = mosaic(2, 3)
    cells = np.stack([reduced(t) for t in made.tiles]).astype(float)
    one, other = (estimate(c, made.truth * CELLS / 128).flat((64, 64)) for c in (cells, gain * cells))
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_the_basis_has_mean_0_and_variance_1():
    values = _basis(*np.meshgrid(centres(400), centres(400), indexing="ij"))
    np.testing.assert_allclose(values.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(values.std((0, 1)), 1, atol=1e-3)
    assert 0 < R4_MEAN < R4_DEVIATION < 1


def test_a_tile_is_corrected_but_what_was_not_acquired():
    flat = np.array([[0.5, 2.0]], np.float32)
    np.testing.assert_array_equal(correct(np.array([[60, 210]]), flat, 10), [[110, 110]])
    np.testing.assert_array_equal(correct(np.array([[0, 210]]), flat, 10), [[0, 110]])


@pytest.mark.parametrize("tiles", [np.zeros((2, 8, 8)), np.full((2, 8, 8), np.nan)])
def test_tiles_without_a_signal_are_refused(tiles):
    with pytest.raises(DataError, match="expected a signal above 0"):
        estimate(tiles)
