"""Basins, components, holes and sizes on frames small enough to check by eye."""

import numpy as np
import pytest
from voxelmill.inference.cell_basins import apart, basins, components, fill_holes, keep_sizes


def grid(*rows: str) -> np.ndarray:
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def test_pixels_follow_the_steepest_ascent_to_their_marker():
    height = grid("1543234501").astype(np.float32)
    markers = grid("0100000200")
    assert basins(height, markers, height > 0).tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 0, 3]]


def test_a_summit_without_a_marker_joins_the_basin_beside_it():
    height = grid("9123212").astype(np.float32)
    assert basins(height, grid("1000000"), height > 0).tolist() == [[1] * 7]


def test_parts_of_the_mask_without_a_marker_become_objects():
    mask = grid("110011")
    assert basins(mask.astype(np.float32), grid("500000"), mask).tolist() == [[5, 5, 0, 0, 6, 6]]


def test_markers_outside_the_mask_are_ignored():
    assert basins(np.ones((1, 3), np.float32), grid("700"), grid("011")).tolist() == [[0, 1, 1]]


def test_every_pixel_of_the_mask_gets_a_label_and_no_other():
    rng = np.random.default_rng(0)
    height = rng.random((50, 41)).astype(np.float32)
    mask = height > 0.2
    _, markers = components(height > 0.9)
    assert np.array_equal(basins(height, markers, mask) > 0, mask)


def test_an_empty_mask_has_no_basins():
    nothing = np.zeros((4, 5), np.int32)
    assert not basins(nothing.astype(np.float32), nothing, nothing).any()


def test_components_do_not_touch_by_corners():
    n, labels = components(grid("110", "001"))
    assert (n, labels.tolist()) == (2, [[1, 1, 0], [0, 0, 2]])


@pytest.mark.parametrize(
    ("frame", "filled"),
    [
        (("01110", "01010", "01110"), ("01110", "01110", "01110")),
        (("010", "101", "010"), ("010", "111", "010")),
        (("111", "101", "101"), ("111", "101", "101")),  # open to the border: no hole
        (("11", "11"), ("11", "11")),
    ],
)
def test_holes_are_filled_unless_they_reach_the_border(frame, filled):
    assert fill_holes(grid(*frame).astype(np.uint8)).tolist() == grid(*filled).tolist()


def test_sizes_are_inclusive_and_ids_are_numbered_anew():
    labels = grid("1220333", "0000333")
    assert keep_sizes(labels, 2, 5).tolist() == grid("0110000", "0000000").tolist()
    assert keep_sizes(labels, 1, 6).tolist() == labels.tolist()
    assert keep_sizes(labels, 3, 6).tolist() == grid("0000111", "0000111").tolist()


def test_pieces_that_are_apart_are_objects_of_their_own_and_specks_none():
    labels = np.zeros((20, 40), np.int32)
    labels[2:10, 2:12] = 1
    labels[2:8, 20:28] = 1  # a daughter
    labels[15, 5] = 1  # a speck
    labels[2:10, 12:16] = 2  # touches the first
    found = apart(labels)
    assert sorted(np.bincount(found.ravel())[1:].tolist()) == [32, 48, 80] and found[15, 5] == 0
    assert len(set(np.unique(found[2:8, 20:28])) | set(np.unique(found[2:10, 2:12]))) == 2
    whole = np.where(labels == 2, 2, 0).astype(np.int32)
    assert apart(whole) is whole
