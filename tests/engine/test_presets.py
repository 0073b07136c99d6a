"""Every profile that parameters declare, with every workflow: it changes what it says, and an explicit value beats it.
Through the engine each workflow under both parsers: a profile gets there, and each process has its tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxelmill.core import options
from voxelmill.core.runs import table
from voxelmill.core.words import to_text
from voxelmill.testing.engine import run

from .test_stubs import ARGUMENTS, WORKFLOWS, expected

OPTIONS = options.load()
PROFILES = sorted({profile for rule in OPTIONS.rules.values() for profile in rule.get("x-profiles", {})})
COMPUTE = [name for name in WORKFLOWS if name != "release"]  # which computes nothing that a profile could change
# Each workflow with both parsers, and so each profile; which of them, in turns.
CASES = [(PROFILES[(2 * j + k + 2) % len(PROFILES)], w, ("v1", "v2")[k]) for j, w in enumerate(COMPUTE) for k in (0, 1)]


# Tasks that a profile adds or takes away.
MORE = {("minimal", "connectome"): {"MULTISCALE": 2}, ("minimal", "timelapse"): {"CROP_CELLS": 0}}


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
    words = [str(word) for word in ARGUMENTS[workflow]]
    if "-profile" in words:
        words[words.index("-profile") + 1] += f",{profile}"
    else:
        words += ["-profile", profile]
    explicit = to_text(wanted[beaten]["default"])
    done = run(*words, f"--{beaten}", explicit, "-stub-run", folder=tmp_path, env={"NXF_SYNTAX_PARSER": parser})
    assert done.code == 0, done.said
    assert done.tasks("COMPLETED") == expected(workflow, **MORE.get((profile, workflow), {}))

    (row,) = table(done.outdir)
    facts = json.loads(row["meta_json"])
    changed = {name: one for name, one in wanted.items() if name != beaten}
    assert facts["preset"] == changed
    assert {name: facts["params"][name] for name in changed} == {name: one["value"] for name, one in changed.items()}
    assert facts["params"][beaten] == wanted[beaten]["default"]
    (line,) = options.said_of_preset(changed)
    assert line in done.said
