"""Analyze shifts: outliers by fences, drift as the places say, a table without them."""

from __future__ import annotations

import numpy as np
from voxelmill.core import shifts
from voxelmill.core.shifts import Shift
from voxelmill.serving.analyze_shifts import outliers
from voxelmill.testing.stages import record_of, run_stage


def analyze(folder, table):
    shifts.write(folder / "shifts_xy.csv", table, (0.01, 0.01))
    assert run_stage("serving.analyze_shifts", folder, shifts_xy="shifts_xy.csv", output="found", figure_dpi=80) == 0
    return (folder / "found/shifts_analysis.txt").read_text()


def test_outliers_and_drift(tmp_path):
    steps = np.random.default_rng(1).normal(0, 0.02, (12, 2))
    steps[7] = (0.9, 0.0)
    table = [Shift(k, k + 1, float(x), float(y), k != 3) for k, (x, y) in enumerate(steps)]
    said = analyze(tmp_path, table)
    assert "outliers (beyond 1.5 interquartile ranges): 1\n  z07 to z08: x 0.9000" in said
    assert "unreliable (the number of tiles changed): 1\n  z03 to z04" in said
    assert f"drift: {np.linalg.norm(steps.sum(0)):.4f} from the first" in said
    kept = shifts.read(tmp_path / "found/shifts_xy_filtered.csv")
    assert np.isclose(kept[7].x, np.median(np.delete(steps[:, 0], 7)), atol=1e-6) and np.isclose(
        kept[2].x, steps[2, 0], atol=1e-6
    )
    assert record_of(tmp_path, "analyze_shifts")["quality"] == {"outliers": 1, "rows": 12, "unreliable": 1}
    assert (tmp_path / "found/drift.png").stat().st_size > 5000


def test_few_steps_and_none(tmp_path):
    assert not outliers(np.array([[0, 0], [9, 9], [0, 0]])).any()
    (tmp_path / "none").mkdir()
    assert "0 steps" in analyze(tmp_path / "none", [])
    assert "outliers (beyond 1.5 interquartile ranges): 0" in analyze(tmp_path, [Shift(0, 1, 0.1, 0.1)])
