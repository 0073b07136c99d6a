"""Augmentation: what goes in comes out finite, of the same shape, and the same for the same seed."""

import numpy as np
from voxelmill.training import augment


def rng(seed=0):
    return np.random.default_rng(seed)


def test_cells_stay_finite_and_follow_the_seed():
    labels = np.zeros((48, 48), np.int32)
    labels[10:20, 10:30] = 3
    x = augment.noise(rng(), labels.shape)
    for seed in range(40):
        one, two = (augment.cells(rng(seed), x, labels) for _ in range(2))
        assert one.shape == x.shape and np.isfinite(one).all()
        np.testing.assert_array_equal(one, two)


def test_em_stays_finite_and_leaves_its_input_alone():
    labels = np.ones((6, 32, 32), np.int32)
    labels[:, :, 16:] = 2
    x = np.full(labels.shape, 120, np.float32)
    for seed in range(40):
        out = augment.em_contrast(rng(seed), x, labels, sections=seed % 2 == 0)
        assert out.dtype == np.float32 and np.isfinite(out).all()
    assert (x == 120).all()


def test_a_turn_keeps_its_centre_and_zooms():
    for seed in range(8):
        affine = augment.turn(rng(seed), 2.0, 33, np.array([50.0, 70.0]))
        np.testing.assert_allclose(affine @ [16, 16, 1], [70, 50])  # x before y
        np.testing.assert_allclose(np.linalg.norm(affine[:, 0]), 0.5)


def test_displacement_is_smooth_but_for_jitter_and_jumps():
    calm = augment.displacement(rng(), 8, 32, 2.0, 0.0, 0.0)
    assert calm.shape == (8, 2, 32, 32) and np.abs(np.diff(calm, axis=0)).max() < 2
    jump = augment.displacement(rng(), 8, 32, 0.0, 0.0, 8.0)
    moved = np.abs(np.diff(jump, axis=0)).max((1, 2, 3))
    assert (moved > 1e-6).sum() == 1
