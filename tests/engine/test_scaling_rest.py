"""No process is forgotten: each is in a scale model, or stands in a list with the reason why it is not."""

from __future__ import annotations

import ast

import pytest
from voxelmill import scaling, scaling_slices
from voxelmill.cli import main
from voxelmill.core import wiring
from voxelmill.core.schema import project
from voxelmill.scaling_rest import NOT_COUNTED

MODELS = {"reconstruct": set(scaling_slices.ORDER), "mosaic": set(), "timelapse": set()}


@pytest.mark.parametrize("workflow", NOT_COUNTED)
def test_every_process_is_counted_or_has_a_reason(workflow: str) -> None:
    there, left = set(wiring.read(workflow, project()).order), set(NOT_COUNTED[workflow])
    counted: set[str] = MODELS[workflow]
    assert there - counted - left == set(), "neither in the model nor in NOT_COUNTED (scaling_rest.py)"
    assert (counted | left) - there == set(), "no such process in this workflow"
    assert not counted & left and all(NOT_COUNTED[workflow].values())


@pytest.mark.parametrize("workflow", NOT_COUNTED)
def test_what_is_not_counted_is_said(workflow: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--workflow", workflow]) == 0
    said = capsys.readouterr().out
    assert all(stage in said for stage in NOT_COUNTED[workflow])


def test_the_benchmark_of_stages_has_them_all() -> None:
    """All that work on voxels or on what is made of them; `estimate` and `report` look at headers and records."""
    tree = ast.parse((project() / "benchmarks/stages.py").read_text())
    chain = next(node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHAIN")
    assert set(ast.literal_eval(chain)) == set(scaling.ORDER) - scaling.NOT_COUNTED - {"estimate", "report"}
