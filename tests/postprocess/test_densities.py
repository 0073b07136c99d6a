"""Densities in 3-D: samples by nanometres, spots once, the best of rivals; who is before and who behind."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from voxelmill.postprocess import densities
from voxelmill.postprocess.partners import partners, reach

ISOTROPIC, SECTIONS = (10.0, 10.0, 10.0), (50.0, 5.0, 5.0)


def spot(scale: tuple, shape: tuple = (60, 60, 60), at: tuple = (30, 28, 33), nm: float = 30.0) -> np.ndarray:
    """A dark ball in a grey volume."""
    where = np.indices(shape) - np.reshape(at, (3, 1, 1, 1))
    away = np.sqrt(((where * np.reshape(scale, (3, 1, 1, 1))) ** 2).sum(0))
    return np.rint(180 - 120 * np.exp(-((away / nm) ** 2) / 2)).astype(np.uint8)


def test_a_spot_is_found_once_where_it_is():
    assert densities.spots(spot(ISOTROPIC), ISOTROPIC).tolist() == [[30, 28, 33]]


def test_thick_sections_have_their_own_spots_of_which_the_best_is_told():
    volume = spot(SECTIONS, (9, 90, 90), (4, 41, 50), nm=50)
    assert densities.spots(volume, SECTIONS).tolist() == [[3, 41, 50], [4, 41, 50], [5, 41, 50]]
    at, _ = densities.detect(lambda cube: float(-cube[11:13, 11:13, 11:13].mean()), volume, SECTIONS, 0.1)
    assert at.tolist() == [[4, 41, 50]]


def test_black_around_the_imaged_part_hides_no_density_and_is_none():
    """0 is no data: what is there is found as if it were not."""
    volume = np.pad(spot(ISOTROPIC, (40, 40, 40), (6, 20, 20)), ((20, 0), (20, 20), (20, 20)))
    volume[40] = 0
    at, _ = densities.detect(lambda cube: float(cube.mean() - cube[11:13, 11:13, 11:13].mean()), volume, ISOTROPIC, 0.1)
    assert np.abs(at - [26, 40, 40]).max() <= 1 and len(at) == 1


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


def solid(scale: tuple, nm: float, membrane: bool) -> tuple[np.ndarray, list[int]]:
    """A ball of a radius in nm, on a membrane 10 nm thick or none, as a microscope shows it; and its middle."""
    shape = [int(360 / s) | 1 for s in scale]
    middle = [n // 2 for n in shape]
    z, y, x = (np.reshape(np.arange(n) - m, r) * s for n, m, r, s in zip(shape, middle, np.eye(3, dtype=int) * -2 + 1, scale))
    volume = np.zeros(shape)
    for part in (-0.375, -0.125, 0.125, 0.375):  # of a section, for these are thick
        dark = (z + part * scale[0]) ** 2 + y**2 + x**2 <= nm**2
        volume += np.where(dark | (membrane & (np.abs(y) <= 5)), 60, 160) / 4
    volume = ndimage.gaussian_filter(volume, [5 / s for s in scale]) + np.random.default_rng(0).normal(0, 10, shape)
    return np.rint(volume).clip(0, 255).astype(np.uint8), middle


@pytest.mark.parametrize("membrane", [False, True])
@pytest.mark.parametrize(("scale", "nm"), [(ISOTROPIC, 35), (ISOTROPIC, 50), ((8.0, 8.0, 8.0), 70), (SECTIONS, 70)])
def test_the_size_of_a_density_is_its_voxels(scale, nm, membrane):
    volume, middle = solid(scale, nm, membrane)
    true = 4 / 3 * np.pi * nm**3 / np.prod(scale)
    assert abs(densities.extent(volume, middle, scale) / true - 1) < 0.15


def test_a_density_at_a_face_and_one_that_is_nothing_have_a_size():
    volume, middle = solid(ISOTROPIC, 50, False)
    cut = densities.extent(volume[middle[0] :], [0, *middle[1:]], ISOTROPIC)
    assert abs(cut / densities.extent(volume, middle, ISOTROPIC) - 0.5) < 0.15
    assert densities.extent(np.full((3, 3, 3), 7, np.uint8), (1, 1, 1), ISOTROPIC) == 27  # no darker part: all of it


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
