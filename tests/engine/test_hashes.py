"""A task's hash holds what its output depends on: a late parameter re-runs nothing early, an edit what it touches."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from voxelmill.testing.engine import PROJECT, Run, copied, run

STAGES = json.loads((PROJECT / "nextflow_schema.json").read_text())["x-stages"]
ENDS = {"FIGURES", "REPORT"}
ESTIMATES = {"ESTIMATE", "ESTIMATE_MOVIE", "ESTIMATE_SLICES", "ESTIMATE_TILES"}  # nothing stands after them
ANALYSES = {"ANALYZE_SHIFTS", "ANALYZE_ROTATION_DRIFT", "ANALYZE_ACQUISITION_ROTATION", "COMPARE_STITCHING"}
# Parameter -> the only processes that may take it; those that stand after them run again, too.
LATE = {
    "save_minimal": {"ESTIMATE", "MULTISCALE", "PYRAMID"},
    "aligned_dtype": {"ESTIMATE", "MULTISCALE", "PYRAMID"},
    "ome_zarr_version": {"MULTISCALE", "PYRAMID", "PLAN_LEVELS", "MAKE_LEVELS", "PUBLISH_VOLUME"},
    "max_levels": {"MULTISCALE", "PYRAMID"},
    "report_plots": {"REPORT"},
    "min_score": {"GRAPH"},
    "truth": {"INGEST"},  # in the role of truth only: see `ingest_truth` in core/options.py
    "truth_key": {"INGEST"},
    "figure_dpi": {"FIGURES", "MOVIE_FIGURES", "MOSAIC_FIGURES", "FIT_TRACES", "NEURONS", *ANALYSES},
    "figure_fovs": {"MOVIE_FIGURES"},
    "track_formats": {"EXPORT_TRACKS"},
    "view_level": {"CROP_CELLS", "PUBLISH_FOVS"},  # crops have such a level, too
}


@pytest.mark.parametrize("name", LATE)
def test_late_parameters_reach_late_stages_only(name: str) -> None:
    takers = {stage.upper() for stage, names in STAGES.items() if name in names} - ESTIMATES
    assert takers <= LATE[name], f"--{name} changes the hash of {sorted(takers - LATE[name])}"


def test_a_parameter_of_a_role_reaches_that_role_only() -> None:
    from voxelmill.core.options import load

    flags = load().resolve({"input": "x", "truth": "t.npy"}, {}, [])["flags"]
    assert "t.npy" in flags["ingest_truth"] and "t.npy" not in flags["ingest"] + flags["estimate"]


Step = Callable[..., Run]


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], Step]:
    """What a stub run of `connectome` ran, in a checkout of its own; `step(words)`: one more, with what earlier ones did."""
    folder = tmp_path_factory.mktemp("hashes")
    copy = copied(folder / "project")

    def go(*words: object) -> Run:
        done = run("-profile", "demo", "-stub-run", "-resume", *words, folder=folder, project=copy)
        assert done.code == 0, done.said
        return done

    return set(go().tasks("COMPLETED")), go


@pytest.mark.slow
def test_what_runs_again(step: tuple[set[str], Step]) -> None:
    """Late parameters all at once, an imported module. One that all import: tests/core/test_code.py."""
    _, go = step
    late = ("--save_minimal", "true", "--aligned_dtype", "float16", "--min_score", 0.3, "--report_plots", "false")
    again = go(*late, "--max_levels", 2)
    assert set(again.tasks("COMPLETED")) == {"ESTIMATE", "GRAPH", "MULTISCALE", "NEURONS", *ENDS}
    code = again.outdir.parent / "project/python/voxelmill"
    (code / "postprocess/wiring.py").open("a").write("\n# edited\n")  # GRAPH's stage imports it
    assert set(go(*late, "--max_levels", 2).tasks("COMPLETED")) == {"GRAPH", "NEURONS", *ENDS}


@pytest.mark.slow
def test_another_threshold_repeats_nothing_before_the_table(step: tuple[set[str], Step]) -> None:
    """Nor does a second and third one, of which tables are made in the same task."""
    first, go = step
    before = {"INGEST", "INGEST_TRUTH", "PREPROCESS", "ALIGN_PAIRS", "ALIGN", "RENDER", "SEGMENT", "SIMULATE_MISALIGNMENT"}
    assert before <= first
    done = go("--agglomeration_threshold", "0.3,0.5,0.7")
    assert before <= set(done.tasks("CACHED")) and not before & set(done.tasks("COMPLETED"))
    assert done.tasks("COMPLETED")["AGGLOMERATE"] == 1
