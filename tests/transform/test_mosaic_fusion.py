"""Tiles into one image: the scene, whatever the division into regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.transform.mosaic_fusion import canvas, fuse, touching

METHODS = ["none", "average", "diffusion", "narrow"]


def cut(scene: np.ndarray, positions: list[tuple[int, int]], size: int = 20) -> np.ndarray:
    return np.stack([scene[y : y + size, x : x + size] for y, x in positions])


def whole(tiles, positions, blending="diffusion"):
    shapes = np.full((len(tiles), 2), tiles.shape[-2:])
    placed, shape = canvas(np.asarray(positions, float), shapes)
    return fuse(tiles.__getitem__, placed, shapes, (slice(0, shape[0]), slice(0, shape[1])), blending)


@pytest.mark.parametrize("blending", METHODS)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 99))
def test_tiles_cut_from_a_scene_give_it_back(blending, dy, dx, seed):
    scene = np.random.default_rng(seed).integers(1, 255, (36, 36)).astype(np.float32)
    positions = [(0, 0), (dy, 16), (16, dx), (16, 16)]
    made = whole(cut(scene, positions), positions, blending)
    covered = np.zeros((36, 36), bool)
    for y, x in positions:
        covered[y : y + 20, x : x + 20] = True
    np.testing.assert_allclose(made, np.where(covered, scene, 0), atol=1e-3)


@pytest.mark.parametrize("blending", METHODS)
def test_regions_are_parts_of_the_whole(blending):
    rng = np.random.default_rng(0)
    tiles, positions = rng.uniform(1, 9, (5, 3, 24, 24)), rng.uniform(0, 40, (5, 2))
    shapes = np.full((5, 2), 24)
    placed, (ny, nx) = canvas(positions, shapes)
    full = fuse(tiles.__getitem__, placed, shapes, (slice(0, ny), slice(0, nx)), blending, 3)
    for y in range(0, ny, 7):
        for x in range(0, nx, 11):
            box = (slice(y, min(y + 7, ny)), slice(x, min(x + 11, nx)))
            if touching(placed, shapes, box):
                np.testing.assert_allclose(
                    fuse(tiles.__getitem__, placed, shapes, box, blending, 3), full[:, *box], atol=1e-4
                )


def test_the_sign_a_tile_at_y_3_and_x_5_is_seen_there():
    tiles = np.zeros((2, 8, 8))
    tiles[1, 2, 6] = 7
    assert np.argwhere(whole(tiles, [(0, 0), (3, 5)], "none") == 7).tolist() == [[5, 11]]


def test_a_fraction_of_a_pixel_moves_a_smooth_scene_by_it():
    x = np.arange(60.0)
    tile = np.broadcast_to(np.sin(x / 6), (1, 30, 60)) + 2
    made = whole(np.concatenate([tile, tile]), [(0, 0), (0, 30.5)], "none")
    np.testing.assert_allclose(made[15, 50:80], np.sin((x[20:50] - 0.5) / 6) + 2, atol=2e-3)


def test_diffusion_is_a_ramp_and_none_a_cut():
    tiles = np.stack([np.full((20, 20), 1.0), np.full((20, 20), 2.0)])
    ramp, cut_ = (whole(tiles, [(0, 0), (0, 10)], b)[10] for b in ("diffusion", "none"))
    assert (np.diff(ramp[10:20]) > 0).all() and abs(ramp[14] + ramp[15] - 3) < 1e-5
    assert cut_.tolist() == [1] * 15 + [2] * 15
    assert whole(tiles, [(0, 0), (0, 10)], "average")[10, 15] == 1.5


def test_narrow_is_a_ramp_in_the_middle_of_the_overlap():
    tiles = np.stack([np.full((90, 90), 1.0), np.full((90, 90), 2.0)])
    seen = whole(tiles, [(0, 0), (0, 40)], "narrow")[45, 40:90] - 1
    assert (np.diff(seen) >= 0).all() and seen[:17].max() < 0.05 and seen[-17:].min() > 0.95
    assert 5 <= ((seen > 0.1) & (seen < 0.9)).sum() <= 8 and abs(seen[24] + seen[25] - 1) < 1e-4


def test_what_was_not_acquired_is_taken_from_the_other_tile():
    tiles = np.ones((2, 20, 20))
    tiles[0, :, 12:], tiles[1] = np.nan, 4
    for blending in METHODS:
        assert (whole(tiles, [(0, 0), (0, 10)], blending)[:, 12:] == 4).all()
