"""Expected run length: exact on made skeletons; bars through a volume."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.space import Space
from voxelmill.postprocess import run_length
from voxelmill.postprocess.run_length import Skeletons, runs


def lines(*counts: int) -> Skeletons:
    """Neurites 1, 2, ... as straight lines of so many edges, each 10 long."""
    of = np.concatenate([np.full(n + 1, k) for k, n in enumerate(counts, 1)])
    inner = np.flatnonzero(of[1:] == of[:-1])
    return Skeletons(of, np.zeros((len(of), 3), np.int64), np.stack([inner, inner + 1], 1), np.full(len(inner), 10.0))


@pytest.mark.parametrize(
    "found, each, expected",
    [
        ([7] * 6 + [8] * 3, [50, 20], (50 * 50 + 20 * 20) / 70),  # no fault: as the truth
        ([7, 7, 7, 9, 9, 9] + [8] * 3, [(20 * 20 + 20 * 20) / 50, 20], (2 * 20 * 20 + 20 * 20) / 70),  # split in the middle
        ([7] * 6 + [7] * 3, [0, 0], 0),  # one segment along both
        ([7, 7, 7, 8, 8, 8] + [8] * 3, [20 * 20 / 50, 0], 20 * 20 / 70),  # half of the first is lost to the merger
        ([7] * 6 + [8, 7, 8], [50, 0], 50 * 50 / 70),  # one node alone makes no merger
        ([7, 7, 0, 7, 7, 7] + [0] * 3, [(10 + 20) ** 2 / 50, 0], 900 / 70),  # a hole, and none found
    ],
)
def test_runs_of_lines(found: list[int], each: list[float], expected: float):
    made = runs(lines(5, 2), np.array(found))
    assert made.neurite.tolist() == [1, 2] and made.length.tolist() == [50, 20]
    assert made.run == pytest.approx(each) and made.expected == pytest.approx(expected)
    assert made.longest == pytest.approx((50 * 50 + 20 * 20) / 70)


def test_a_short_touch_makes_no_merger():
    found = np.array([7, 7, 7, 7, 7, 8, 8, 8, 9])  # 8 runs 10 along the second, and nowhere else
    found[4] = 8  # now 10 along both
    assert runs(lines(5, 2), found).run == pytest.approx([30 * 30 / 50, 0])
    assert runs(lines(5, 2), found, least=15).run == pytest.approx([(30 * 30 + 10 * 10) / 50, 10 * 10 / 20])


def test_no_skeleton_no_length():
    made = runs(lines(0, 0), np.array([4, 5]))
    assert made.expected == made.longest == 0 and not len(made.neurite)


def test_parts_of_a_volume_give_one_skeleton(tmp_path):
    """A bar of 1600 nm in two halves that do not meet at a whole step; nodes lie in the object."""
    values = np.zeros((12, 40, 170), np.uint32)
    values[3:9, 10:30, 5:165] = 6
    space, step = Space.zyx((10.0, 10.0, 10.0)), (4, 4, 4)
    assert run_length.step_of(space, values.shape) == step
    whole = run_length.skeletons([run_length.sampled(values, (0, 0, 0), step)], step, space, values.shape)
    parts = [run_length.sampled(values[:, :, s], (0, 0, s.start), step) for s in (slice(0, 83), slice(83, 170))]
    halves = run_length.skeletons(parts, step, space, values.shape)
    assert all(np.array_equal(np.sort(a, 0), np.sort(b, 0)) for a, b in zip(whole, halves))
    assert (values[tuple(whole.voxel.T)] == 6).all() and (whole.neurite == 6).all()
    assert whole.length.sum() == pytest.approx(1600, rel=0.05)
    half = runs(whole, np.where(whole.voxel[:, 2] < 85, 1, 2))
    assert half.expected == pytest.approx(800, rel=0.06)


def test_a_large_object_is_sampled_coarser(monkeypatch):
    values = np.zeros((16, 32, 200), np.uint32)
    values[4:12, 8:24, 10:190] = 3
    monkeypatch.setattr(run_length, "MOST_OF_ONE", 300)
    step, space = (2, 2, 2), Space.zyx((20.0, 20.0, 20.0))
    made = run_length.skeletons([run_length.sampled(values, (0, 0, 0), step)], step, space, values.shape)
    assert (values[tuple(made.voxel.T)] == 3).all() and made.length.sum() == pytest.approx(3600, rel=0.1)
    monkeypatch.setattr(run_length, "MOST_VOXELS", 1000)
    assert run_length.step_of(space, (100, 100, 100)) == (16, 16, 16)
