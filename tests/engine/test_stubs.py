"""Stub runs of every workflow, with exact task counts, under both parsers: a process that is skipped because
a channel ran dry is the worst fault of this kind of workflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxelmill.testing.engine import PROJECT, run

pytestmark = pytest.mark.slow

# A stub of INGEST lists one block, so each process has one task, but for those named here.
MORE_THAN_ONE = {"connectome": {"MULTISCALE": 2}}
WITH_TRUTH = {"connectome": {"INGEST_TRUTH": 1}}
NOT_WITH_ONE_BLOCK = {"connectome": {"JOIN"}}
ARGUMENTS = {"connectome": ("-profile", "demo")}
SCHEMA = json.loads((PROJECT / "nextflow_schema.json").read_text())
WORKFLOWS = {name: stages for name, stages in SCHEMA["x-workflows"].items()
             if (PROJECT / f"workflows/{name}.nf").exists()}


def expected(workflow: str) -> dict[str, int]:
    """Tasks per process, from the stages that the schema says a workflow has."""
    once = {stage.upper(): 1 for stage in WORKFLOWS[workflow]}
    counts = once | WITH_TRUTH.get(workflow, {}) | MORE_THAN_ONE.get(workflow, {})
    return {name: n for name, n in counts.items() if name not in NOT_WITH_ONE_BLOCK.get(workflow, set())}


@pytest.mark.parametrize("parser", ["v1", "v2"])
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_process_has_its_tasks(workflow: str, parser: str, tmp_path: Path) -> None:
    assert workflow in ARGUMENTS, f"say in ARGUMENTS how a stub run of {workflow} starts"
    done = run(*ARGUMENTS[workflow], "-stub-run", folder=tmp_path, env={"NXF_SYNTAX_PARSER": parser})
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == expected(workflow)


def test_without_truth_and_jitter(tmp_path: Path) -> None:
    """The optional stages are left out, and nothing else."""
    done = run("--input", PROJECT / "assets/demo/fib25_crop.npz", "--voxel_size", "10,10,10", "--save_minimal", "true",
               "-stub-run", folder=tmp_path)
    assert done.code == 0, done.said
    left_out = {"INGEST_TRUTH", "EVALUATE", "SIMULATE_MISALIGNMENT"}
    wanted = {name: n for name, n in expected("connectome").items() if name not in left_out}
    assert done.tasks("COMPLETED") == wanted | {"MULTISCALE": 1}


def test_processes_say_what_they_need() -> None:
    """Each module has a resource label, and a label for its blocks when its tasks are blocks."""
    for module in sorted((PROJECT / "modules").rglob("*.nf")):
        text = module.read_text()
        assert sum(f"label 'process_{size}'" in text for size in ("single", "medium", "high")) == 1, module
        assert ("label 'per_block'" in text) == ("--block ${meta.block}" in text), module
        assert ("label 'gpu'" in text) == ("Device" in stage_of(module).read_text()), module


def stage_of(module: Path) -> Path:
    return PROJECT / "python/voxelmill" / module.relative_to(PROJECT / "modules").with_suffix(".py")
