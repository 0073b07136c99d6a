"""Which levels there are, and how they are divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import plans
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.testing.subject import stack


def planned(folder: Path, store: Path, **flags: object) -> tuple[list[float], list[str]]:
    """Sizes in um, and the blocks."""
    assert run_stage("serving.plan_levels", folder, volume=store, block_list="levels.csv", **flags) == 0
    return record_of(folder, "plan_levels")["quality"]["levels_um"], [
        row["block"] for row in plans.read(folder / "levels.csv")
    ]


def test_levels_by_size_and_by_number(tmp_path: Path):
    coarse = stack(tmp_path, np.zeros((20, 20, 20)), (0.025,) * 3)
    assert planned(tmp_path / "a", coarse) == ([25, 50, 100], [])
    assert planned(tmp_path / "b", coarse, pyramid_n_levels=2) == ([25, 50], [])
    assert planned(tmp_path / "c", coarse, pyramid_resolutions="200,30") == ([25, 30, 200], [])


def test_a_large_stack_is_divided(tmp_path: Path):
    store = stack(tmp_path, np.zeros((40, 70, 90)))
    sizes, blocks = planned(tmp_path, store, block_voxels=5000)  # 252 000 voxels, 40 000 a task
    assert sizes == pytest.approx([10, 25, 50, 100]) and blocks == ["1.0-0", "1.1-1", "2.0-0", "3.0-0"]
