"""What agglomeration can reach at most on given supervoxels, as `benchmarks/neurites.py --bounds` says it."""

from __future__ import annotations

import sys

import numpy as np
from voxelmill.testing.engine import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))
import neurites


def test_supervoxels_go_to_the_neurite_that_most_of_each_is() -> None:
    """Neurite 7 comes into the crop twice; a supervoxel of it reaches a voxel far into 9."""
    truth = np.array([[[7, 7, 7, 9, 9, 9, 0, 7, 7]]])
    supervoxels = np.array([[[1, 1, 2, 2, 3, 3, 4, 5, 5]]], np.uint64) + np.uint64(2**40)
    supervoxels[0, 0, 2:4] = supervoxels[0, 0, 1]  # three voxels of 7, one of 9
    found = neurites.bounds(truth, supervoxels)
    np.testing.assert_array_equal(found["truth"], [[[1, 1, 1, 2, 2, 2, 0, 3, 3]]])
    np.testing.assert_array_equal(found["supervoxels"], [[[1, 1, 1, 1, 2, 2, 0, 3, 3]]])


def test_a_crop_without_background() -> None:
    truth = np.array([[[4, 4, 6, 6]]])
    found = neurites.bounds(truth, np.array([[[1, 2, 3, 0]]]))
    np.testing.assert_array_equal(found["truth"], [[[1, 1, 2, 2]]])
    np.testing.assert_array_equal(found["supervoxels"], [[[1, 1, 2, 0]]])
