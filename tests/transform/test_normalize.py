"""Normalization: planes from agarose to their brightest; 0 stays what was not acquired; percentiles by level counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.transform.slice_statistics import Levels


def test_planes_from_agarose_to_the_brightest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(9, 11, (3, 64, 64)).astype(np.float32)
    raw[:, :, 32:] = rng.uniform(80, 120, (3, 64, 32))
    raw[1] *= 0.5
    raw[:, :4] = 0
    store = make_store(tmp_path / "in.ome.zarr", raw)
    assert run_stage("transform.normalize", tmp_path, volume=store, slice="0", output="o.ome.zarr") == 0
    made = open_image(tmp_path / "o.ome.zarr").read()
    assert np.array_equal(made == 0, raw == 0)
    assert made[:, 4:, :32].mean() < 0.02 and np.allclose(made[:, 4:, 32:].mean((1, 2)), 0.82, atol=0.03)
    assert np.allclose(made[0, 4:, 40:].mean(), made[1, 4:, 40:].mean(), atol=0.02)


def test_percentiles_to_a_percent() -> None:
    values = np.random.default_rng(1).gamma(2, 50, (2, 200, 200)).astype(np.float32)
    levels = Levels(2)
    levels.add(values)
    for q in (5, 50, 99):
        assert np.allclose(levels.percentile(q), np.percentile(values, q, axis=(1, 2)), rtol=0.01)
