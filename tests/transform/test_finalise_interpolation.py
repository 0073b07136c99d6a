"""Finalise interpolation: what became of each gap, stamped; who was used stays used."""

from __future__ import annotations

from voxelmill.core import slice_config
from voxelmill.testing.stages import run_stage
from voxelmill.transform.interpolate_missing_slice import write_manifest
from voxelmill.transform.plan_common_space import LOST
from voxelmill.transform.plan_stack import write_table


def test_what_became_of_gaps_is_stamped(tmp_path):
    slice_config.write(tmp_path / "c.csv", slice_config.of([4, 6, 8]))
    write_manifest(
        tmp_path / "a.csv", 5, {"interpolated": True, "interpolation_failed": False, "interpolation_method_used": "measured"}
    )
    write_manifest(
        tmp_path / "b.csv", 7, {"interpolated": False, "interpolation_failed": True, "interpolation_fallback_reason": "a, b"}
    )
    files = {"config": "c.csv", "manifests": ["a.csv", "b.csv"], "output": "final.csv"}
    assert run_stage("transform.finalise_interpolation", tmp_path, **files) == 0
    made = slice_config.read(tmp_path / "final.csv")
    assert made.used == [4, 6, 8] and made.flag(5, "interpolated") and made.flag(7, "interpolation_failed")
    assert made.rows[7]["interpolation_fallback_reason"] == "a, b" and made.rows[5]["use"] == "false"


def test_a_slice_that_never_came_to_the_stack_is_not_used(tmp_path):
    """It has a place and no row in the stack; what was left out on purpose keeps its reason."""
    config = slice_config.of([4, 5, 6]).stamped({5: {"auto_excluded": True}})
    slice_config.write(tmp_path / "c.csv", config)
    write_table(tmp_path / "placed.csv", ("slice_id",), [["04"], ["05"], ["06"]])
    write_table(tmp_path / "z_matches.csv", ("slice_id",), [["04"]])
    files = {"config": "c.csv", "placed": "placed.csv", "stacked": ["z_matches.csv"], "output": "final.csv"}
    assert run_stage("transform.finalise_interpolation", tmp_path, **files) == 0
    made = slice_config.read(tmp_path / "final.csv")
    assert made.used == [4] and made.rows[6]["exclude_reason"] == LOST and not made.rows[5].get("exclude_reason")
