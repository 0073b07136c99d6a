"""Every profile that parameters declare, with every workflow: it changes what it says, and an explicit value beats it.
Through the engine each workflow under both parsers: a profile gets there, and each process has its tasks. The strict parser,
under which each workflow runs whole in its own tests, has an input that changes the tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxelmill.core import options
from voxelmill.core.runs import table
from voxelmill.core.words import to_text
from voxelmill.testing.engine import run

from .test_stubs import ARGUMENTS, MOVIE, WORKFLOWS, expected, laid_by_hand

OPTIONS = options.load()
PROFILES = sorted({profile for rule in OPTIONS.rules.values() for profile in rule.get("x-profiles", {})})
COMPUTE = [name for name in WORKFLOWS if name != "release"]  # which computes nothing that a profile could change
# Each workflow with both parsers, and so each profile; which of them, in turns.
CASES = [(PROFILES[(2 * j + k + 2) % len(PROFILES)], w, ("v1", "v2")[k]) for j, w in enumerate(COMPUTE) for k in (0, 1)]


# Tasks that a profile adds or takes away.
MORE = {("minimal", "connectome"): {"MULTISCALE": 2}, ("minimal", "timelapse"): {"CROP_CELLS": 0}}


def otherwise(workflow: str, folder: Path) -> tuple[list[object], dict[str, int]]:
    """Words of a run on another input than that of ARGUMENTS, and the tasks that are not as there."""
    files = folder / "files"  # more than the head looks at itself: a task lists them
    files.mkdir()
    for n in range(4):
        (files / f"{n}.tif").touch()
    if workflow == "connectome":
        # OME-Zarr 0.6 has a scene; without truth and jitter their stages are left out, and nothing else.
        words: list[object] = ["--input", files, "--voxel_size", "10,10,10", "--ome_zarr_version", "0.6"]
        return words, {"LIST_FILES": 1, "SCENE": 1, "INGEST_TRUTH": 0, "EVALUATE": 0, "SIMULATE_MISALIGNMENT": 0}
    if workflow == "mosaic":
        return ["--workflow", workflow, "--input", files], {"LIST_FILES": 1}
    if workflow == "reconstruct":
        # Pairs that were laid by hand are not registered, nor refined what nobody has laid; all neighbours are packed.
        more = {"REGISTER_PAIRWISE": 1, "REFINE_MANUAL_TRANSFORMS": 2, "MAKE_MANUAL_ALIGN_PACKAGE": 2}
        return [*ARGUMENTS[workflow], *laid_by_hand(folder)], more
    # Given detections are not segmented, and measured all the same: backgrounds, crops and traces have their tasks.
    return [*ARGUMENTS[workflow], "--detections", MOVIE.parent], {"READ_DETECTIONS": 1, "SEGMENT_CELLS": 0}


def beaten_of(profile: str, workflow: str) -> tuple[dict, str]:
    """What a profile changes of a workflow, and the first of it that belongs to a stage."""
    wanted = OPTIONS.resolve({"workflow": workflow}, {}, [profile])["preset"]
    of_stages = [name for name in wanted if name not in OPTIONS.run]
    assert of_stages, f"-profile {profile} changes nothing of {workflow}"
    return wanted, of_stages[0]


@pytest.mark.parametrize("workflow", COMPUTE)
@pytest.mark.parametrize("profile", PROFILES)
def test_an_explicit_value_beats_a_profile(profile: str, workflow: str) -> None:
    wanted, beaten = beaten_of(profile, workflow)
    found = OPTIONS.resolve({"workflow": workflow, beaten: to_text(wanted[beaten]["default"])}, {}, [profile])
    assert found["preset"] == {name: one for name, one in wanted.items() if name != beaten}
    assert found["options"][beaten] == wanted[beaten]["default"]
    assert {name: found["options"][name] for name in found["preset"]} == {
        name: one["value"] for name, one in found["preset"].items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("profile, workflow, parser", CASES)
def test_a_profile_changes_what_it_says(profile: str, workflow: str, parser: str, tmp_path: Path) -> None:
    wanted, beaten = beaten_of(profile, workflow)
    words, more = (list(ARGUMENTS[workflow]), {}) if parser == "v1" else otherwise(workflow, tmp_path)
    if "-profile" in words:
        words[words.index("-profile") + 1] = f"demo,{profile}"
    else:
        words += ["-profile", profile]
    words += [f"--{beaten}", to_text(wanted[beaten]["default"]), "-stub-run"]
    env = {"NXF_SYNTAX_PARSER": parser} | ({"VOXELMILL_FILES_AT_START": "3"} if "LIST_FILES" in more else {})
    done = run(*words, folder=tmp_path, env=env)
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == expected(workflow, **MORE.get((profile, workflow), {}) | more)

    (row,) = table(done.outdir)
    facts = json.loads(row["meta_json"])
    changed = {name: one for name, one in wanted.items() if name != beaten}
    assert facts["preset"] == changed
    assert {name: facts["params"][name] for name in changed} == {name: one["value"] for name, one in changed.items()}
    assert facts["params"][beaten] == wanted[beaten]["default"]
    (line,) = options.said_of_preset(changed)
    assert line in done.said
    if workflow == "connectome" and "LIST_FILES" in more:
        again = run(*words, "-resume", folder=tmp_path, env=env)
        assert again.tasks("COMPLETED") == {"LIST_FILES": 1}, again.said
