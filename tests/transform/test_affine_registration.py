"""Registration of volumes: a known transform is found to half a voxel, by every metric; slopes are slopes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from voxelmill.core.orientation import RAS
from voxelmill.testing.brain import SIDE, as_seen, brain
from voxelmill.transform.affine_registration import METRICS, Affine, Scan, register

TURN = Rotation.from_euler("zyx", [8, -6, 10], degrees=True).as_matrix()
SHEAR = TURN @ np.array([[1.05, 0.02, 0], [0, 0.95, 0.03], [0.01, 0, 1.02]])


def known(matrix: np.ndarray, atlas: Scan) -> Affine:
    middle = atlas.middle()
    return Affine(matrix, middle + np.array([0.2, -0.15, 0.3]) - matrix @ middle)


def off(found: Affine, truth: Affine, atlas: Scan) -> float:
    """Largest distance over the brain, in voxels."""
    reach = atlas.scale * atlas.values.shape * 0.35
    points = atlas.middle() + np.random.default_rng(0).uniform(-1, 1, (500, 3)) * reach
    return float(np.linalg.norm(found(points) - truth(points), axis=1).max() / SIDE)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_a_known_transform_is_found(metric: str, kind: str):
    atlas = brain()
    truth = known(TURN if kind == "rigid" else SHEAR, atlas)
    values, origin = as_seen(atlas, truth, RAS, (66, 74, 80), looks=6)
    moving = Scan(values.astype(np.float32), np.full(3, SIDE), origin)
    found, _ = register(atlas, moving, metric=metric, kind=kind)  # type: ignore[arg-type]
    assert off(found, truth, atlas) <= 0.5 < 4 < off(known(np.eye(3), atlas), truth, atlas)
    if kind == "rigid":
        assert np.allclose(found.matrix @ found.matrix.T, np.eye(3), atol=1e-6)


def test_mutual_information_does_not_mind_contrast():
    atlas = brain()
    truth = known(TURN, atlas)
    values, origin = as_seen(atlas, truth, RAS, (66, 74, 80))
    values = np.where(values > 0.05, 1.1 - values, values)  # bright is dark
    moving = Scan(values.astype(np.float32), np.full(3, SIDE), origin)
    found, _ = register(atlas, moving, metric="MI", kind="rigid")
    assert off(found, truth, atlas) <= 0.5


def test_a_first_guess_and_rounds_count():
    atlas = brain()
    truth = known(Rotation.from_euler("z", 45, degrees=True).as_matrix(), atlas)
    values, origin = as_seen(atlas, truth, RAS, (66, 80, 80))
    moving = Scan(values.astype(np.float32), np.full(3, SIDE), origin)
    guess = Rotation.from_euler("z", 40, degrees=True).as_matrix()
    assert off(register(atlas, moving, kind="rigid", start=guess)[0], truth, atlas) <= 0.5
    assert off(register(atlas, moving, kind="rigid", start=guess, rounds=1)[0], truth, atlas) > 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_slopes(metric: str):
    rng = np.random.default_rng(0)
    f = rng.random(1000)
    m = np.clip(f * 0.5 + 0.3 * rng.random(1000), 0.05, 1.1)
    _, slope = METRICS[metric](f, m, (10, 10, 10))
    for i in (3, 500, 998):
        step = 1e-5 * (np.arange(1000) == i)
        up, down = (METRICS[metric](f, m + sign * step, (10, 10, 10))[0] for sign in (1, -1))
        assert slope[i] == pytest.approx((up - down) / 2e-5, rel=1e-3, abs=1e-9)
