"""Skeletons: length, ends and forks of made tubes."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.postprocess import teasar

SHAPE, SIZE, RADIUS = (60, 80, 80), (40.0, 40.0, 40.0), 150.0


def tube(a: tuple, b: tuple, size: tuple = SIZE, shape: tuple = SHAPE) -> np.ndarray:
    """Mask of what lies within RADIUS of the line from a to b (nm, z y x): its length is |b - a| and RADIUS at either end."""
    at = np.moveaxis(np.indices(shape), 0, -1) * np.array(size)
    start, along = np.array(a, float), np.subtract(b, a).astype(float)
    t = np.clip((at - start) @ along / (along @ along), 0, 1)
    return np.linalg.norm(at - start - t[..., None] * along, axis=-1) <= RADIUS


def skeleton(mask: np.ndarray, size: tuple = SIZE) -> teasar.Skeleton:
    return teasar.skeleton(np.argwhere(mask), size, mask.shape)


def ends_and_forks(found: teasar.Skeleton) -> tuple[int, int, int]:
    return int((found.degree == 1).sum()), int((found.degree > 2).sum()), int((found.parent < 0).sum())


@pytest.mark.parametrize(
    "a, b",
    [((1200, 1600, 400), (1200, 1600, 2800)), ((400, 400, 400), (2000, 2800, 2800)), ((500, 400, 600), (900, 2800, 1900))],
)
def test_a_tube_is_one_line_of_its_length_in_its_middle(a: tuple, b: tuple):
    found = skeleton(tube(a, b))
    assert ends_and_forks(found) == (2, 0, 1)
    assert found.length == pytest.approx(np.linalg.norm(np.subtract(b, a)) + 2 * RADIUS, rel=0.03)
    assert np.median(found.radius) == pytest.approx(RADIUS, abs=25)
    along = np.subtract(b, a) / np.linalg.norm(np.subtract(b, a))
    off = found.position - np.array(a)
    off -= np.outer(off @ along, along)
    middle = np.linalg.norm(found.position - np.add(a, b) / 2, axis=1) < 900
    assert np.linalg.norm(off[middle], axis=1).max() < 50


def test_anisotropic_voxels():
    size, shape = (30.0, 40.0, 40.0), (80, 80, 80)
    found = teasar.skeleton(np.argwhere(tube((400, 400, 400), (2000, 2800, 2800), size, shape)), size, shape)
    assert found.length == pytest.approx(np.linalg.norm([1600, 2400, 2400]) + 2 * RADIUS, rel=0.03)


def test_a_y_has_one_fork_and_three_ends():
    middle = (1200, 1600, 1600)
    arms = [tube(middle, end) for end in ((1200, 1600, 400), (1200, 500, 2800), (1200, 2700, 2800))]
    found = skeleton(arms[0] | arms[1] | arms[2])
    assert ends_and_forks(found) == (3, 1, 1)
    fork = found.position[found.degree > 2][0]
    assert np.linalg.norm(fork - middle) < 2 * RADIUS
    assert found.length == pytest.approx(1200 + 2 * np.hypot(1100, 1200) + 3 * RADIUS, rel=0.08)


def test_a_ring_is_a_tree():
    at = np.moveaxis(np.indices(SHAPE), 0, -1) * 40.0 - [1200, 1600, 1600]
    ring = np.hypot(at[..., 0], np.hypot(at[..., 1], at[..., 2]) - 1000) < RADIUS
    found = skeleton(ring)
    assert len(found.edges) == len(found.parent) - 1  # connected, without a loop
    assert 0.85 * 2000 * np.pi < found.length < 2000 * np.pi + 2 * RADIUS


def test_two_pieces_are_two_trees_and_parents_come_first():
    found = skeleton(tube((400, 400, 400), (400, 400, 2800)) | tube((2000, 2800, 400), (2000, 2800, 2800)))
    assert ends_and_forks(found) == (4, 0, 2)
    assert (found.parent < np.arange(len(found.parent))).all()


def test_where_the_volume_ends_is_no_surface():
    mask = np.zeros((20, 20, 40), bool)
    mask[:5] = True  # a slab that the face z = 0 cuts
    found = teasar.skeleton(np.argwhere(mask), SIZE, mask.shape)
    assert found.radius.max() == pytest.approx(4.5 * 40)
    assert teasar.skeleton(np.argwhere(np.ones((4, 4, 4), bool)), SIZE, (4, 4, 4)).radius.min() > 0


def test_one_voxel_and_the_order_of_voxels():
    one = teasar.skeleton(np.array([[3, 4, 5]]), SIZE, SHAPE)
    assert one.position.tolist() == [[120, 160, 200]] and one.length == 0
    voxels = np.argwhere(tube((400, 400, 400), (2000, 2800, 2800)))
    found, again = (teasar.skeleton(v, SIZE, SHAPE) for v in (voxels, np.random.default_rng(1).permutation(voxels)))
    assert all(np.array_equal(a, b) for a, b in zip(found, again))
