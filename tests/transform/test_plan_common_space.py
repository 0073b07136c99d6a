"""Common space: signs and axes against what a stage says, whole pixels, what is left, gaps, excluded slices, gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core import plans, shifts, slice_config, slices
from voxelmill.core.shifts import Shift
from voxelmill.testing.slices import STEP, slice_store, texture
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.common_space import CommonSpace, Extent, gaps, plan, replaced
from voxelmill.transform.plan_common_space import LOST

FILES = {
    "common_space": "common_space.json",
    "offsets": "common_space.csv",
    "stamped": "stamped.csv",
    "slice_list": "slices.csv",
    "gap_list": "gaps.csv",
}


def plan_stage(folder: Path, stores: dict[int, Path], table: list[Shift], config: Any = None, **more: Any) -> int:
    shifts.write(folder / "s.csv", table, (STEP, STEP))
    slice_config.write(folder / "c.csv", config or slice_config.of(stores))
    files = {"volumes": list(stores.values()), "shifts_xy": "s.csv", "config": "c.csv", **FILES}
    return run_stage("transform.plan_common_space", folder, **files, **more)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=1, max_size=6))
def test_no_place_is_lost(corners):
    """Its corner on the canvas and its origin give back where a slice lies; half a pixel at most is left."""
    extents = {2 * k: Extent((10, 12), (0.0, 0.0)) for k in range(len(corners))}
    places = {2 * k: tuple(v * STEP for v in at) for k, at in enumerate(corners)}
    made = plan(extents, places, (STEP, STEP))
    origins = np.array([made.slices[n].origin for n in extents])
    for n, placed in made.slices.items():
        assert np.allclose(np.array(placed.origin) + np.array(placed.corner) * STEP, np.subtract(places[n], places[0]))
        assert np.all(np.abs(np.array(placed.origin) - origins.mean(0)) <= STEP * 1.001)
        assert np.all(np.add(placed.corner, (10, 12)) <= made.shape) and min(placed.corner) >= 0
    assert min(p.corner[0] for p in made.slices.values()) == min(p.corner[1] for p in made.slices.values()) == 0
    assert max(p.corner[0] for p in made.slices.values()) + 10 == made.shape[0]


def test_gaps_are_by_number():
    assert gaps([1, 2, 3]) == [] and gaps([]) == [] and gaps([98]) == []
    assert [g.missing for g in gaps([98, 99, 101, 104])] == [(100,), (102, 103)]


def test_one_gap_is_a_task_and_a_wider_one_a_hole(tmp_path):
    stores = {n: slice_store(tmp_path, n, texture((4, 20, 20))) for n in (98, 100, 103)}
    table = [Shift(98, 100, 0, 0), Shift(100, 103, 0, 0)]
    assert plan_stage(tmp_path, stores, table) == 0
    assert plans.read(tmp_path / "gaps.csv") == [{"id": "z99", "slice": "99", "before": "z98", "after": "z100"}]
    quality = record_of(tmp_path, "plan_common_space")["quality"]
    assert quality["missing"] == [99, 101, 102] and quality["notes"] == ["z101 to z102 are missing: such a gap stays"]


@pytest.mark.parametrize("strict", [False, True])
def test_a_slice_of_which_nothing_came_is_named(tmp_path, strict):
    """It was begun and is not there: out of the configuration, in the record, an error under --strict. Of slices that were
    not begun nothing is said."""
    stores = {n: slice_store(tmp_path, n, texture((4, 20, 20))) for n in (1, 3)}
    table = [Shift(n, n + 1, STEP, 0) for n in range(1, 5)]
    plans.write(tmp_path / "begun.csv", slices.tasks([1, 2, 3]))
    code = plan_stage(tmp_path, stores, table, slice_config.of(range(1, 6)), listed="begun.csv", strict=strict)
    assert code == (65 if strict else 0)
    if not strict:
        made = slice_config.read(tmp_path / "stamped.csv")
        assert made.used == [1, 3, 4, 5] and made.rows[2]["exclude_reason"] == LOST
        assert record_of(tmp_path, "plan_common_space")["left_out"] == {"z02": LOST}
        placed = CommonSpace.model_validate_json((tmp_path / "common_space.json").read_text()).slices
        assert placed[1].corner[0] - placed[3].corner[0] == 2  # its step counts


def test_no_gap_is_no_task(tmp_path):
    stores = {n: slice_store(tmp_path, n, texture((4, 20, 20))) for n in (1, 2)}
    assert plan_stage(tmp_path, stores, [Shift(1, 2, 0, 0)]) == 0
    assert plans.read(tmp_path / "gaps.csv") == []


def test_excluded_slices():
    steps = [0.1, 0.3, 5.0, 6.0, 0.2, 0.5]
    table = [Shift(k, k + 1, x, -x) for k, x in enumerate(steps)]  # slice 3 is excluded: rows 2 and 3
    got = {mode: [row.x for row in replaced(table, {3}, mode, 2)] for mode in ("keep", "local_median", "median", "zero")}
    assert got["keep"] == steps
    assert np.allclose(got["local_median"], [0.1, 0.3, 0.25, 0.25, 0.2, 0.5])
    assert np.allclose([row.x for row in replaced(table, {3}, "local_median", 1)][2:4], 0.25)
    assert np.allclose(got["median"], [0.1, 0.3, 0.25, 0.25, 0.2, 0.5]) and got["zero"][2:4] == [0, 0]
    assert [row.x for row in replaced(table[2:4], {3}, "local_median", 2)] == [0, 0]  # nothing sound to ask


def unreliable(folder: Path, off: tuple[int, int], **more: Any) -> tuple[np.ndarray, list[str]]:
    """Where slice 1 comes to lie beside its true place when the stage is `off` px wrong; what the record says."""
    block = texture((4, 160, 170), 3)
    stores = {0: slice_store(folder, 0, block[:, 10:130, 10:130]), 1: slice_store(folder, 1, block[:, 18:138, 15:135])}
    table = [Shift(0, 1, (-8 - off[0]) * STEP, (-5 - off[1]) * STEP, False)]
    assert plan_stage(folder, stores, table, common_space_refine_unreliable=True, **more) == 0
    space = CommonSpace.model_validate_json((folder / "common_space.json").read_text())
    at = {n: np.array(s.corner) + np.array(s.origin) / STEP for n, s in space.slices.items()}
    return at[1] - at[0] - (8, 5), record_of(folder, "plan_common_space")["quality"].get("notes", [])


def test_images_decide_where_the_stage_is_unreliable(tmp_path):
    left, notes = unreliable(tmp_path, (6, -4))
    assert np.abs(left).max() < 0.05 and "taken" in notes[0]


@pytest.mark.parametrize(
    "gate", [{"common_space_refine_max_discrepancy_px": 3}, {"common_space_refine_min_correlation": 0.9999}]
)
def test_gates_of_refinement(tmp_path, gate):
    left, notes = unreliable(tmp_path, (6, -4), **gate)
    assert np.allclose(left, (6, -4)) and "the stage is believed" in notes[0]


@pytest.mark.parametrize("step", [0.02])
def test_slices_of_different_voxels(tmp_path, capsys, step):
    stores = {0: slice_store(tmp_path, 0, texture((4, 9, 9))), 1: slice_store(tmp_path, 1, texture((4, 9, 9)), step=step)}
    assert plan_stage(tmp_path, stores, [Shift(0, 1, 0, 0)]) == 65
    assert "z01: voxels of" in capsys.readouterr().err


@pytest.mark.parametrize("px, said", [(8, 0), (9, 1)])
def test_slices_side_by_side_are_said(tmp_path, px, said):
    stores = {n: slice_store(tmp_path, n, texture((4, 9, 9))) for n in (0, 1, 2)}
    assert plan_stage(tmp_path, stores, [Shift(0, 1, 0, 0), Shift(1, 2, 0, -px * STEP)]) == 0
    notes = record_of(tmp_path, "plan_common_space")["quality"].get("notes", [])
    assert notes == ["z01 and z02 do not overlap: by the shifts they lie side by side"] * said


def test_a_slice_without_a_place(tmp_path, capsys):
    stores = {n: slice_store(tmp_path, n, texture((4, 9, 9))) for n in (0, 1, 2)}
    assert plan_stage(tmp_path, stores, [Shift(0, 1, 0, 0)]) == 65
    assert "no row for z02" in capsys.readouterr().err


def test_no_slice_left_is_said(tmp_path, capsys):
    """All were lost on the way: bad data, not a bad call."""
    assert plan_stage(tmp_path, {}, [Shift(1, 2, 0, 0)]) == 65
    assert "no slice is left" in capsys.readouterr().err


def test_shifts_in_another_unit(tmp_path, capsys):
    """A canvas that no machine would hold, though no number is odd by itself."""
    stores = {n: slice_store(tmp_path, n, texture((4, 9, 9))) for n in (0, 1)}
    assert plan_stage(tmp_path, stores, [Shift(0, 1, 0, -5000 * STEP)]) == 65
    assert "times what they cover; expected x_shift_mm and y_shift_mm in mm" in capsys.readouterr().err
