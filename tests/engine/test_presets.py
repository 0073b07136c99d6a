"""Every profile that parameters declare, with every workflow: it changes what it says, an explicit value beats it, and
each process still has its tasks."""

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
# Each with one parser, in turns.
CASES = [(p, w, ("v1", "v2")[(i + j) % 2]) for i, p in enumerate(PROFILES) for j, w in enumerate(COMPUTE)]


# Tasks that a profile adds or takes away.
MORE = {("minimal", "connectome"): {"MULTISCALE": 2}, ("minimal", "timelapse"): {"CROP_CELLS": 0}}


@pytest.mark.slow
@pytest.mark.parametrize("profile, workflow, parser", CASES)
def test_a_profile_changes_what_it_says(profile: str, workflow: str, parser: str, tmp_path: Path) -> None:
    wanted = OPTIONS.resolve({"workflow": workflow}, {}, [profile])["preset"]
    of_stages = [name for name in wanted if name not in OPTIONS.run]
    assert of_stages, f"-profile {profile} changes nothing of {workflow}"
    beaten = of_stages[0]
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
