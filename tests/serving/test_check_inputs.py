"""Check inputs: what late stages would refuse is refused first."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.core import plans
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


def test_given_cells_have_a_key_a_batch_and_their_number_is_checked(tmp_path: Path, movie_file: Path, movies: list, capsys):
    assert run_timelapse(tmp_path, movie_file, upto="inspect_movie", pc_channel=0, batch_size=1) == 0
    cells = tmp_path / "cells"
    for p, movie in enumerate(movies):
        (cells / f"Pos{p}").mkdir(parents=True)
        for t, labels in enumerate(movie.labels):
            tifffile.imwrite(cells / f"Pos{p}" / f"img_{t:09d}_Cells_000.tif", labels.astype(np.uint16))
    files = {
        "facts": tmp_path / "movie.json",
        "batches": tmp_path / "batches.csv",
        "checked": "checked.txt",
        "keys": "keys.csv",
    }

    def keys(given: Path) -> list[str]:
        assert run_stage("serving.check_inputs", tmp_path, **files, cells=given) == 0
        rows = plans.read(tmp_path / "keys.csv")
        assert [row["id"] for row in rows] == ["0-0", "1-1"]
        return [row["files"] for row in rows]

    before = keys(cells)
    os.utime(cells / "Pos0/img_000000003_Cells_000.tif", ns=(1, 1))
    after = keys(cells)
    assert after[0] != before[0] and after[1] == before[1]
    assert len(set(keys(movie_file.with_name("run.labels.npz")))) == 1  # one file for all
    np.save(tmp_path / "one.npy", movies[0].labels)
    assert run_stage("serving.check_inputs", tmp_path, **files, cells=tmp_path / "one.npy") == 64
    assert "holds 1 label movies, the input has 2 fields of view" in capsys.readouterr().err
