"""The scale model of `reconstruct`: it goes with what it should, says what breaks, and its figures are measured ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from voxelmill.cli import main
from voxelmill.core.errors import DataError
from voxelmill.scaling import Cost
from voxelmill.scaling_slices import (
    BLOCK,
    ORDER,
    PX,
    Brain,
    disk_gb,
    levels_made,
    limits,
    load,
    predict,
    report,
    tasks_in,
    tasks_of,
)

STAGES = load()
FINE = Brain(resolution_um=(1.36, 3.0))


def test_every_stage_that_grows_was_measured() -> None:
    assert set(STAGES) == set(ORDER)
    assert all(s.cpu_s.slope >= 0 and s.cpu_s.fixed >= 0 for s in STAGES.values())
    assert STAGES["prepare_slice"].cpu_s.slope > 0 and STAGES["stack"].cpu_s.slope > 0


def test_sizes_are_those_of_the_geometry() -> None:
    brain = Brain()
    assert brain.slice == pytest.approx(60) and brain.volume == pytest.approx(2000)
    assert FINE.slice == pytest.approx(600 / 1.36 * 100 / 9) and FINE.raw == pytest.approx(FINE.slice / 0.64)


def test_tasks_are_those_of_the_workflow() -> None:
    assert [tasks_of(stage, Brain()) for stage in ORDER] == [100, 100, 197, 63, 24, 1, 1, 69]
    assert tasks_of("make_levels", Brain(slices=10)) == 0  # a small volume's levels are made as it is published
    assert levels_made(Brain()) == 3 and levels_made(FINE) == 4
    assert tasks_of("stack", FINE) < FINE.volume * 1e6 / BLOCK  # blocks grow beyond 256 of them
    assert tasks_of("register_pairwise", Brain(slices=1)) == 1


def test_nodes_divide_the_time_and_not_the_work() -> None:
    one, many = (predict(FINE, nodes, 32, STAGES) for nodes in (1, 8))
    assert sum(c.cpu_h for c in one) == pytest.approx(sum(c.cpu_h for c in many))
    assert sum(c.wall_h for c in many) < sum(c.wall_h for c in one)
    assert hours(many, "zip_volume") == pytest.approx(hours(one, "zip_volume"))  # of a single task


def hours(costs: list[Cost], stage: str) -> float:
    return next(c.wall_h for c in costs if c.stage == stage)


def test_disk_holds_what_tasks_write_and_what_is_published_but_not_what_was_not_asked_for() -> None:
    costs = predict(FINE, 1, 32, STAGES)
    written = sum(c.written_gb for c in costs if c.stage != "correct_bias_field")
    assert written < disk_gb(costs) < 2 * written
    assert disk_gb([c for c in costs if c.stage != "correct_bias_field"]) == disk_gb(costs)


def test_twice_the_slices_are_twice_the_work() -> None:
    one, two = (predict(Brain(slices=n), 1, 32, STAGES) for n in (100, 200))
    assert two[0].cpu_h == pytest.approx(2 * one[0].cpu_h) and two[0].task_gb == one[0].task_gb


def test_raw_voxels_are_read_at_their_own_resolution() -> None:
    coarse = Brain(raw_um=(10.0, 10.0), overlap=0.0)
    assert predict(Brain(), 1, 1, STAGES)[0].cpu_h > predict(coarse, 1, 1, STAGES)[0].cpu_h


def test_preparing_a_slice_holds_a_tile_and_not_the_plane() -> None:
    small, large, wide = (
        predict(replace(FINE, **more), 1, 1, STAGES)[0].task_gb for more in ({"tile_mm": 0.6}, {}, {"plane_mm": 20.0})
    )
    assert small < large == wide < 2


def test_it_says_what_breaks_or_would_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--workflow", "reconstruct"]) == 0
    said = capsys.readouterr().out
    assert "100 slices" in said and "nothing breaks; nearest to its limit is" in said and "first to break is disk" in said
    assert main(["scale", "--workflow", "reconstruct", "--slices", "100000", "--resolution_um", "1.36", "3"]) == 0
    assert "BREAKS" in capsys.readouterr().out
    costs = predict(FINE, 1, 32, STAGES)
    heavy = [replace(c, task_gb=1e3) for c in costs]
    assert sum(v > most for _, v, most, _ in limits(FINE, heavy)) >= len(costs)
    assert report(FINE, 1, 32, STAGES)


def test_tasks_of_a_run_are_those_of_its_records(tmp_path: Path) -> None:
    """What was left out before it had a depth tells nothing; a folder of something else is named."""
    with pytest.raises(DataError, match="no records of plan_stack and prepare_slice"):
        list(tasks_in(tmp_path))
    (tmp_path / "provenance").mkdir()
    plan = {"shape": [50, 200, 100], "slices": 2}
    rows = [("prepare_slice", {}), ("prepare_slice", {"depth_um": 300.0, "tile_mvoxel": 0.5}), ("plan_stack", plan)]
    for n, (stage, quality) in enumerate(rows):
        record = {"stage": stage, "quality": quality}
        (tmp_path / f"provenance/{n}.provenance.json").write_text(json.dumps(record))
    assert [row[:2] for row in tasks_in(tmp_path)] == [pytest.approx((0.6, 0.5 + PX * 0.02))] * 2
    (tmp_path / "provenance/1.provenance.json").write_text(
        json.dumps({"stage": "prepare_slice", "quality": {"depth_um": 300}})
    )
    with pytest.raises(DataError, match="lack tile_mvoxel"):
        list(tasks_in(tmp_path))
