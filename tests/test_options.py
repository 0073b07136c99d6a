"""Parameters as Nextflow hands them over, under both parsers: types, bounds, unknown names, flags."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from voxelmill.testing.engine import NEXTFLOW, PROJECT, QUIET

REFUSED = [
    ({"cutuot": "1,1,1"}, "unknown parameter --cutuot. Did you mean --cutout?"),
    ({"qqqqqqqqqq": 1}, "unknown parameter --qqqqqqqqqq."),
    ({"alignment": "rigd"}, "--alignment rigd: expected one of none, translation, rigid, elastic"),
    ({"min_score": "2"}, "--min_score 2: expected at most 1"),
    ({"foreground_quantile": 1}, "--foreground_quantile 1: expected less than 1"),
    ({"clahe_clip": 0}, "--clahe_clip 0: expected more than 0"),
    ({"cutout": "1,2"}, "--cutout 1,2: expected 3 values with commas between"),
    ({"seed": "1.5"}, "--seed 1.5: expected a whole number"),
    ({"seed": "-1"}, "--seed -1: expected at least 0"),
    ({"jitter_px": "abc"}, "--jitter_px abc: expected a number"),
    ({"strict": "maybe"}, "--strict maybe: expected true or false"),
    ({"max_memory": "lots"}, "--max_memory lots: expected something like 16.GB"),
]
TAKEN = [
    ({"use_gpu": "false"}, {"use_gpu": False}),
    ({"use_gpu": True}, {"use_gpu": True}),
    ({"seed": "12"}, {"seed": 12}),
    ({"clahe_tile": 128}, {"clahe_tile": 128}),
    ({"cutout": "256,256,64"}, {"cutout": "256,256,64"}),
    ({"voxel-size": "1,1,1", "voxelSize": "1,1,1"}, None),  # nobody declares either: refused below
    ({"align_drift": "0.5"}, {"align_drift": 0.5}),
]


WORDS = [
    "plain,1.5",
    "it's",
    "--x",
    "a\tb\r\n  c  d\n",
    "ü *?[a] {b}",
    "",
    "$'x'",
    "\\n\n\\'",
    '$(touch PWNED) `touch PWNED` "$HOME"',
]


@pytest.fixture(scope="module", params=["v1", "v2"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("options")
    cases = [{"workflow": "connectome", **given} for given, _ in REFUSED + TAKEN]
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "words.json").write_text(json.dumps(WORDS))
    # Run from a copy of the layout: projectDir is where the script lies, and the schema is read from there.
    for name in ("workflows", "nextflow_schema.json"):
        os.symlink(PROJECT / name, folder / name)
    (folder / "tests").mkdir()
    script = (PROJECT / "tests/options.nf").read_text().replace("'../workflows/options'", "'./workflows/options'")
    (folder / "options.nf").write_text(script)
    done = subprocess.run(
        [str(NEXTFLOW), "run", "options.nf", "--cases", str(folder / "cases.json"), "--words", str(folder / "words.json")],
        cwd=folder,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": request.param},
        capture_output=True,
        text=True,
        timeout=120,
    )
    line = next((row for row in done.stdout.splitlines() if row.startswith("ANSWERS ")), None)
    assert line, done.stdout + done.stderr
    return json.loads(line.removeprefix("ANSWERS "))


def test_wrong_values_are_refused_with_their_reason(answers: dict):
    for (given, message), said in zip(REFUSED, answers["answers"]):
        assert isinstance(said, str) and said.startswith(message), (given, said)


def test_values_get_their_declared_type(answers: dict):
    for (given, wanted), said in zip(TAKEN, answers["answers"][len(REFUSED) :]):
        if wanted is None:
            assert said.startswith("unknown parameter --voxel-size. Did you mean --voxel_size?"), said
        else:
            assert {k: said[k] for k in wanted} == wanted, given


def test_a_stage_gets_its_own_flags_only(answers: dict):
    flags = answers["answers"][-1]["flags"]
    assert "--align_drift 0.5" in flags["align"] and "align_drift" not in flags["render"]
    assert flags["join"] == ""


def test_quoted_words_come_out_of_bash_as_they_were(answers: dict):
    """On one line each: Nextflow strips the indent of scripts."""
    assert all("\n" not in word for word in answers["quoted"])
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {' '.join(answers['quoted'])}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == WORDS


def test_help_is_grouped(answers: dict):
    assert "Section registration" in answers["help"] and "--align_neighbours" in answers["help"]


def test_every_default_is_accepted_by_its_stage():
    """What Nextflow passes on by default, the stage's model takes."""
    from voxelmill.core import params, schema

    for stage in schema.stages().values():
        for name, field in params.fields_of(stage.parameters).items():
            if field.default is not None:
                params.parse(stage.parameters, {name: params.to_text(field.default)})


def test_launcher_is_there():
    assert Path(NEXTFLOW).exists()


@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_false_and_nought_of_a_file_or_profile_win_over_the_defaults(parser: str, tmp_path: Path):
    os.symlink(PROJECT / "conf", tmp_path / "conf")
    (tmp_path / "nextflow.config").write_text(
        "profiles { plain { params.crops = false\nparams.max_retries = 0 } }\nincludeConfig 'conf/params.config'\n"
    )
    (tmp_path / "main.nf").write_text('workflow { println("PARAMS " + groovy.json.JsonOutput.toJson(params)) }\n')
    given = {"use_gpu": False, "array_size": 0, "center_jitter": 0.0}
    (tmp_path / "given.json").write_text(json.dumps(given))
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", "plain", "-params-file", "given.json"],
        cwd=tmp_path,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        timeout=120,
    )
    line = next((row for row in done.stdout.splitlines() if row.startswith("PARAMS ")), None)
    assert line, done.stdout + done.stderr
    found, wanted = json.loads(line.removeprefix("PARAMS ")), given | {"crops": False, "max_retries": 0, "report_plots": True}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
@pytest.mark.parametrize("profile, said", [("test", "2 GB of"), ("minimal", "1 of")])
def test_limits_of_a_profile_hold(parser: str, profile: str, said: str, tmp_path: Path):
    """max_memory of `test` and max_cpus of `minimal` bound what a task gets."""
    for name in ("conf", "nextflow.config"):
        os.symlink(PROJECT / name, tmp_path / name)
    (tmp_path / "main.nf").write_text("""
process GREEDY {
    memory '8.GB'
    cpus 2
    output: stdout
    script: "echo ${task.memory} of memory, ${task.cpus} of cpus"
}
workflow { GREEDY() | view }
""")
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", profile],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        text=True,
        timeout=120,
    )
    assert said in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_cpus_of_this_machine_follow_profile_and_command_line(parser: str, tmp_path: Path):
    for name in ("conf", "nextflow.config"):
        os.symlink(PROJECT / name, tmp_path / name)
    (tmp_path / "main.nf").write_text('workflow { println("CPUS " + workflow.session.config.executor) }\n')
    done = subprocess.run(
        [str(NEXTFLOW), "run", "main.nf", "-profile", "minimal", "--max_cpus", "3", "--reserved_cpus", "1"],
        cwd=tmp_path,
        env={**os.environ, **QUIET, "NXF_SYNTAX_PARSER": parser},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CPUS [$local:[cpus:2]]" in done.stdout, done.stdout + done.stderr
