"""Pairwise registration: a known move is found, with its sign, and what cannot be found is not followed."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.transform import pair_results, registration, warp
from voxelmill.transform.bandpass import prepare
from voxelmill.transform.registration import estimate_pair
from voxelmill.transform.warp import SectionTransform, render, rigid_matrix, shift_transform


def texture(shape=(200, 160), seed=0, noise=0.0):
    """Smooth random structure as uint8; `noise` is in grey levels."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 2.5)
    image = 128 + 40 * image / image.std() + noise * rng.standard_normal(shape)
    return image.clip(0, 255).astype(np.uint8)


def dot(y, x, shape=(96, 80)):
    yy, xx = np.ogrid[: shape[0], : shape[1]]
    return (200 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 18)).astype(np.float32)


@pytest.mark.parametrize("level", ["translation", "rigid", "elastic"])
def test_a_dot_pins_signs_and_axes(level):
    pair = estimate_pair(dot(40, 30), dot(43, 37), level=level)
    dy, dx, _ = pair.correction
    np.testing.assert_allclose(warp.apply(pair.matrix, np.array([40.0, 30.0])), (43, 37), atol=0.05)
    np.testing.assert_allclose(pair.positions(np.array([40.0, 30.0])), (43, 37), atol=0.05)
    if level == "translation":
        np.testing.assert_allclose((dy, dx), (-3, -7), atol=0.05)  # added to the content of moving


@pytest.mark.parametrize("size", [(90, 100), (200, 160), (301, 403)])
@pytest.mark.parametrize("move", [(0.3, -0.6), (7.4, -12.2), (-25.0, 18.0)])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel(size, move):
    raw = texture(size)
    pair = estimate_pair(raw, render(raw, shift_transform(*move), interpolation="cubic"), level="translation")
    np.testing.assert_allclose(pair.correction[:2], (-move[0], -move[1]), atol=0.05)
    assert pair.correlation > 0.95 and pair.trusted


@pytest.mark.parametrize("turn", [3.0, -6.0, 20.0])
def test_a_turn_is_found_with_its_sign(turn):
    raw = texture()
    moved = render(raw, SectionTransform(rigid_matrix(4, -3, turn, warp.centre_of(raw.shape))))
    pair = estimate_pair(raw, moved, level="rigid")
    assert pair.correction[2] == pytest.approx(-turn, abs=0.05)
    undone = warp.compose(warp.invert(pair.matrix), rigid_matrix(4, -3, turn, warp.centre_of(raw.shape)))
    np.testing.assert_allclose(undone, np.eye(2, 3), atol=0.08)


def test_what_is_coarse_and_went_elsewhere_does_not_hide_a_small_move():
    rng = np.random.default_rng(0)
    fine, coarse = (
        cv2.GaussianBlur(rng.standard_normal((300, 300)).astype(np.float32), (0, 0), sigma) for sigma in (1.5, 12)
    )
    fine, coarse = fine / fine.std(), coarse / coarse.std()
    moved = render(fine, shift_transform(1.5, -2), interpolation="cubic")
    pair = estimate_pair(fine + 0.5 * coarse, moved + 0.5 * np.roll(coarse, (30, 26), (0, 1)))
    assert pair.trusted
    np.testing.assert_allclose(pair.correction[:2], (-1.5, 2), atol=0.1)


def test_wide_turns_are_only_found_when_asked_for():
    raw = texture()
    moved = render(raw, SectionTransform(rigid_matrix(0, 0, 20, warp.centre_of(raw.shape))))
    assert not estimate_pair(raw, moved, max_rotation_deg=0).trusted


def test_a_field_is_found():
    raw = texture((320, 320))
    nodes = np.mgrid[0:21, 0:21] * 16.0
    field = np.stack([3 * np.sin(nodes[1] / 60), -3 * np.cos(nodes[0] / 70)]).astype(np.float32)
    warped = SectionTransform(rigid_matrix(2, -4, 1, warp.centre_of(raw.shape)), field, 16)
    pair = estimate_pair(render(raw, warped), raw, level="elastic")
    points = np.stack(np.meshgrid(np.arange(30, 290.0, 20), np.arange(30, 290.0, 20), indexing="ij"), -1)
    expected = np.moveaxis(warped.positions(points[..., 0], points[..., 1]), 0, -1)
    off = np.linalg.norm(pair.positions(points) - expected, axis=-1)
    rigid = np.linalg.norm(warp.apply(pair.matrix, points) - expected, axis=-1)
    assert pair.level == "elastic" and off.mean() < 0.3 < 1.0 < rigid.mean()


@pytest.mark.parametrize("level", ["translation", "rigid", "elastic"])
def test_unlike_sections_are_not_followed(level):
    for seed in range(4):
        pair = estimate_pair(texture(seed=seed), texture(seed=seed + 10), level=level)
        assert not pair.trusted and pair.field is None
        np.testing.assert_array_equal(pair.matrix, np.eye(2, 3))


def test_without_the_guard_it_would_be_followed(monkeypatch):
    monkeypatch.setattr(registration, "_better", lambda best, found, a, least: found)
    assert estimate_pair(texture(seed=1), texture(seed=11)).trusted


def test_a_blank_section_has_no_correlation():
    pair = estimate_pair(texture(), np.full((200, 160), 7, np.uint8))
    assert pair.blank == (False, True) and pair.correlation == 0 and not pair.trusted


def test_shading_contrast_and_padding_do_not_matter():
    raw = texture()
    moved = render(raw, shift_transform(3, 5)).astype(np.float32)
    moved = 0.5 * moved + np.linspace(0, 80, 160, dtype=np.float32)
    moved[:, -40:] = 0  # lost
    fixed = raw.copy()
    fixed[:30] = 255
    np.testing.assert_allclose(estimate_pair(fixed, moved).correction, (-3, -5, 0), atol=0.05)


@pytest.mark.parametrize("level", ["rigid", "elastic"])
def test_large_sections_are_estimated_smaller(level):
    raw = texture((900, 700))
    moved = render(raw, shift_transform(11, -8))
    layers = prepare(raw, full=level == "elastic", max_size=300).layers
    assert max(layers[-1].image.shape) <= 300
    pair = estimate_pair(raw, moved, level=level, max_size=300)
    np.testing.assert_allclose(pair.correction[:2], (-11, 8), atol=0.1)


def test_large_sections_are_read_in_strips():
    class Rows:
        def __init__(self, values):
            self.values, self.shape, self.dtype, self.longest = values, values.shape, values.dtype, 0

        def __getitem__(self, at):
            self.longest = max(self.longest, at[0].stop - at[0].start)
            return self.values[at]

    rows = Rows(np.tile(texture((200, 160)), (50, 15)))  # 10000 x 2400
    small = prepare(rows, max_size=128)
    assert rows.longest < 10000 and small.layers[-1].image.shape == (126, 30)


def test_threads_do_not_change_a_bit():
    raw = texture((320, 320), noise=5)
    moved = render(raw, SectionTransform(rigid_matrix(3, -4, 1, (160, 160))))
    found = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        found.append(pair_results.pack([estimate_pair(raw, moved, level="elastic")]))
    cv2.setNumThreads(1)
    assert all(found[0][k].tobytes() == found[1][k].tobytes() for k in found[0])


def test_pairs_do_not_depend_on_how_a_stack_is_cut():
    stack = [render(texture(noise=3), shift_transform(z, -z)) for z in range(5)]
    whole = registration.estimate_pairs(stack.__getitem__, registration.neighbour_pairs(5, 2))
    parts = [
        p
        for first, stop in ((0, 2), (2, 5))
        for p in registration.estimate_pairs(stack.__getitem__, registration.neighbour_pairs(5, 2, first, stop))
    ]
    one, other = pair_results.pack(whole), pair_results.pack(parts)
    assert all(one[k].tobytes() == other[k].tobytes() for k in one)
    assert [(p.fixed, p.moving) for p in whole] == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: estimate_pair(texture(), texture((100, 100))), DataError, "shapes"),
        (lambda: estimate_pair(texture(), texture(), level="affine"), ParameterError, "expected one of"),
        (lambda: estimate_pair(np.full((50, 50), np.nan, np.float32), texture()[:50, :50]), DataError, "finite"),
        (lambda: estimate_pair(np.zeros((5, 50)), texture((5, 50))), DataError, "section 0"),
        (lambda: prepare(texture(), max_size=3), ParameterError, "max_size"),
    ],
)
def test_bad_input_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_light_that_grows_to_one_side_moves_nothing():
    """Objects wider than the band-pass, brighter to the left in one image, to the right in the other."""
    where = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(77, 512)), 12)
    scene = 20 + 1000 * ndimage.gaussian_filter((where > where.std() / 2).astype(float), 2)
    light = 1 + 0.3 * np.linspace(-1, 1, 77)[:, None]
    one, other = (prepare(scene * gain, full=True) for gain in (light, 2 - light))
    found = estimate_pair(one, other, level="translation")
    assert found.trusted and np.abs(found.matrix[:, 2]).max() < 0.03
