"""Merge samples: one table per sample and feature; fields of view without traces are listed, not fatal."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.testing.stages import record_of, run_stage


def merge(folder: Path, stages: Path, sheet: str, **params: object) -> int:
    (folder / "samples.yaml").write_text(sheet)
    return run_stage(
        "serving.merge_samples",
        folder,
        traces=stages / "traces",
        sheet="samples.yaml",
        facts=stages / "movie.json",
        output="merged",
        samples="samples.yaml",
        **params,
    )


def test_a_table_per_sample_and_feature(tmp_path: Path, stages: Path):
    sheet = "samples:\n- {name: control, fovs: 0}\n- {name: treated, fovs: '1'}\n"
    assert merge(tmp_path, stages, sheet) == 0
    assert sorted(p.name for p in (tmp_path / "merged").iterdir()) == sorted(
        f"{s}_{f}.csv"
        for s in ("control", "treated")
        for f in ("area_ch_0", "aspect_ratio_ch_0", "intensity_mean_ch_1", "intensity_total_ch_1")
    )
    lines = (tmp_path / "merged/treated_area_ch_0.csv").read_text().splitlines()
    assert lines[:2] == ["# Time units: min", "time,fov,cell,value"] and lines[2].split(",")[1] == "1"


def test_a_fov_that_was_left_out_is_listed(tmp_path: Path, stages: Path, capsys: pytest.CaptureFixture):
    import shutil

    shutil.copytree(stages / "traces", tmp_path / "traces")
    shutil.copy(stages / "movie.json", tmp_path)
    shutil.rmtree(tmp_path / "traces/fov_001")
    sheet = "samples:\n- {name: all, fovs: 0-1}\n"
    assert merge(tmp_path, tmp_path, sheet) == 0
    assert record_of(tmp_path, "merge_samples")["quality"]["left_out_of_samples"] == {"all": [1]}
    assert merge(tmp_path, tmp_path, sheet, strict=True) == 65
    assert "no traces for fields of view {'all': [1]}" in capsys.readouterr().err


def test_a_fov_that_is_not_in_the_movie_is_refused(tmp_path: Path, stages: Path, capsys: pytest.CaptureFixture):
    assert merge(tmp_path, stages, "samples:\n- {name: a, fovs: 0-5}\n") == 64
    assert "field of view 5 is not there; there are 2" in capsys.readouterr().err
