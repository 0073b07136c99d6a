"""Plan stack: which pairs are believed, and the one solution for all slices."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from voxelmill.testing.slices import THICK, alignment_error, pair, registered, stacked
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.pair_results import PairResult
from voxelmill.transform.pairs import Pair, judged, read_metrics
from voxelmill.transform.plan_common_space import LOST
from voxelmill.transform.plan_stack import Parameters, depths, without_pair, write_table
from voxelmill.transform.register_pairwise import Parameters as Registration
from voxelmill.transform.register_pairwise import believed
from voxelmill.transform.slice_solution import Believed, decided, rotated, solve


def test_a_missing_slice_keeps_its_place(tmp_path):
    """And the slices on either side are held by the last planes of the one before."""
    made, source, stores = registered((2,))
    stacked(tmp_path, stores, source)
    rows = list(csv.DictReader((tmp_path / "z.csv").open()))
    assert [(row["slice_id"], abs(int(row["first_plane"]) - 16 * int(row["slice_id"])) <= 1) for row in rows] == [
        ("00", True), ("01", True), ("03", True),
    ]  # fmt: skip
    decisions = list(csv.DictReader((tmp_path / "d.csv").open()))
    assert decisions[-1]["use"] == "full" and read_metrics(source / "1-3.json").thin
    assert alignment_error(made, stores, tmp_path / "plan.json") < 0.15


def test_thin_slabs_count_where_nothing_else_holds_a_slice():
    thin = pair(0, 2, thin=True)
    _, alone, _ = decided(Believed(), [pair(0, 1), thin, pair(1, 2, status="error")])
    _, beside, _ = decided(Believed(), [pair(0, 1), thin, pair(1, 2)])
    assert alone == (thin, "full", "")
    assert (beside.pair, beside.use) == (thin, "skipped") and "others hold both" in beside.why


def test_planes_on_either_side_of_a_gap_are_less_alike_and_still_count():
    """No gate is shut by how alike they are; by how much they may be off is said."""
    low = {"correlation": 0.2, "z_correlation": 0.15}
    assert judged(pair(0, 2, thin=True, **low)).status == "ok" and judged(pair(0, 1, **low)).status == "warning"
    made = decided(Believed(), [judged(pair(0, 2, thin=True, dim1_px=-4.0, **low)), pair(2, 3)])
    assert made[0].use == "full"
    found = solve(Believed(), made, [0, 2, 3], 100)
    assert found.shift[1, 0] - found.shift[0, 0] == pytest.approx(4)
    assert found.doubt[1] == pytest.approx((2.5, 0.05)) and not found.doubt[[0, 2]].any()
    assert pair(0, 2, thin=True, correlation=0.0).doubt_px == pytest.approx(40)


def test_confidence_across_a_gap_is_that_of_what_is_more_than_chance():
    """How alike thin slabs are says nothing of depth."""
    found = PairResult(0, 2, "rigid", np.eye(2, 3), None, 0, 0.15, 0.0, 1.0, np.ones((1, 1)), (False, False), (9, 9))
    sure = [
        believed(Registration(), pair(0, 2, thin=thin, correlation=0.3, z_correlation=0.3), found)[0].confidence
        for thin in (True, False)
    ]
    assert sure == pytest.approx([1, 0.65])


def test_transforms_of_another_run(tmp_path, capsys):
    _, source, stores = registered()
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": [stores[0], stores[1]], "metrics": [source / "2-3.json"], "config": source / "config.csv"}
    assert run_stage("transform.plan_stack", tmp_path, **given, **out) == 65
    assert "transforms name slices [2, 3], which are not there" in capsys.readouterr().err


def test_what_failed_for_good_is_named(tmp_path):
    """A slice that has a place and is not there, and neighbours that were not registered: both lie where they would."""
    _, source, stores = registered()
    write_table(tmp_path / "placed.csv", ("slice_id",), [[f"{n:02d}"] for n in range(4)])
    there = {n: path for n, path in stores.items() if n != 3}
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": list(there.values()), "metrics": source / "0-1.json", "config": source / "config.csv"}
    given |= {"placed": "placed.csv", "registration_slicing_interval_mm": THICK}
    assert run_stage("transform.plan_stack", tmp_path, **given, **out) == 0
    record = record_of(tmp_path, "plan_stack")
    assert record["left_out"] == {"z03": LOST}
    (said,) = record["quality"]["notes"]
    assert said.startswith("z01 to z02 lie as the stage says, give or take ") and said.endswith("deg: registration failed")
    doubts = [float(row["doubt_px"]) > 0 for row in csv.DictReader((tmp_path / "z.csv").open())]
    assert doubts == [False, False, True]
    assert run_stage("transform.plan_stack", tmp_path, **given, **out, strict=True) == 65


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "lie as the stage says, give or take 2.0 px and 0.42 deg"),
        ([pair(0, 2), pair(1, 2)], "are held by slices two apart"),
    ],
)
def test_neighbours_whose_registration_failed(pairs, said):
    made = decided(Believed(), pairs)
    notes = without_pair([0, 1, 2], made, solve(Believed(), made, [0, 1, 2], 100), [0, 1, 2])
    assert notes[0] == f"z00 to z01 {said}: registration failed" and len(notes) == 2 - bool(pairs)


@pytest.mark.parametrize(
    ("flags", "of_pair", "use"),
    [
        ({}, {}, "full"),
        ({"apply_pairwise_transforms": False}, {}, "skipped"),
        ({"apply_rotation_only": True}, {}, "rotation only"),
        ({}, {"status": "warning"}, "skipped"),
        ({"skip_warning_transforms": False}, {"status": "warning"}, "full"),
        ({}, {"status": "error"}, "skipped"),
        ({"skip_error_transforms": False}, {"status": "error"}, "full"),
        ({}, {"confidence": 0.5}, "rotation only"),
        ({"transform_confidence_high": 0.4}, {"confidence": 0.5}, "full"),
        ({}, {"confidence": 0.2}, "skipped"),
        ({"transform_confidence_low": 0.1}, {"confidence": 0.2}, "rotation only"),
        ({"load_transform_min_zcorr": 0.9}, {}, "skipped"),
        ({"load_transform_max_rotation": 1}, {"rotation_deg": -1.5}, "skipped"),
        ({}, {"z_correlation": 0.1}, "rotation only"),
        ({"stack_translation_min_zcorr": 0}, {"z_correlation": 0.1}, "full"),
        ({"stack_max_pairwise_translation": 10}, {"dim1_px": 9.5}, "rotation only"),
    ],
)
def test_gates(flags, of_pair, use):
    (found,) = decided(Believed(**flags), [pair(0, 1, **of_pair)])
    assert found.use == use
    assert (found.why == "") == (use == "full")


def shifts(pairs: list[Pair], **flags) -> np.ndarray:
    p = Believed(**flags)
    found = solve(p, decided(p, pairs), [0, 1, 2, 3], 100).shift[:, 0]
    return found - found[0]


def test_solution():
    chain = [pair(k, k + 1, dim1_px=-2.0) for k in range(3)]
    assert np.allclose(shifts(chain), [0, 2, 4, 6])
    assert np.allclose(shifts(chain, stack_accumulate_translations=False), [0, 2, 2, 2])
    assert np.allclose(shifts(chain, stack_max_cumulative_drift_px=1.0), [0, 0, 2, 2])  # -1, -1, 1, 1 about the stage
    smooth = shifts(chain, stack_translation_smooth_sigma=3.0)
    assert smooth[-1] < 5
    turning = [pair(0, 1, rotation_deg=-2.0), pair(1, 2, rotation_deg=2.0), pair(2, 3, rotation_deg=-2.0)]
    turns = {}
    for name, flags in {"as is": {}, "cut": {"max_rotation_deg": 1.0}, "averaged": {"stack_smooth_window": 3}}.items():
        p = Believed(**flags)
        turns[name] = np.ptp(np.rad2deg(solve(p, decided(p, turning), [0, 1, 2, 3], 100).turn))
    assert turns["as is"] == pytest.approx(2) and turns["cut"] == pytest.approx(1) and turns["averaged"] < 1


def test_one_wrong_pair_is_outvoted():
    wrong = [pair(0, 1), pair(1, 2, dim1_px=30.0), pair(2, 3), pair(0, 2), pair(1, 3), pair(0, 3)]
    assert np.abs(shifts(wrong)).max() < 1
    sure = [pair(0, 1), pair(1, 2, dim1_px=0.6, confidence=0.61), pair(2, 3), pair(0, 2), pair(1, 3)]
    assert np.abs(shifts(sure)).max() < np.abs(shifts(sure, stack_confidence_weight_translations=False)).max()


def test_what_was_made_up_lies_as_the_slice_before_it_does():
    """And the slices behind the gap as the stage says, as far as it is right."""
    found = solve(
        Believed(), [*decided(Believed(), [pair(0, 1, dim1_px=-2.0), pair(3, 4, dim1_px=3.0)])], [0, 1, 2, 3, 4], 100, {2}
    )
    shift, doubt = found.shift[:, 0], found.doubt
    assert shift[2] == shift[1] and (doubt[3] > 0).all() and not doubt[[0, 1, 2, 4]].any()
    assert shift[4] - shift[3] == pytest.approx(-3)


def planned(folder, stores, metrics, config, **flags) -> list[dict]:
    """The slices of the plan."""
    out = {"plan": "plan.json", "matches": "z.csv", "decisions": "d.csv", "block_list": "blocks.csv"}
    given = {"volumes": stores, "config": config, "registration_slicing_interval_mm": THICK, **flags}
    assert run_stage("transform.plan_stack", folder, **given, **({"metrics": metrics} if metrics else {}), **out) == 0
    return json.loads((folder / "plan.json").read_text())["slices"]


def test_one_slice_is_a_stack(tmp_path):
    _, source, stores = registered()
    (alone,) = planned(tmp_path, [stores[1]], [], source / "config.csv")
    assert (alone["number"], alone["z"]) == (1, 0) and np.allclose(alone["matrix"], np.eye(2, 3))


def test_all_pairs_rejected_is_the_stage_alone(tmp_path):
    _, source, stores = registered()
    metrics = [source / f"{k}-{k + 1}.json" for k in range(3)]
    rejected = planned(tmp_path / "r", list(stores.values()), metrics, source / "config.csv", load_transform_min_zcorr=1)
    stage = planned(tmp_path / "s", list(stores.values()), [], source / "config.csv")
    assert rejected == stage
    rows = list(csv.DictReader((tmp_path / "r/d.csv").open()))
    (said,) = record_of(tmp_path / "r", "plan_stack")["quality"]["notes"]
    assert said == "no pair is believed of 3: slices lie as the stage says, give or take 2.0 px and 0.42 deg; d.csv says why"
    assert len(rows) == 3 and all(row["use"] == "skipped" and "z_correlation" in row["why"] for row in rows)


@pytest.mark.parametrize(
    ("flags", "of_pair", "off"),
    [
        ({}, {}, 3),
        ({"stack_blend_z_refine_vox": 1}, {}, 2),  # each slice by 1, about the mean
        ({}, {"confidence": 0.45}, 0),
        ({"blend_z_refine_min_confidence": 0.4, "transform_confidence_high": 0.4}, {"confidence": 0.45}, 3),
        ({"use_expected_z_overlap": False, "stack_blend_z_refine_vox": 1}, {}, 3),
        ({"use_expected_z_overlap": False}, {"z_correlation": 0.45}, 0),
        ({"use_expected_z_overlap": False, "z_overlap_min_corr": 0.4}, {"z_correlation": 0.45}, 3),
    ],
)
def test_depths(flags, of_pair, off):
    """A pair says that its second slice lies three planes deeper than expected."""
    said = pair(0, 1, **of_pair).model_copy(update={"fixed_z": 23.0})
    p = Parameters(**flags)
    found = depths(p, decided(p, [said]), {0: None, 1: None})
    assert found[1] - found[0] == pytest.approx(off)


def test_the_first_slice_is_not_turned():
    """All turn with it, places too: what the pairs say still holds."""
    pairs = [pair(0, 1, rotation_deg=1.5, dim1_px=3), pair(1, 2, rotation_deg=-0.5, dim2_px=-2)]
    turn, shift, _ = solve(Believed(), decided(Believed(), pairs), [0, 1, 2], 100)
    assert turn[0] == 0 and np.allclose(np.rad2deg(turn), (0, -1.5, -1), atol=0.01)
    for k, q in enumerate(pairs):
        assert np.allclose(shift[k + 1] - shift[k], -rotated((q.dim1_px, q.dim2_px), turn[k + 1]), atol=0.05)
