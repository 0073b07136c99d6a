"""Summarize: a line per field of view with its figures; what was left out, where and why."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from voxelmill.testing.stages import record_of, run_stage


def summarize(folder: Path, stages: Path, change=lambda record: None) -> int:
    (folder / "records").mkdir(parents=True)
    for path in stages.glob("*.provenance.json"):
        record = json.loads(path.read_text())
        change(record)
        (folder / "records" / path.name).write_text(json.dumps(record))
    return run_stage(
        "serving.summarize",
        folder,
        facts=stages / "movie.json",
        records="records",
        config="processing_config.yaml",
        fovs="fovs.csv",
    )


def rows(folder: Path) -> list[dict]:
    with open(folder / "fovs.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_fov_has_a_line(tmp_path: Path, stages: Path):
    assert summarize(tmp_path, stages) == 0
    table = rows(tmp_path)
    assert [(r["fov"], r["name"], r["frames"], r["status"]) for r in table] == [
        ("0", "Position 0", "8", "done"),
        ("1", "Position 1", "8", "done"),
    ]
    assert all(int(r["cells"]) == int(r["kept"]) + int(r["short"]) + int(r["border"]) > 0 for r in table)
    config = yaml.safe_load((tmp_path / "processing_config.yaml").read_text())
    assert config["channels"] == {
        "pc": {"channel": 0, "features": ["area", "aspect_ratio"]},
        "fl": [{"channel": 1, "features": ["intensity_total", "intensity_mean"]}],
    }
    assert config["metadata"]["fovs"][0]["times"][:2] == [0, 7.5] and config["params"]["tile_size"] == 64
    assert "&id" not in (tmp_path / "processing_config.yaml").read_text()


def fail(stage: str, fovs: list[str]):
    def change(record: dict) -> None:
        if record["stage"] == stage:
            record["left_out"] = dict.fromkeys(fovs, "the reason")

    return change


def test_a_failed_fov_is_listed(tmp_path: Path, stages: Path):
    assert summarize(tmp_path, stages, fail("track_cells", ["fov_001"])) == 0
    assert [(r["status"], r["stage"], r["reason"]) for r in rows(tmp_path)] == [
        ("done", "", ""),
        ("failed", "track_cells", "the reason"),
    ]
    assert record_of(tmp_path, "summarize")["quality"]["fovs_left_out"] == 1
    config = yaml.safe_load((tmp_path / "processing_config.yaml").read_text())
    assert config["results"]["fovs"][1]["status"] == "failed"


def test_nothing_left_is_an_error(tmp_path: Path, stages: Path, capsys: pytest.CaptureFixture):
    assert summarize(tmp_path, stages, fail("copy_movie", ["fov_000", "fov_001"])) == 65
    assert "no field of view could be processed; copy_movie: the reason" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "records")
