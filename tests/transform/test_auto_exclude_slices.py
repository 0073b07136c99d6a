"""Auto exclude slices: runs of pairs that fit badly."""

from __future__ import annotations

from voxelmill.testing.slices import pair
from voxelmill.transform.auto_exclude_slices import Parameters as Exclusion
from voxelmill.transform.auto_exclude_slices import excluded


def test_runs_of_bad_pairs_are_left_out():
    bad = [pair(k, k + 1, z_correlation=0.9 if k in (0, 5) else 0.1) for k in range(6)]
    assert set(excluded(Exclusion(), bad)) == {2, 3, 4}
    assert not excluded(Exclusion(auto_exclude_consecutive=5), bad)
    assert not excluded(Exclusion(auto_exclude_z_corr=0.05), bad)
