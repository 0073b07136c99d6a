"""Auto exclude slices: single ones and runs that fit badly; what becomes of their place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from voxelmill.core import slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import alignment_error, metrics_in, pair, registered, spoiled, stacked
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.auto_exclude_slices import Parameters as Exclusion
from voxelmill.transform.auto_exclude_slices import excluded


def test_runs_of_bad_pairs_are_left_out():
    bad = [pair(k, k + 1, z_correlation=0.9 if k in (0, 5) else 0.1) for k in range(6)]
    assert set(excluded(Exclusion(), bad)) == {2, 3, 4}
    assert not excluded(Exclusion(auto_exclude_consecutive=5), bad)
    assert not excluded(Exclusion(auto_exclude_z_corr=0.05), bad)


def test_one_slice_that_is_like_neither_neighbour():
    """Only where these are like each other: else it may be one of them that is bad."""
    apart = [pair(0, 1), pair(1, 2, z_correlation=0.02), pair(2, 3, z_correlation=0.04), pair(3, 4)]
    (found,) = excluded(Exclusion(), [*apart, pair(1, 3, z_correlation=0.5, thin=True)]).items()
    assert found == (2, "correlates with its neighbours by 0.04 at most, these with each other by 0.50")
    assert not excluded(Exclusion(), [*apart, pair(1, 3, z_correlation=0.1)]) and not excluded(Exclusion(), apart)
    assert not excluded(Exclusion(), [*apart[:2], pair(2, 3, z_correlation=0.3), pair(1, 3, z_correlation=0.5)])


@pytest.mark.parametrize(("data", "bad"), [(registered, []), (spoiled, [2])])
def test_a_spoiled_slice_is_left_out_and_keeps_its_place(tmp_path, data, bad):
    made, source, stores = data()
    given = {"metrics": metrics_in(source), "config": source / "config.csv", "output": "used.csv"}
    assert run_stage("transform.auto_exclude_slices", tmp_path, **given) == 0
    assert list(record_of(tmp_path, "auto_exclude_slices").get("left_out", {})) == [f"z{n:02d}" for n in bad]
    kept = [n for n in made.kept if n not in bad]
    assert slice_config.read(tmp_path / "used.csv").used == kept
    volume = open_image(stacked(tmp_path, stores, source, config=tmp_path / "used.csv")).read()
    laid = json.loads((tmp_path / "plan.json").read_text())["slices"]
    assert [(s["number"], s["z"]) for s in laid] == [(n, n * made.thickness) for n in kept]
    assert alignment_error(made, stores, tmp_path / "plan.json") < 0.2
    middle = volume[:, 60:-60, 60:-60]
    assert np.all((middle > 0).mean((1, 2)) == 1)  # the slice before goes deep enough
