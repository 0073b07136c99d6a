"""Finalise interpolation: what became of each gap, stamped; who was used stays used."""

from __future__ import annotations

from voxelmill.core import slice_config
from voxelmill.testing.stages import run_stage
from voxelmill.transform.interpolate_missing_slice import write_manifest


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
