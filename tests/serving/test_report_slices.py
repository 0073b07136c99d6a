"""The report's section of slices: every slice by name, with what became of it and why; every pair; page and bundle."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from voxelmill.testing.report import slices_report

QUIET = {"report_plots": False}


def rows(page: str, title: str) -> dict[str, list[str]]:
    """Cells of a table's rows by the first cell."""
    table = re.search(rf"<h3>{title}</h3>.*?</table>", page, re.S)
    assert table, title
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table[0].split("<tr>")[2:]]
    return {re.sub("<.*?>", "", cells[0]): [re.sub("<.*?>", "", cell) for cell in cells[1:]] for cells in found}


def test_every_slice_has_a_row(tmp_path: Path):
    page = slices_report(tmp_path, **QUIET).read_text()
    found = rows(page, "Every slice")
    assert {name: cells[0] for name, cells in found.items()} == {
        "z00": "not used", "z01": "stacked", "z02": "stacked", "z03": "interpolated", "z04": "stacked", "z05": "failed",
        "z06": "stacked",
    }  # fmt: skip
    # place, plane and how far off it is, shift and turn, the nearest pair, quality, remarks
    assert found["z04"][1:] == [
        "12",
        "8",
        "64",
        "1",
        "0.4",
        "-0.8",
        "0.04",
        "0.4",  # of z02 and z04: z03 is interpolated
        "0.7",
        "0.81",
        "stage jumped here, mended",
    ]
    assert found["z06"][-1] == "behind a gap, or held by no pair: may lie 1.5 px off"
    assert found["z05"][-1] == "all tiles are empty" and found["z00"][-1] == "calibration; calibration_slice"


def test_what_is_not_there_is_said_first(tmp_path: Path):
    page = slices_report(tmp_path, **QUIET).read_text()
    assert rows(page, "Not in the volume as imaged") == {
        "z00": ["not used", "calibration"], "z03": ["interpolated", "measured"], "z05": ["failed", "all tiles are empty"],
    }  # fmt: skip
    assert page.index("all tiles are empty") < page.index("Every slice")


def test_every_pair_has_its_decision(tmp_path: Path):
    found = rows(slices_report(tmp_path, **QUIET).read_text(), "Transforms of pairs, and what was decided")
    assert len(found) == 5
    skipped = found["z03\u2060–\u2060z04"]
    assert skipped[:4] == ["skipped", "ok", "status error: &lt;nothing&gt;", "0.1"]


def test_steps_of_slices_are_side_by_side(tmp_path: Path):
    found = rows(slices_report(tmp_path, **QUIET).read_text(), "What the steps on each slice measured")
    assert found == {"surface plane": ["5.5", "6.5", "8.5", "", "10.5"]}


def test_the_bundle_holds_page_and_pictures(tmp_path: Path):
    page = slices_report(tmp_path / "zip", report_format="zip", **QUIET)
    with zipfile.ZipFile(page.with_suffix(".zip")) as made:
        assert made.namelist() == ["sub-01_quality_report.html", "previews/drift.png"]
        assert made.read("sub-01_quality_report.html") == page.read_bytes()
    assert not slices_report(tmp_path / "html", report_format="html", **QUIET).with_suffix(".zip").exists()


def test_without_a_report_the_run_is_still_accounted_for(tmp_path: Path):
    assert not slices_report(tmp_path, generate_report=False, **QUIET).exists()
    assert (tmp_path / "report.provenance.json").exists()
