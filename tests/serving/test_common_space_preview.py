"""Common-space preview: grey where neighbours agree, coloured where one has moved; dim 1 runs down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread
from voxelmill.testing.slices import slice_store, texture
from voxelmill.testing.stages import run_stage


def test_each_slice_over_the_one_before(tmp_path: Path) -> None:
    block = texture((4, 60, 80))
    moved = np.roll(block, 6, axis=1)  # along dim 1
    stores = [slice_store(tmp_path, n, values) for n, values in ((100, moved), (98, block), (99, block))]
    assert run_stage("serving.common_space_preview", tmp_path, volumes=stores, output="drawn") == 0
    first, second, third = (imread(tmp_path / f"drawn/slice_z{n}.png")[..., :3] for n in (98, 99, 100))
    assert first.shape == (60, 80, 3) and np.array_equal(first, second) and np.ptp(first, axis=2).max() == 0
    assert np.array_equal(third[..., 0], first[..., 0])  # red: the one before
    assert np.allclose(third[10:, :, 1], first[4:-6, :, 1], atol=0.02)  # further down
    assert np.ptp(third, axis=2).max() > 0.2
