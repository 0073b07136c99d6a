"""Resampling: means where coarser, linear where finer, nothing where the voxel size is right already."""

import numpy as np
import pytest
from voxelmill.transform.resampling import along_axes, sizes_at, weights


def test_sizes():
    assert sizes_at(-1, (5, 6, 7), (1.36, 2, 2)) == ((5, 6, 7), [1, 1, 1])
    assert sizes_at(10, (5, 6, 7), (10, 10.004, 10)) == ((5, 6, 7), [1, 1, 1])
    assert sizes_at(10, (5, 6, 7), (10, 10.006, 10))[1] == pytest.approx([1, 10 / 10.006, 1])
    size, steps = sizes_at(4, (10, 7, 6), (2, 4, 8))
    assert size == (5, 7, 12) and steps == [2, 1, 0.5]


@pytest.mark.parametrize("step, m", [(2, 5), (2.5, 4), (1, 10), (0.5, 20), (3, 3)])
def test_constants_and_ramps_stay(step: float, m: int):
    matrix = weights(10, m, step)
    assert np.allclose(matrix.sum(1), 1)
    middles = (np.arange(m) + 0.5) * step - 0.5
    assert np.allclose(matrix @ np.arange(10), middles.clip(0, 9), atol=0.06 if step == 2.5 else 1e-5)


def test_a_box_is_the_means_of_its_cells():
    box = np.random.default_rng(0).random((4, 6, 8), np.float32)
    made = along_axes(box, [weights(n, n // 2, 2) for n in box.shape])
    assert np.allclose(made, box.reshape(2, 2, 3, 2, 4, 2).mean((1, 3, 5)), atol=1e-6) and made.dtype == np.float32
