"""The run log takes what a run was given, however it was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from voxelmill.core.runs import closing_lines, log, plain, remarks, stopped_lines, table
from voxelmill.serving import report_slices

KILLED = "Process `INGEST` was killed\nlong account"


@pytest.mark.parametrize(
    "cutout, logged", [("96,96,16", [96, 96, 16]), ("[96, 96, 16]", [96, 96, 16]), (None, [None] * 3), ("", [None] * 3)]
)
def test_a_run_is_logged(cutout: str | None, logged: list[int | None], tmp_path: Path):
    given: dict[str, Any] = {
        "input": "it's $(touch PWNED)",
        "cutout": cutout,
        "voxel_size": "[8,8,4]",
        "workflow": "connectome",
    }
    names = ("run_id", "session_id", "profile", "command", "revision", "nextflow_version", "error", "error_report")
    log(str(tmp_path), {"params": given, "status": "running", "resume": False, **dict.fromkeys(names, "x")})
    (row,) = table(tmp_path)
    assert [row[f"cutout_{axis}"] for axis in "xyz"] == logged and row["dataset_uri"] == given["input"]


def test_what_a_user_must_know_is_said_once_at_the_end(tmp_path: Path):
    told = {
        "notes": ["its voxel size is not known", "so is its origin"],
        "sections_missing": [3, 4],
        "sections_blank": [],
        "shape": [9, 9, 9],
    }
    found = [{"stage": "ingest", "quality": told, "left_out": {"z03": "torn"}}] * 2 + [{"stage": "old"}]
    assert [line.strip() for line in closing_lines(tmp_path, found)[2:]] == [
        "NOTE     ingest: left out z03: torn",
        "NOTE     ingest: its voxel size is not known",
        "NOTE     ingest: so is its origin",
        "NOTE     ingest: sections missing: 3, 4",
    ]


def test_what_is_said_of_a_slice_names_it(tmp_path: Path):
    """Once for all slices of which the same is said."""
    told = [(0, {"notes_beam": "no agarose"}), (12, {"notes_beam": "no agarose", "notes": "one seam"}), (3, {})]
    found = [{"stage": "prepare_slice", "block": str(n), "quality": quality} for n, quality in told]
    assert [line.strip() for line in closing_lines(tmp_path, found)[2:]] == [
        "NOTE     prepare_slice: z00, z12: no agarose",
        "NOTE     prepare_slice: z12: one seam",
    ]


def test_notes_of_any_step_and_label_have_a_line_each_and_are_not_repeated():
    """Steps that run one by one find the same tiles saturated, the last of them fewer."""
    found = [
        {"stage": "normalize", "block": "part b", "quality": {"notes": ["one seam", "no agarose"]}},
        {"stage": "normalize", "block": "2", "quality": {"notes": ["one seam"]}},
        {"stage": "crop_interface", "block": "2", "quality": {"notes_surface": "none"}},
        {"stage": "fix_focal_curvature", "block": "2", "quality": {"notes_saturated": "3 tiles", "notes_curvature": "flat"}},
        {"stage": "resample_mosaic_grid", "block": "z02", "quality": {"notes_saturated": "4 tiles"}},
        {"stage": "resample_mosaic_grid", "block": "z7", "quality": {"notes_numbers": "4 voxels"}},
        {"stage": "fix_focal_curvature", "block": "z7", "quality": {"notes_saturated": "1 tile"}},
        {"stage": "estimate_global_illumination", "quality": {"notes_light": "dark"}},
    ]
    assert remarks(found) == [
        "estimate_global_illumination: dark",
        "resample_mosaic_grid: z02: 4 tiles",
        "resample_mosaic_grid: z07: 4 voxels",
        "fix_focal_curvature: z02: flat",
        "fix_focal_curvature: z07: 1 tile",
        "crop_interface: z02: none",
        "normalize: z02, part b: one seam",
        "normalize: part b: no agarose",
    ]
    assert re.findall("<th.*?>(.*?)</th>", report_slices.steps(found))[1:] == ["z02", "z07", "part b"]


@pytest.mark.parametrize(
    ("report", "error", "told"),
    [
        (
            "Command error:\n  WARN x\n  ERROR [ingest] a.tif: torn; mend it\nWork dir:\n  /w",
            KILLED,
            "ERROR [ingest] a.tif: torn; mend it",
        ),
        (None, KILLED, "Process `INGEST` was killed"),
        ('Error executing\n\nCaused by:\n  Cannot run program "sbatch"\n', "", 'Cannot run program "sbatch"'),
    ],
)
def test_a_run_that_has_failed_says_why_and_what_to_do(report: str | None, error: str, told: str):
    facts = {"error": error, "error_report": report}
    why, then = (line.strip() for line in stopped_lines(facts)[2:])
    assert why == told and "-resume" in then


def test_who_interrupts_a_run_has_nothing_to_mend():
    told, then = (line.strip() for line in stopped_lines({"error": "SIGINT", "error_report": "SIGINT"})[2:])
    assert told == "It was told to, by SIGINT." and "kept: give the same command with -resume" in then


def test_figures_are_said_as_a_person_reads_them():
    said = plain({"width": 15.261494903398768, "size": None, "frames": [3, 4.5]})
    assert said == "width: 15.2615; size: none; frames: 3, 4.5"
