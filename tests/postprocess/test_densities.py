"""Densities in 3-D: samples by nanometres, spots once, the best of rivals; who is before and who behind."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from voxelmill.postprocess import densities
from voxelmill.postprocess.partners import partners, reach

ISOTROPIC, SECTIONS = (10.0, 10.0, 10.0), (50.0, 5.0, 5.0)


def spot(scale: tuple, shape: tuple = (60, 60, 60), at: tuple = (30, 28, 33), nm: float = 30.0) -> np.ndarray:
    """A dark ball in a grey volume."""
    where = np.indices(shape) - np.reshape(at, (3, 1, 1, 1))
    away = np.sqrt(((where * np.reshape(scale, (3, 1, 1, 1))) ** 2).sum(0))
    return np.rint(180 - 120 * np.exp(-((away / nm) ** 2) / 2)).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "shape", "at"), [(ISOTROPIC, (60, 60, 60), (30, 28, 33)), (SECTIONS, (9, 90, 90), (4, 41, 50))]
)
def test_a_spot_is_found_once_where_it_is(scale, shape, at):
    assert densities.spots(spot(scale, shape, at), scale).tolist() == [list(at)]


def test_spots_take_few_bytes_a_voxel():
    """Two maps of float32, and what is the highest: 24 bytes before maps were used again."""
    grey = np.zeros((60, 120, 120), np.uint8)
    densities.spots(grey[:8, :8, :8], ISOTROPIC)  # SciPy is imported
    tracemalloc.start()
    densities.spots(grey, ISOTROPIC)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 13 * grey.size


def test_a_broad_shade_is_no_spot():
    assert len(densities.spots(spot(ISOTROPIC, nm=400.0), ISOTROPIC)) == 0


@pytest.mark.parametrize("scale", [ISOTROPIC, SECTIONS, (8.0, 8.0, 8.0)])
def test_a_cube_samples_nanometres_whatever_the_voxel(scale):
    """A ramp along each axis comes out as the ramp at the samples' places."""
    shape = [int(2 * 260 / s) + 1 for s in scale]
    middle = [n // 2 for n in shape]
    for axis in range(3):
        nm = (np.indices(shape)[axis] - middle[axis]) * scale[axis]
        ramp = np.rint(128 + nm * 0.4).astype(np.uint8)
        found = np.moveaxis(densities.cube(ramp, middle, densities.taps(scale)), axis, 0)
        want = 128 + 0.4 * (np.arange(densities.SIDE) - 11.5) * densities.STEP
        assert np.abs(found[:, 12, 12] - want).max() < 1
        assert np.ptp(found, (1, 2)).max() < 1e-2


def test_of_rivals_the_best_stays_and_of_equals_the_first():
    points = np.array([[0, 0, 0], [0, 0, 8], [0, 0, 16], [0, 0, 60]])
    # the second gives way to the third, and so, though the second goes, does the first to the second
    assert densities.best(points, np.array([0.5, 0.6, 0.7, 0.1], np.float32), ISOTROPIC).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert densities.best(points, np.full(4, 0.5, np.float32), ISOTROPIC).tolist() == [True, False, False, True]


def test_a_block_with_what_it_needs_around_sees_what_the_volume_shows():
    rng = np.random.default_rng(0)
    volume = np.rint(rng.normal(150, 30, (70, 70, 140))).clip(0, 255).astype(np.uint8)
    for z, y, x in rng.integers(5, (65, 65, 135), (40, 3)):
        volume[z - 3 : z + 3, y - 3 : y + 3, x - 3 : x + 3] //= 3

    def network(cube: np.ndarray) -> float:
        return float(cube[10:14, 10:14, 10:14].mean() + cube[0, 0, 0])

    at, score = densities.detect(network, volume, ISOTROPIC, 0.01)
    halo = densities.reach(ISOTROPIC)[2]
    assert len(at) > 5 and halo < 60
    for first, last in ((0, 70), (70, 140)):
        start = max(first - halo, 0)
        part, said = densities.detect(network, volume[:, :, start : last + halo], ISOTROPIC, 0.01)
        part = part + np.array([0, 0, start])
        mine, want = (p[(p[:, 2] >= first) & (p[:, 2] < last)] for p in (part, at))
        assert np.array_equal(mine, want)
        assert np.array_equal(
            said[(part[:, 2] >= first) & (part[:, 2] < last)], score[(at[:, 2] >= first) & (at[:, 2] < last)]
        )


def scene() -> np.ndarray:
    """Labels (z, y, x): 5 below; above it 7 on the left, 8 on the right, 9 behind the middle of 5."""
    labels = np.full((21, 21, 21), 5)
    labels[:, :9, :10] = 7
    labels[:, :9, 10:] = 8
    labels[:, 18:] = 9
    return labels


def test_before_is_where_the_density_lies_and_behind_is_across_the_cleft():
    found = partners(scene(), (10, 10, 10), ISOTROPIC)
    assert found is not None and found.pre == 5 and found.pre_at.tolist() == [0, 0, 0]
    assert {post: at.tolist() for post, at in found.posts} == {7: [0, -2, -1], 8: [0, -2, 0]}


def test_the_other_way_round_where_the_density_lies_on_the_other_side():
    found = partners(scene(), (10, 6, 3), ISOTROPIC)
    assert found is not None and found.pre == 7 and 5 in {post for post, _ in found.posts}


def test_no_partner_where_there_is_one_neurite_or_none():
    assert partners(np.full((21, 21, 21), 5), (10, 10, 10), ISOTROPIC) is None
    assert partners(np.zeros((21, 21, 21), int), (10, 10, 10), ISOTROPIC) is None


def test_what_is_looked_at_goes_with_the_voxel():
    assert reach(SECTIONS) == (2, 20, 20)
