"""Analysis of turns: neighbours added up, against what the volume has; large ones named."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from voxelmill.testing.slices import pair
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.pairs import write_metrics
from voxelmill.transform.plan_stack import MATCHES, write_table

TURNS = {(1, 2): 0.5, (2, 4): 3.0, (4, 5): -1.0, (1, 4): 3.5}


def analyse(folder: Path, **flags: object) -> list[dict[str, str]]:
    for (a, b), turn in TURNS.items():
        write_metrics(folder / f"{a}-{b}.json", pair(a, b, rotation_deg=turn))
    write_table(
        folder / "z_matches.csv", MATCHES, [[f"{n:02d}", 0, 0, 9, 0, 0, t] for n, t in ((1, 0.2), (2, -0.3), (4, -3.3))]
    )
    given = {"metrics": sorted(folder.glob("?-?.json")), "matches": "z_matches.csv", "output": "out"}
    assert run_stage("serving.analyze_rotation_drift", folder, **given, **flags) == 0
    with open(folder / "out/rotation_drift.csv") as file:
        return list(csv.DictReader(file))


def test_turns_of_neighbours_add_up(tmp_path: Path) -> None:
    rows = analyse(tmp_path)
    assert [(row["fixed_id"], row["moving_id"]) for row in rows] == [("01", "02"), ("02", "04"), ("04", "05")]
    assert [float(row["added_up_deg"]) for row in rows] == pytest.approx([-0.5, -3.5, -2.5])
    assert [row["in_volume_deg"] for row in rows] == ["-0.3000", "-3.3000", ""]
    said = (tmp_path / "out/rotation_drift.txt").read_text()
    assert "added up: -2.5000 at the last slice, 3.5000 at most" in said
    assert {"rotation_drift.png", "rotation_drift.pdf"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("threshold, flagged", [(2.0, ["z02 to z04"]), (0.9, ["z02 to z04", "z04 to z05"]), (4.0, [])])
def test_large_turns_are_named(threshold: float, flagged: list[str], tmp_path: Path) -> None:
    rows = analyse(tmp_path, diagnostic_rotation_threshold=threshold)
    assert [f"z{r['fixed_id']} to z{r['moving_id']}" for r in rows if r["flagged"] == "true"] == flagged
    notes = record_of(tmp_path, "analyze_rotation_drift")["quality"].get("notes", [])
    assert [note.split(" turn")[0] for note in notes] == flagged


def test_one_slice_has_no_turn(tmp_path: Path) -> None:
    write_table(tmp_path / "z_matches.csv", MATCHES, [["01", 0, 0, 9, 0, 0, 0]])
    assert run_stage("serving.analyze_rotation_drift", tmp_path, matches="z_matches.csv", output="out") == 0
