"""Contrast: exact on made sections, and the same bytes in any block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.transform import contrast


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 200), st.integers(3, 200), st.sampled_from([16, 64]))
def test_any_block_with_its_source_range_equals_the_whole_section(seed, rows, columns, tile):
    rng = np.random.default_rng(seed)
    section = noise(1, rows, columns, seed=seed)
    section[:, rng.integers(rows) :, : rng.integers(columns)] = 0
    section[:, : rng.integers(rows), rng.integers(columns) :] = 255
    core = []
    for size in (rows, columns):
        start = int(rng.integers(0, size))
        core.append((start, int(rng.integers(start + 1, size + 1))))
    (y0, y1), (x0, x1) = core
    read = [contrast.source_range(*span, size, tile) for span, size in zip(core, (rows, columns), strict=True)]
    for (lo, hi), (start, stop) in zip(read, core, strict=True):
        assert start - lo <= contrast.halo(tile) and hi - stop <= contrast.halo(tile)
    block = contrast.enhance(
        section[:, read[0][0] : read[0][1], read[1][0] : read[1][1]],
        section_shape=(rows, columns),
        origin=(read[0][0], read[1][0]),
        core=tuple(core),
        tile=tile,
    )
    np.testing.assert_array_equal(block, contrast.enhance(section, tile=tile)[:, y0:y1, x0:x1])


def test_a_block_without_its_halo_is_refused():
    with pytest.raises(ValueError, match=r"depends on \[0, 195\).*source_range"):
        contrast.enhance(noise(1, 100, 256), section_shape=(256, 256), core=((0, 100), (0, 256)))


def test_sections_do_not_touch_each_other():
    volume = noise(3, 70, 90)
    np.testing.assert_array_equal(contrast.enhance(volume)[1], contrast.enhance(volume[1:2])[0])


def test_contrast_goes_up_and_dark_stays_darker():
    ramp = np.tile(np.linspace(100, 140, 64).astype(np.uint8), (1, 64, 1))
    out = contrast.enhance(ramp, sigma=0, clip_limit=0.05)[0].astype(int)
    assert np.ptp(out) > 2 * np.ptp(ramp)
    assert (np.diff(out[0]) >= 0).all()


def test_no_data_stays_no_data_and_data_is_never_0():
    section = noise(1, 200, 200)
    section[:, :60], section[:, 60:, 170:] = 0, 255  # beyond the imaged area; a bright rim
    section[:, 100:108, 80:88] = 0  # a dark spot is data
    out = contrast.enhance(section)[0]
    nothing = np.zeros((200, 200), bool)
    nothing[:60] = nothing[60:, 170:] = True
    np.testing.assert_array_equal(out == 0, nothing)
    assert not contrast.enhance(np.zeros((2, 40, 40), np.uint8)).any()


def test_the_negative_keeps_no_data():
    assert contrast.negative(np.array([0, 1, 100, 255], np.uint8)).tolist() == [0, 255, 156, 1]


def test_window_maps_lo_to_0_and_hi_to_255_and_clips():
    values = np.array([[[900, 1000, 1500, 2000, 2100]]], np.uint16)
    np.testing.assert_array_equal(contrast.to_uint8(values, (1000, 2000)), [[[0, 0, 128, 255, 255]]])


@pytest.mark.parametrize(
    ("volume", "options", "message"),
    [
        (np.zeros((1, 8, 8), np.uint16), {}, "has no intensity window"),
        (np.zeros((1, 8, 8), np.uint16), {"window": (5, 5)}, "expected lo < hi"),
        (np.full((1, 8, 8), np.nan, np.float32), {"window": (0, 1)}, r"index \[0, 0, 0\].*not finite"),
        (np.zeros((8, 8), np.uint8), {}, "expected non-empty"),
        (np.zeros((1, 0, 8), np.uint8), {}, "expected non-empty"),
        (np.zeros((1, 8, 8), np.uint8), {"tile": 48}, "expected one of"),
        (np.zeros((1, 8, 8), np.uint8), {"sigma": 3}, "sigma is 3"),
        (np.zeros((1, 8, 8), np.uint8), {"clip_limit": 0}, "clip_limit is 0"),
    ],
)
def test_bad_input_is_named(volume, options, message):
    with pytest.raises(ValueError, match=message):
        contrast.enhance(volume, **options)
