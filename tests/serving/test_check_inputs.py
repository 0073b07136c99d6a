"""Check inputs: what late stages would refuse is refused first."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.testing.movies import run_timelapse
from voxelmill.testing.stages import run_stage

SAMPLES = "samples:\n  - {name: control, fovs: 0}\n  - {name: treated, fovs: 1}\n"
PLUGIN = "def extract_brightest(image, mask, context):\n    return float(image[mask].max())\n"


def check(folder: Path, movie_file: Path, sheet: str = "", plugin: str = "", **params: object) -> int:
    assert run_timelapse(folder, movie_file, upto="inspect_movie", pc_channel=0, fl_channels="1") == 0
    files: dict = {"facts": folder / "movie.json", "checked": "checked.txt"}
    if sheet:
        files["sheet"] = folder / "samples.yaml"
        files["sheet"].write_text(sheet)
    if plugin:
        files["plugins"] = folder / "plugins"
        files["plugins"].mkdir()
        (files["plugins"] / "brightest.py").write_text(plugin)
    return run_stage("serving.check_inputs", folder, **files, **params)


def test_what_is_right_passes(tmp_path: Path, movie_file: Path):
    assert check(tmp_path, movie_file, SAMPLES, PLUGIN, fl_features="brightest", pc_features="none") == 0
    assert (tmp_path / "checked.txt").read_text() == "2 samples\n1 plug-ins\n"


@pytest.mark.parametrize(
    "sheet, params, message",
    [
        ("samples:\n  - {name: a/b, fovs: 0}\n", {}, "cannot be part of a file name"),
        ("samples:\n  - {name: a, fovs: 7}\n", {}, "field of view 7 is not there; there are 2"),
        ("", {"pc_features": "area,roundness"}, "--pc_features 'roundness' is not known; there are area"),
        ("", {"fl_features": "area"}, "--fl_features 'area' is not known"),
        ("", {"background_method": "plugin", "background_plugin": "x"}, "--background_plugin 'x': no such plug-in"),
    ],
)
def test_what_is_wrong_is_refused(
    tmp_path: Path, movie_file: Path, sheet: str, params: dict, message: str, capsys: pytest.CaptureFixture
):
    assert check(tmp_path, movie_file, sheet, **params) == 64
    assert message in capsys.readouterr().err
