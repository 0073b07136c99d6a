"""Offsets from narrow overlaps: sign, fractions of a pixel, nothing from nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from voxelmill.testing.mosaics import mosaic, texture
from voxelmill.transform.narrow_overlap import find
from voxelmill.transform.tile_positions import place

SCENE = texture((120, 120), 4)
REACH = np.array([14, 14])


def seen(y: float, x: float, shape: tuple[int, int], noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Two looks at the scene from (y, x) on, the second one inverted."""
    matrix = np.array([[1, 0, x], [0, 1, y]], float)
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    look = cv2.warpAffine(SCENE, matrix, shape[::-1], flags=flags)
    return np.stack([look, 1 - look]) + np.random.default_rng(seed).normal(0, noise, (2, *shape))


@pytest.mark.parametrize("shift", [(0.0, 14.0), (2.25, 12.5), (-3.75, 17.0)])
def test_what_a_shows_at_p_b_shows_at_p_less_the_shift(shift: tuple[float, float]) -> None:
    a, b = seen(20, 20, (60, 30)), seen(20 + shift[0], 20 + shift[1], (60, 30))
    found = find(a, b, np.array([-10, 4]), np.array([10, 24]))
    assert found is not None and found.correlation > 0.9
    np.testing.assert_allclose(found.shift, shift, atol=0.06)


def test_noise_has_no_shift() -> None:
    for seed in range(20):
        a, b = np.random.default_rng(seed).normal(size=(2, 8, 64, 30))
        assert find(a, b, np.array([-14, 0]), np.array([14, 28])) is None


@pytest.mark.parametrize("blank", [0.0, 7.0])
def test_a_blank_strip_has_no_shift(blank: float) -> None:
    assert find(seen(20, 20, (60, 30)), np.full((2, 60, 30), blank), -REACH, REACH) is None


def test_strips_that_cannot_overlap_have_no_shift() -> None:
    assert find(seen(20, 20, (60, 30)), seen(20, 20, (60, 30)), np.array([0, 28]), np.array([2, 40])) is None


@pytest.mark.parametrize(("tile", "overlap"), [(64, 0.25), (128, 0.12), (512, 0.03)])
def test_tiles_with_narrow_overlaps_are_placed(tile: int, overlap: float) -> None:
    made = mosaic(2, 3, tile, overlap, jitter=2.0, seed=3)
    found = place(made.tiles.__getitem__, made.nominal, made.shapes)
    assert made.error(made.nominal) > 1.5 and made.error(found.positions) < 0.05
