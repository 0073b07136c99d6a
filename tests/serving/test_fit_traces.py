"""Fit traces: a row per cell, channel and model; the fit of a made trace; wrong choices are refused early."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import manifest
from voxelmill.postprocess.fits import Rates, shape_of
from voxelmill.postprocess.traces import read_csv, write_csv
from voxelmill.testing.movies import run_timelapse
from voxelmill.testing.stages import record_of, run_stage


@pytest.fixture
def facts(tmp_path: Path, movie_file: Path) -> Path:
    assert run_timelapse(tmp_path, movie_file, upto="inspect_movie", pc_channel=0, fl_channels="1") == 0
    return tmp_path / "movie.json"


def test_a_table_and_a_figure(tmp_path: Path, facts: Path):
    hours = np.arange(60) / 4
    signal = 50 + 300 * shape_of("maturation", hours, 2.0, 0.2, Rates(0.00522, 1.28))
    cells = {1: signal, 2: signal * 0 + 5}
    n = len(hours)
    table = {
        "cell": np.repeat(list(cells), n),
        "time": np.tile(hours * 60, len(cells)),
        "intensity_total_ch_1": np.concatenate(list(cells.values())),
    }
    for fov in json.loads(facts.read_text())["chosen"]:
        (tmp_path / f"traces/fov_{fov:03d}").mkdir(parents=True)
        write_csv(tmp_path / f"traces/fov_{fov:03d}/run_fov_{fov:03d}_traces.csv", table)
    manifest.write(tmp_path / "traces")
    given = {"traces": tmp_path / "traces", "facts": facts, "batch": "0-1", "output": "fits", "figures": "figures"}
    assert run_stage("serving.fit_traces", tmp_path, **given, fit="maturation,decay") == 0
    lines = (tmp_path / "fits/run_fov_000_fits.csv").read_text().splitlines()
    assert lines[0] == "fov,cell,trace,model,r_squared,t0_h,delta_per_h,offset,ktl_per_h,amplitude,note"
    assert len(lines) == 1 + 2 * 2
    row = dict(zip(lines[0].split(","), lines[1].split(",")))
    assert (row["cell"], row["model"], row["note"]) == ("1", "maturation", "")
    assert float(row["t0_h"]) == pytest.approx(2, abs=0.01) and float(row["ktl_per_h"]) == pytest.approx(300, rel=0.01)
    assert lines[3].endswith("the trace is flat")
    assert (tmp_path / "figures/fov_000_5_fits.png").stat().st_size > 1000
    figures = record_of(tmp_path, "fit_traces")["quality"]["per_fov"]["0"]
    assert figures["not_fitted"] == 2 and figures["fits"] == 4


PULSE = """import numpy as np
def fit_pulse(hours, offset=100.0, height=1000.0, peak_h=3.0, width_h=1.0):
    return offset + height * np.exp(-((hours - peak_h) / width_h) ** 2 / 2)
"""


def test_a_model_of_the_users_own(tmp_path: Path, facts: Path):
    """Chosen by its name, beside a built-in one; its parameters are columns."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/pulse.py").write_text(PULSE)
    hours = np.arange(60) / 4
    signal = 70 + 2e5 * np.exp(-(((hours - 6) / 2.5) ** 2) / 2)
    signal[7] = np.nan
    for fov in json.loads(facts.read_text())["chosen"]:
        (tmp_path / f"traces/fov_{fov:03d}").mkdir(parents=True)
        table = {"cell": np.full(60, 3), "time": hours * 60, "intensity_total_ch_1": signal}
        write_csv(tmp_path / f"traces/fov_{fov:03d}/run_fov_{fov:03d}_traces.csv", table)
    manifest.write(tmp_path / "traces")
    given = {"traces": tmp_path / "traces", "facts": facts, "batch": "0-1", "output": "fits", "figures": "figures"}
    given["plugins"] = tmp_path / "plugins"
    assert run_stage("serving.fit_traces", tmp_path, **given, fit="decay,pulse") == 0
    with open(tmp_path / "fits/run_fov_000_fits.csv") as file:
        decay, pulse = csv.DictReader(file)
    assert (decay["model"], pulse["model"], pulse["note"]) == ("decay", "pulse", "")
    assert [float(pulse[n]) for n in ("height", "peak_h", "width_h")] == pytest.approx([2e5, 6, 2.5], rel=1e-3)
    assert float(pulse["r_squared"]) > 0.999 > float(decay["r_squared"]) and decay["peak_h"] in ("", "nan")
    assert (tmp_path / "figures/fov_000_5_fits.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def fit_pulse(hours, rate=None):\n    return hours", "each with a number that it starts from"),
        ("def fit_pulse(hours, rate=float('nan')):\n    return hours", "each with a number that it starts from"),
        ("def fit_pulse(hours):\n    return hours", "it needs parameters after hours"),
        ("import sys\nsys.exit(3)", "raised SystemExit while it was loaded: 3"),
        ("def fit_pulse(hours, cell=1.0):\n    return hours * cell", "called 'cell' as is a column"),
        ("PLUGIN_NAME = 'decay'\ndef fit_pulse(hours, a=1.0):\n    return hours * a", "a built-in model has this name"),
        ("def fit_pulse(hours, a=1.0):\n    return a", "gave an array of shape (), expected (24,)"),
        ("def fit_pulse(hours, values, a=1.0):\n    return hours", "takes 2 arguments, expected 1"),
    ],
)
def test_a_model_that_cannot_be_is_refused_before_any_work(tmp_path: Path, facts: Path, capsys, text: str, message: str):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/pulse.py").write_text(text)
    given = {"facts": facts, "plugins": tmp_path / "plugins", "checked": "checked.txt"}
    assert run_stage("serving.check_inputs", tmp_path, **given, fit="pulse,decay") == 64
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fit": "maturing"}, "--fit 'maturing' is not known; there are maturation, translation, decay"),
        ({"fit": "decay", "fit_feature": "area"}, "--fit_feature 'area' is not measured; --fl_features gives inten"),
    ],
)
def test_wrong_choices_are_refused_before_any_work(tmp_path: Path, facts: Path, capsys, given: dict, message: str):
    assert run_stage("serving.check_inputs", tmp_path, facts=facts, checked="checked.txt", **given) == 64
    assert message in capsys.readouterr().err
    assert run_stage("serving.check_inputs", tmp_path, facts=facts, checked="checked.txt", fit="decay") == 0


def test_fits_need_fluorescence(tmp_path: Path, movie_file: Path, capsys):
    assert run_timelapse(tmp_path, movie_file, upto="inspect_movie", pc_channel=0) == 0
    assert run_stage("serving.check_inputs", tmp_path, facts=tmp_path / "movie.json", checked="c.txt", fit="decay") == 64
    assert "--fit needs fluorescence traces" in capsys.readouterr().err


def test_an_empty_table_has_no_figure(tmp_path: Path, facts: Path):
    for fov in json.loads(facts.read_text())["chosen"]:
        (tmp_path / f"traces/fov_{fov:03d}").mkdir(parents=True)
        empty = {"cell": np.zeros(0, int), "time": np.zeros(0), "intensity_total_ch_1": np.zeros(0)}
        write_csv(tmp_path / f"traces/fov_{fov:03d}/run_fov_{fov:03d}_traces.csv", empty)
    manifest.write(tmp_path / "traces")
    given = {"traces": tmp_path / "traces", "facts": facts, "batch": "0-1", "output": "fits", "figures": "figures"}
    assert run_stage("serving.fit_traces", tmp_path, **given, fit="decay") == 0
    assert not len(read_csv(tmp_path / "fits/run_fov_000_fits.csv")["cell"])
