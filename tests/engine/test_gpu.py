"""GPU and CPU agree: integers exactly, float32 within 1e-6; skipped where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.device import choose, gpu_name
from voxelmill.serving.pyramid import mean
from voxelmill.transform.resampling import along_axes, weights

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy():
    if not gpu_name():
        pytest.skip("no GPU that CuPy can use")
    return choose(True)[0]


@pytest.mark.parametrize("dtype, tolerance", [("uint8", 0), ("uint16", 0), ("float32", 1e-6)])
@pytest.mark.parametrize("step", [(1, 2, 2), (2, 2, 2)])
def test_level_means_agree(cupy, dtype: str, tolerance: float, step: tuple[int, int, int]) -> None:
    values = (np.random.default_rng(1).random((17, 65, 66)) * 200).astype(dtype)
    here, there = mean(values, step), mean(values, step, cupy)
    assert here.dtype == there.dtype
    np.testing.assert_allclose(there, here, rtol=tolerance, atol=0)


def test_resampled_tiles_agree(cupy) -> None:
    tile = np.random.default_rng(1).random((20, 64, 60)).astype(np.float32) + 1
    matrices = [weights(n, n * 2 // 3, 1.5) for n in tile.shape]
    np.testing.assert_allclose(along_axes(tile, matrices, cupy), along_axes(tile, matrices), rtol=1e-5)


def test_memory_is_bounded_by_the_block(cupy) -> None:
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    values = np.ones((32, 512, 512), np.float32)
    mean(values, (2, 2, 2), cupy)
    assert pool.total_bytes() < 6 * values.nbytes


def test_without_use_gpu_it_is_the_cpu() -> None:
    assert choose(False) == (np, "cpu")
