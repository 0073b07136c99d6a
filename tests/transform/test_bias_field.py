"""Bias field: a known gain is found; blocks evaluate the same spline."""

from __future__ import annotations

import numpy as np
from voxelmill.testing.uneven import lit
from voxelmill.transform.bias_field import Gain, basis, estimate, sharpened, tissue


def rest(log: np.ndarray, found: np.ndarray, inside: np.ndarray) -> float:
    return float((found - log)[inside].std())


def test_a_known_gain_is_found():
    before, after = [], []
    for seed in (20, 22, 23, 25):
        values, inside, log = lit(seed)
        gain = estimate(values, tissue(values), (1, 1, 1), (0, 0, 0))
        assert gain is not None
        found = gain.log_at([np.arange(n) for n in values.shape])
        before.append(rest(log, 0 * log, inside))
        after.append(rest(log, found, inside))
        assert abs(found[tissue(values)].mean()) < 0.01
    assert sum(after) < 0.55 * sum(before) and max(after) < 0.08, (before, after)


def test_even_light_is_left_alone():
    values, inside, _ = lit(strength=0.0)
    gain = estimate(values, tissue(values), (1, 1, 1), (0, 0, 0))
    assert gain is not None
    assert gain.log_at([np.arange(n) for n in values.shape])[inside].std() < 0.045


def test_sizes_of_voxels_count_and_too_little_tissue_has_no_gain():
    values, _, _ = lit()
    mask = tissue(values)
    cubes = estimate(values, mask, (1, 1, 1), (0, 0, 0))
    flat = estimate(values, mask, (0.1, 1, 1), (5, 0, 0))
    assert cubes is not None and flat is not None
    assert cubes.coefficients.shape == (5, 5, 5) and flat.coefficients.shape == (4, 5, 5)
    assert estimate(values, mask & (np.arange(36) < 3), (1, 1, 1), (0, 0, 0)) is None


def test_a_part_of_the_grid_is_the_grid_there():
    made = Gain(np.random.default_rng(0).random((5, 4, 6)), (0, 0, 0), (9, 8, 7))
    whole = made.log_at([np.arange(0.5, 9), np.arange(0.5, 8), np.arange(0.5, 7)])
    part = made.log_at([np.arange(2.5, 5), np.arange(0.5, 8), np.arange(3.5, 7)])
    assert np.allclose(part, whole[2:5, :, 3:], atol=1e-6)
    assert np.allclose(basis(np.linspace(0, 9, 50), 0, 9, 3).sum(1), 1)


def test_sharpening_draws_values_to_their_peaks():
    rng = np.random.default_rng(0)
    log = np.concatenate([rng.normal(-1, 0.08, 5000), rng.normal(0, 0.08, 5000)])
    made = sharpened(log)
    assert made[:5000].std() < 0.5 * 0.08 and abs(np.median(made[:5000]) + 1) < 0.03
