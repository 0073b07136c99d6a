"""Comparison of stitching by the stage alone with the refined one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from voxelmill.serving.compare_stitching import Parameters, lines, strength
from voxelmill.testing.stages import run_stage
from voxelmill.testing.stitched import stitched


def test_refined_tiles_meet_better(tmp_path: Path) -> None:
    given = {f"{key}_tables": [stitched() / f"{name}_tiles.csv", stitched() / f"{name}_seams.csv"]
             for key, name in (("motor", "motor_only"), ("refined", "refined"))}  # fmt: skip
    given |= {"motor": stitched() / "motor_only.ome.zarr", "refined": stitched() / "refined.ome.zarr", "slice": "0"}
    assert run_stage("serving.compare_stitching", tmp_path, **given, picture="c.png", figures="c.json") == 0
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["refined_seam_residual_px"] < 0.3 < found["motor_only_seam_residual_px"]
    assert found["tiles_moved_px_rms"] > 0.3 and (tmp_path / "c.png").stat().st_size > 10_000


def test_a_seam_is_seen_where_it_is() -> None:
    plane = np.random.default_rng(0).random((80, 90)).astype(np.float32) + 1
    plane[:, 60:] += 1.0
    by_step = lines(Parameters(comparison_tile_step=60), plane.shape, np.zeros((1, 2)))
    assert [at.tolist() for at in by_step] == [[60], [60]]
    by_tiles = lines(Parameters(), plane.shape, np.array([(0, 0), (0, 30)]))
    assert [at.tolist() for at in by_tiles] == [[], [30]]
    seen, elsewhere = strength(plane, [np.array([], int), np.array([60])]), strength(plane, by_tiles)
    assert seen and elsewhere and seen > 2 > 1.3 > elsewhere
