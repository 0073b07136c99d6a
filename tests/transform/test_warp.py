"""Warp: signs, axes, composition, tiles, fills; all on small made sections with exact expectations."""

import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.transform import warp
from voxelmill.transform.warp import SectionTransform, render, rigid_matrix, shift_transform


def section(shape=(61, 47), seed=0, dtype=np.uint8):
    return (np.random.default_rng(seed).random(shape) * 250).astype(dtype)


def elastic(shape=(61, 47), seed=1, amount=3.0, spacing=16):
    nodes = [-(-(n - 1) // spacing) + 1 for n in shape]
    field = np.random.default_rng(seed).normal(0, amount, (2, *nodes)).astype(np.float32)
    return SectionTransform(rigid_matrix(2.3, -1.7, 4.0, warp.centre_of(shape)), field, spacing)


@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
def test_a_dot_moves_down_by_dy_and_right_by_dx(interpolation):
    raw = np.zeros((9, 12), np.uint8)
    raw[2, 3] = 200
    aligned = render(raw, shift_transform(2, 5), interpolation=interpolation)
    expected = np.zeros_like(raw)
    expected[4, 8] = 200
    np.testing.assert_array_equal(aligned, expected)


def test_a_positive_turn_takes_plus_x_to_minus_y():
    raw = np.zeros((9, 9), np.uint8)
    raw[4, 7] = 200  # 3 px to the right of the centre
    aligned = render(raw, SectionTransform(rigid_matrix(0, 0, 90, (4, 4))))
    assert np.argwhere(aligned).tolist() == [[1, 4]]  # 3 px above it
    turned = rigid_matrix(1.5, -2.5, 30, (4, 4))
    np.testing.assert_allclose(warp.rigid_parameters(turned, (4, 4)), (1.5, -2.5, 30), atol=1e-12)


def test_a_field_adds_to_the_raw_position_an_output_pixel_shows():
    raw = np.zeros((33, 33), np.uint8)
    raw[20, 9] = 200
    field = np.zeros((2, 3, 3), np.float32)
    field[0], field[1] = 4, -3
    aligned = render(raw, SectionTransform(np.eye(2, 3), field, 16))
    assert np.argwhere(aligned).tolist() == [[16, 12]]


def test_half_a_pixel_is_the_mean_of_two():
    raw = np.zeros((8, 8), np.float32)
    raw[4, 4] = 1
    aligned = render(raw, shift_transform(0, 0.5))
    assert aligned[4, 4] == aligned[4, 5] == 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("interpolation", warp.INTERPOLATIONS)
@pytest.mark.parametrize("transform", [shift_transform(2.3, -4.7), elastic()], ids=["shift", "elastic"])
def test_tiles_have_the_bytes_of_the_whole(dtype, interpolation, transform):
    raw = section(dtype=dtype)
    whole = render(raw, transform, interpolation=interpolation, fill=9)
    for ty, tx in ((16, 16), (1, 47), (23, 11)):
        joined = np.empty_like(whole)
        for y in range(0, 61, ty):
            for x in range(0, 47, tx):
                part = (y, min(y + ty, 61), x, min(x + tx, 47))
                tile = render(raw, transform, part, interpolation=interpolation, fill=9)
                joined[y : y + ty, x : x + tx] = tile
        assert joined.tobytes() == whole.tobytes()


class Watched:
    """A section that remembers what was read of it."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, []

    def __getitem__(self, at):
        self.read.append(tuple(s.indices(n)[:2] for s, n in zip(at, self.shape)))
        return self.values[at]


def test_a_region_reads_only_its_window():
    raw = Watched(section((400, 300)))
    transform = elastic((400, 300))
    region = (100, 140, 50, 90)
    part = render(raw, transform, region)
    (((y0, y1), (x0, x1)),) = raw.read
    assert (y0, y1, x0, x1) == warp.source_window(transform, region, raw.shape)
    assert y1 - y0 < 70 and x1 - x0 < 70
    np.testing.assert_array_equal(part, render(raw.values, transform)[100:140, 50:90])


def test_pixels_outside_get_the_fill_and_none_is_mixed_with_it():
    raw = np.full((20, 20), 100, np.uint8)
    aligned = render(raw, shift_transform(3.4, 0), fill=7)
    assert set(np.unique(aligned)) == {7, 100}
    assert (aligned[:3] == 7).all() and (aligned[3:] == 100).all()  # row 3 shows raw row -0.4
    assert (render(raw, shift_transform(100, 0), fill=7) == 7).all()
    larger = render(raw, shift_transform(0, 0), (-5, 25, -5, 25), fill=7)
    assert (larger[5:25, 5:25] == 100).all() and (larger[:5] == 7).all()


def test_large_positions_keep_their_fractions():
    raw = section((40, 20000))
    transform = shift_transform(0.25, 0.25)
    whole = render(raw, transform)
    np.testing.assert_array_equal(whole[:, 19000:19900], render(raw, transform, (0, 40, 19000, 19900)))


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64])
def test_labels_keep_their_values(dtype):
    raw = np.random.default_rng(0).integers(np.iinfo(dtype).max, size=(30, 30), dtype=dtype)
    aligned = render(raw, elastic((30, 30)), interpolation="nearest")
    assert aligned.dtype == dtype and np.isin(aligned[aligned > 0], raw).all()
    with pytest.raises(DataError, match="nearest"):
        render(raw, shift_transform(0.5, 0))


def test_composition_is_the_one_transform_that_does_both():
    centre = (30, 23)
    first = SectionTransform(rigid_matrix(3, -2, 5, centre))
    second = SectionTransform(rigid_matrix(-1, 4, -8, centre))
    points = np.array([[0.0, 0], [10, 40], [60, 3]])
    np.testing.assert_allclose(
        warp.apply(first.then(second).matrix, points), warp.apply(second.matrix, warp.apply(first.matrix, points)), atol=1e-12
    )
    there = warp.apply(first.matrix, points)
    np.testing.assert_allclose(warp.apply(warp.invert(first.matrix), there), points)


def test_composition_with_fields_shows_what_both_show():
    y, x = np.mgrid[0:61:4, 0:47:4].astype(float)
    field = np.stack([np.sin(np.mgrid[0:6, 0:5][k] / 2 + k) for k in (0, 1)]).astype(np.float32)
    wavy = [SectionTransform(rigid_matrix(1, 2, t, (30, 23)), field, 12) for t in (3, -5)]
    both = wavy[0].then(wavy[1])
    expected = wavy[0].positions(*wavy[1].positions(y, x))
    np.testing.assert_allclose(both.positions(y, x), expected, atol=0.15)  # bilinear between nodes
    nodes = np.mgrid[0:61:12, 0:47:12].astype(float)
    expected = wavy[0].positions(*wavy[1].positions(*nodes))
    np.testing.assert_allclose(both.positions(*nodes), expected, atol=1e-5)


def test_content_undoes_positions():
    transform = elastic(amount=0.8)
    aligned = np.array([[10.0, 10], [30, 40], [55, 5]])
    raw = np.moveaxis(transform.positions(aligned[:, 0], aligned[:, 1]), 0, -1)
    np.testing.assert_allclose(transform.content(raw), aligned, atol=1e-6)


def test_jitter_is_known_and_repeatable():
    jitter = warp.simulate_jitter(4000, 1.5, 3)
    np.testing.assert_array_equal(jitter, warp.simulate_jitter(4000, 1.5, 3))
    np.testing.assert_array_equal(jitter[:10], warp.simulate_jitter(10, 1.5, 3))
    assert jitter.shape == (4000, 2) and abs(jitter.std() - 1.5) < 0.05 and abs(jitter.mean()) < 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda: render(section(), shift_transform(0, 0), interpolation="sinc"),
        lambda: render(section(), shift_transform(0, 0), (5, 5, 0, 3)),
        lambda: SectionTransform(np.eye(3)),
        lambda: SectionTransform(np.full((2, 3), np.nan)),
        lambda: warp.invert(np.zeros((2, 3))),
        lambda: warp.simulate_jitter(3, -1, 0),
    ],
)
def test_what_cannot_be_done_is_said(call):
    with pytest.raises(ParameterError, match="expected"):
        call()
