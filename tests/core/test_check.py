"""`voxelmill check` and `voxelmill help`: a run's arguments, judged without the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxelmill.cli import main
from voxelmill.core.check import arguments


def test_arguments_as_the_engine_reads_them(tmp_path: Path):
    (tmp_path / "p.yml").write_text("seed: 3\ncutout: [8, 8, 8]\n")
    words = "nextflow run main.nf -ansi-log false -resume --seed 5 --strict -profile demo,minimal -c site.config"
    words += " --halo_width -1.5 --a=b"
    given, profiles, files = arguments([*words.split(), "-params-file", str(tmp_path / "p.yml")])
    assert given == {"seed": "5", "strict": "true", "cutout": [8, 8, 8], "halo_width": "-1.5", "a": "b"}
    assert (profiles, files) == (["demo", "minimal"], ["site.config"])


def test_what_a_run_would_run_with(capsys: pytest.CaptureFixture[str]):
    assert main(["check", "-profile", "demo,minimal", "--max_levels", "2"]) == 0
    said = capsys.readouterr().out
    for row in ("--max_levels 2 [given]", "--alignment translation [minimal]", "--voxel_size 10,10,10 [profile]"):
        assert row in " ".join(said.split())
    assert "profile minimal: --max_cpus 1 (else 0)" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--cutuot 1", "unknown parameter --cutuot. Did you mean --cutout?"),
        ("--seed 3", "--input is missing"),
        ("--input nosuch.tif", "--input nosuch.tif: no such file or folder"),
        ("--input nosuch/*.png", "--input nosuch/*.png: no such file or folder; patterns are not taken, give the folder"),
        (
            "--workflow timelapse --input https://host/a.nd2",
            "--input https://host/a.nd2: timelapse reads it from a file or folder, not a URI; download it",
        ),
        ("--workflow mosaic --input s3://bucket/tiles", "--input s3://bucket/tiles: mosaic reads it from a file or folder"),
        ("-params-file nosuch.json", "-params-file nosuch.json: No such file or directory"),
        ("--fl_channels 1, 2", "2: belongs to no parameter; lists have commas and no spaces"),
        ("timelapse -profile test", "timelapse: belongs to no parameter"),
        ("-profile demo -preview stray", "stray: belongs to no parameter"),
        ("-profile demo -resume stray", "stray: belongs to no parameter"),
        ("--workflow release --input .", "--store is missing: give a folder"),
        ("-profile dmo", "-profile dmo: expected one of standard, demo, test"),
        ("-profile demo -profile minimal", "-profile: given twice; expected one, with commas between several names"),
        ("--workflow connectom", "--workflow connectom: expected one of connectome"),
    ],
)
def test_refusals_are_one_line(words: str, told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["check", *words.split()]) == 64
    said = capsys.readouterr().err
    assert said.startswith(f"ERROR [check] {told}") and said.count("\n") == 1


def test_a_broken_file_of_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "p.json").write_text(json.dumps([1]))
    assert main(["check", "-params-file", str(tmp_path / "p.json")]) == 64
    assert "expected a map of parameters" in capsys.readouterr().err


def test_help_of_a_workflow(capsys: pytest.CaptureFixture[str]):
    assert main(["help", "timelapse"]) == 0
    assert "--pc_channel" in capsys.readouterr().out
    assert main(["help", "tmelapse"]) == 64
