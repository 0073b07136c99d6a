"""`--workflow release`: as the command does, by a stage; a gate that fails stops it and says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import odd_folder, unharmed
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.core import head, options
from voxelmill.core.errors import ParameterError
from voxelmill.testing.engine import run
from voxelmill.testing.stages import record_of, run_stage

STAGE = "catalog.create_release"


def test_as_by_the_command(tmp_path: Path, good: Path) -> None:
    store, words = tmp_path / "store", {"results": good, "tag": "r1", "release": tmp_path / "release.json"}
    assert run_stage(STAGE, tmp_path, store=store, **words) == 0
    other = releases.create(Store(tmp_path / "other", make=True), good, "r1")
    assert json.loads((tmp_path / "release.json").read_text())["id"] == other["id"]
    (used,) = record_of(tmp_path, "create_release")["inputs"]
    assert used["name"] == "published.json"


def test_a_gate_that_fails_says_why(tmp_path: Path, bad: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"gates": [{"figure": "evaluation.regions.*.split_rate", "max": 0.5}]}))
    words = {"results": bad, "tag": "r1", "policy": policy, "release": tmp_path / "release.json"}
    assert run_stage(STAGE, tmp_path, store=tmp_path / "store", **words) == 65
    assert "evaluation.regions.z0_y0_x0.split_rate is 3, expected at most 0.5" in capfd.readouterr().err
    assert not (tmp_path / "release.json").exists() and not Store(tmp_path / "store").tags()


def test_the_account_lies_elsewhere(tmp_path: Path, good: Path) -> None:
    """A run marks its --outdir as unfinished, and leaves records there."""
    for outdir in (good, good / "account"):
        given = {"workflow": "release", "input": str(good), "store": "s", "tag": "r1", "outdir": str(outdir)}
        with pytest.raises(ParameterError, match="is not written into; give another --outdir"):
            head.for_run(options.PROJECT, {"given": given, "config": {}, "profiles": []})


@pytest.mark.slow
def test_a_run_and_resumed(tmp_path: Path, good: Path) -> None:
    """Folders and files whose names are no plain words; resumed, the release is as it was and nothing is logged twice."""
    odd = odd_folder(tmp_path)
    store, results, policy = (odd / f"{name} '$(touch PWNED)" for name in ("store", "results", "policy"))
    shutil.copytree(good, results)
    policy.write_text(json.dumps({"gates": []}))
    words = ("--workflow", "release", "--input", results, "--store", store, "--tag", "r1", "--policy", policy)
    done = run(*words, folder=tmp_path / "run", outdir=odd / "out $(touch PWNED)")
    assert done.code == 0 and done.tasks("COMPLETED") == {"CREATE_RELEASE": 1}, done.said
    made = json.loads((done.outdir / "release.json").read_text())
    assert made["id"] == releases.show(Store(store), "r1")["id"] and "release.json" in done.said
    before = Store(store).events()
    assert run(*words, "-resume", folder=tmp_path / "run", outdir=done.outdir).code == 0
    assert Store(store).events() == before and not releases.verify(Store(store), "r1")["damaged"]
    assert unharmed(tmp_path)
