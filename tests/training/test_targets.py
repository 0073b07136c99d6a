"""Fields made from labels small enough to check by hand."""

import numpy as np
from voxelmill.training import targets


def grid(*rows: str) -> np.ndarray:
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def test_the_way_to_the_middle_stays_inside_the_cell():
    u = grid("1000001", "1000001", "1111111")
    way = targets.way_to_middle(u)
    assert np.isinf(way[u == 0]).all()
    assert way[2, 3] == 0  # thickness is the same everywhere, so the middle is nearest to the centre of mass
    assert way[0, 0] == way[0, 6] == np.float32(2 + 1 + np.sqrt(2))
    flow = targets.flow(u, way)
    np.testing.assert_allclose(flow[:, 2, 2], [0, 1], atol=1e-6)  # along the arm, to the right
    np.testing.assert_allclose(flow[:, 0, 0], [1, 0], atol=1e-6)  # down the leg
    assert (flow[:, u == 0] == 0).all()


def test_neighbours_do_not_draw_at_each_other():
    two = grid("111222", "111222", "111222")
    way = targets.way_to_middle(two)
    assert (way == 0).sum() == 2
    flow = targets.flow(two, way)
    assert flow[1, 1, 2] < 0 < flow[1, 1, 3]
    assert targets.seams(two, 1).tolist() == [[False, False, True, True, False, False]] * 3
    assert not targets.seams(grid("110022"), 1).any()


def test_a_part_that_hangs_together_with_nothing_has_no_way():
    apart = grid("1110001", "1110000")
    way = targets.way_to_middle(apart)
    assert np.isinf(way[0, 6]) and np.isfinite(way[:, :3]).all()
    assert np.isfinite(targets.flow(apart, way)).all()


def test_width_is_of_the_largest_circle_inside():
    disk = (np.hypot(*np.mgrid[-20:21, -20:21]) <= 10).astype(np.int32)
    assert abs(targets.width(disk) - 20) < 1
    assert targets.width(np.zeros((5, 5), np.int32)) == 0
    assert targets.centrality(disk).max() == 1


def test_affinities_compare_with_the_voxel_at_the_offset():
    labels = np.zeros((2, 1, 4), np.int32)
    labels[0, 0], labels[1, 0] = [1, 1, 2, 0], [1, 3, 2, 0]
    same, known = targets.affinities(labels, ((-1, 0, 0), (0, 0, -1), (0, 0, -5)))
    assert not known[0, 0].any() and known[0, 1].all() and not known[2].any()
    assert same[0, 1, 0].tolist() == [True, False, True, False]  # 0 is not an object
    assert same[1, 0, 0].tolist() == [False, True, False, False]


def test_membranes_are_taken_out_of_each_section_alone():
    labels = np.stack([grid("111222"), grid("111111")]).astype(np.int32)
    assert targets.thinned(labels)[:, 0].tolist() == [[1, 1, 0, 0, 2, 2], [1, 1, 1, 1, 1, 1]]


def test_descriptors_of_a_slab():
    """Far from its ends a slab's centre is at the voxel, its spread that of the window cut at its faces."""
    labels = np.zeros((9, 64, 64), np.int32)
    labels[:, 24:40] = 5
    shape, there = targets.descriptors(labels, (2.0, 6.0, 6.0))
    assert shape.shape == (10, 9, 16, 16) and there.sum() == 9 * 4 * 16
    middle = shape[:, 4, 6:10, 8]
    np.testing.assert_allclose(middle[2], 0, atol=0.02)  # x: endless
    assert middle[1, 0] > 0 > middle[1, 3]  # y: towards the middle of the slab
    assert (middle[5] > middle[4]).all()  # wider along x than across
    assert (shape[:, ~there] == 0).all() and 0 < shape[9].max() <= 1
    assert (targets.descriptors(labels * 0, (2.0, 6.0, 6.0))[0] == 0).all()
