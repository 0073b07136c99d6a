"""Rehoming: every planted event is found, no other; other slices stay where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill.core import shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.rehoming import round_trips, without_tiles

OUT = {"clean": "shifts_xy_clean.csv", "stamped": "slice_config_rehomed.csv"}


def drifting(n: int, seed: int, planted: dict[int, tuple[float, float]]) -> tuple[np.ndarray, list[Shift]]:
    """True places of n slices, and the table of a stage that is off by what is planted."""
    true = np.cumsum(np.random.default_rng(seed).normal(0, 0.08, (n, 2)), axis=0)
    said = true.copy()
    for k, off in planted.items():
        said[k] += off
    return true, [Shift(k, k + 1, *(said[k] - said[k + 1]).tolist()) for k in range(n - 1)]


def detect(folder: Path, table: list[Shift], **more: Any) -> int:
    shifts.write(folder / "shifts_xy.csv", table, (0.01, 0.01))
    slice_config.write(folder / "slice_config.csv", slice_config.of({s.fixed for s in table} | {s.moving for s in table}))
    return run_stage(
        "transform.detect_rehoming_events", folder, shifts_xy="shifts_xy.csv", config="slice_config.csv", **OUT, **more
    )


def rehomed(folder: Path) -> list[int]:
    known = slice_config.read(folder / OUT["stamped"])
    return [n for n in sorted(known.rows) if known.flag(n, "rehomed")]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("planted", [{}, {5: (1.2, -0.4)}, {3: (0.0, 0.9), 9: (-3.0, 2.0)}, {4: (1.0, 0.0), 7: (1.0, 0.2)}])
def test_every_planted_glitch_is_found_and_no_other(tmp_path, seed, planted):
    true, table = drifting(14, seed, planted)
    assert detect(tmp_path, table) == 0
    assert rehomed(tmp_path) == sorted(planted)
    places = shifts.places(shifts.read(tmp_path / OUT["clean"]))
    for n, at in places.items():
        off = np.linalg.norm(np.array(at) - (true[n] - true[0]))
        assert off < (0.2 if n in planted else 1e-5), n


def test_a_long_step_that_is_not_taken_back_is_kept_and_said(tmp_path):
    _, table = drifting(8, 1, {})
    table[3] = table[3]._replace(x=-2.0)
    assert detect(tmp_path, table) == 0
    assert rehomed(tmp_path) == [] and shifts.read(tmp_path / OUT["clean"])[3].x == -2.0
    assert not slice_config.read(tmp_path / OUT["stamped"]).flag(4, "rehoming_reliable")
    assert record_of(tmp_path, "detect_rehoming_events")["quality"]["notes"][0].startswith("z04: long step of 2")


def test_whole_tiles_are_taken_off_each_axis(tmp_path):
    true, table = drifting(8, 2, {})
    table[2] = table[2]._replace(x=table[2].x + 2 * 3.0)
    table[5] = table[5]._replace(y=table[5].y - 3.0)
    assert detect(tmp_path, table, tile_fov_mm=3.0) == 0
    assert rehomed(tmp_path) == [3, 6]
    places = shifts.places(shifts.read(tmp_path / OUT["clean"]))
    assert np.allclose([places[n] for n in range(8)], true - true[0], atol=1e-5)


def test_thresholds():
    steps = np.array([[0.1, 0], [1.0, 0], [-0.7, 0], [0.1, 0]])
    assert round_trips(steps, 0.5, 0.5).tolist() == [1] and round_trips(steps, 0.5, 0.3).tolist() == []
    assert round_trips(steps, 1.5, 0.5).tolist() == []
    after, jumped = without_tiles(np.array([[2.9, 0.1]]), 3.0, 0.05)
    assert jumped.tolist() == [[True, False]] and np.allclose(after, [[-0.1, 0.1]])
    assert not without_tiles(np.array([[2.8, 0.1]]), 3.0, 0.05)[1].any()


def test_diagnostics(tmp_path):
    _, table = drifting(9, 3, {4: (1.0, 1.0)})
    files = {"report": "rehoming_report.json", "plot": "rehoming_plot.png"}
    assert detect(tmp_path, table, rehoming_diagnostics=True, **files) == 0
    (event,) = json.loads((tmp_path / "rehoming_report.json").read_text())["events"]
    assert event["slice"] == 4 and event["kind"] == "round trip" and 1.2 < event["step_mm"] < 1.6
    assert (tmp_path / "rehoming_plot.png").stat().st_size > 5000


def test_one_slice_has_no_steps(tmp_path):
    shifts.write(tmp_path / "shifts_xy.csv", [], (1, 1))
    slice_config.write(tmp_path / "slice_config.csv", slice_config.of([3]))
    files = {"shifts_xy": "shifts_xy.csv", "config": "slice_config.csv"}
    assert run_stage("transform.detect_rehoming_events", tmp_path, **files, **OUT) == 0
    assert shifts.read(tmp_path / OUT["clean"]) == []
