"""The stack by the stage alone: where slices lie in it, and the four ways to mix them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill.core import slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import STEP, slice_store
from voxelmill.testing.stages import record_of, run_stage

DEEP, THICK = 6, 4  # planes: two are seen by both neighbours
LEVELS = {1: 0.2, 2: 0.8, 4: 0.4}


def stacked(folder: Path, **flags: Any) -> np.ndarray:
    """(z,) grey along depth."""
    stores = [slice_store(folder, n, np.full((DEEP, 40, 40), v)) for n, v in LEVELS.items()]
    config = slice_config.of(LEVELS)
    slice_config.write(folder / "c.csv", config.stamped(flags.pop("config", {})))
    given = {"volumes": stores, "config": "c.csv", "output": "out.ome.zarr", "picture": "p.png", "name": "sub-01"}
    more = {"registration_slicing_interval_mm": THICK * STEP, "moving_slice_first_index": 0, **flags}
    grid = {"chunk": "8,32,32", "shard": "8,32,32"}
    assert run_stage("serving.stack_motor_only", folder, **given, **more, **grid) == 0
    values = open_image(folder / "out.ome.zarr").read()
    assert np.ptp(values, axis=(1, 2)).max() < 1e-6 and (folder / "p.png").stat().st_size > 1000
    return values[:, 20, 20]


@pytest.mark.parametrize(
    "how, shared",
    [("none", 0.8), ("average", 0.5), ("max", 0.8), ("feather", None)],
    ids=["none", "average", "max", "feather"],
)
def test_where_slices_overlap(how: str, shared: float | None, tmp_path: Path) -> None:
    z = stacked(tmp_path, motor_only_stack_blending=how)
    alone = [0.2] * 4 + [0.8] * 4  # then what 2 shows below, and the gap that 3 leaves
    assert len(z) == 3 * THICK + DEEP
    assert np.allclose(z[:4], alone[:4]) and np.allclose(z[6:10], 0.8) and np.allclose(z[10:12], 0)
    assert np.allclose(z[12:], 0.4)
    if shared is None:
        assert 0.2 < z[4] < z[5] < 0.8
    else:
        assert np.allclose(z[4:6], shared)


def test_excluded_slices_stay_out(tmp_path: Path) -> None:
    z = stacked(tmp_path, config={2: {"auto_excluded": True}})
    assert np.allclose(z[:6], 0.2) and np.allclose(z[6:12], 0)
    assert record_of(tmp_path, "stack_motor_only")["quality"]["slices"] == 2
