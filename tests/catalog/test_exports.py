"""Lineage for others, and service levels: complete, consistent, and true to the records."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill import cli
from voxelmill.catalog import costs, exports, releases, slo
from voxelmill.catalog.store import Store
from voxelmill.core.errors import DataError, ParameterError


def test_ro_crate(store: Store, tmp_path: Path) -> None:
    """Every reference leads somewhere, every file is there and described, the task graph is the records'."""
    out = exports.ro_crate(store, "r1", tmp_path / "crate")
    graph = json.loads((out / "ro-crate-metadata.json").read_text())["@graph"]
    known = {entity["@id"]: entity for entity in graph}
    assert len(known) == len(graph)

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if set(value) == {"@id"} else [r for v in value.values() for r in references(v)]
        return [r for v in value for r in references(v)] if isinstance(value, list) else []

    outside = {r for e in graph for r in references(e)} - known.keys()
    assert all(r.startswith("http") for r in outside), outside
    files = {e["name"]: e for e in graph if e["@type"] == "File"}
    listed = releases.manifest_of(store, "r1")["files"]
    assert {n: e["sha256"] for n, e in files.items()} == {n: row[1] for n, row in listed.items()}
    assert all((out / name).stat().st_size == row[0] for name, row in listed.items()) and (out / "main.nf").exists()
    root = known["./"]
    assert root["mainEntity"]["@id"] == "main.nf" and {p["@id"] for p in root["hasPart"]} > {"tables/edges.parquet"}
    graph_task = next(e for e in graph if e.get("name") == "graph" and e["@type"] == "CreateAction")
    assert {"@id": "tables/edges.parquet"} in graph_task["result"]
    assert {"@id": "tables/merge/z0000000.parquet"} in graph_task["object"]
    with pytest.raises(DataError, match="not empty"):
        exports.ro_crate(store, "r1", out)


def test_what_the_profile_requires(store: Store, tmp_path: Path) -> None:
    """Provenance Run Crate 0.5 and those that it stands on, as far as they say MUST."""
    out = exports.ro_crate(store, "r1", tmp_path / "crate")
    known = {e["@id"]: e for e in json.loads((out / "ro-crate-metadata.json").read_text())["@graph"]}

    def of(kind: str) -> list[dict]:
        return [e for e in known.values() if kind in ([e["@type"]] if isinstance(e["@type"], str) else e["@type"])]

    def kinds(reference: dict) -> set[str]:
        found = known[reference["@id"]]["@type"]
        return {found} if isinstance(found, str) else set(found)

    root, about = known["./"], known["ro-crate-metadata.json"]
    assert about["about"] == {"@id": "./"} and {"name", "description", "datePublished", "license"} <= root.keys()
    assert {c["@id"] for c in root["conformsTo"]} == set(exports.PROFILES.values()) <= known.keys()
    workflow, ran = known[root["mainEntity"]["@id"]], of("CreateAction")
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} <= kinds(root["mainEntity"])
    assert kinds(workflow["programmingLanguage"]) == {"ComputerLanguage"} and {s["@id"] for s in workflow["step"]} == {
        s["@id"] for s in of("HowToStep")
    }
    assert all(kinds(s["workExample"]) == {"SoftwareApplication"} and s["workExample"] in workflow["hasPart"]
               for s in of("HowToStep"))  # fmt: skip
    assert all({"SoftwareApplication", "ComputationalWorkflow"} & kinds(action["instrument"]) for action in ran)
    (whole,) = (action for action in ran if action["instrument"] == root["mainEntity"])
    assert all({"@id": action["@id"]} in root["mentions"] for action in ran)
    controlled = [one["@id"] for control in of("ControlAction") for one in control["object"]]
    assert sorted(controlled) == sorted(action["@id"] for action in ran if action is not whole)
    assert all(kinds(control["instrument"]) == {"HowToStep"} for control in of("ControlAction"))
    (organized,) = of("OrganizeAction")
    assert organized["result"] == {"@id": whole["@id"]} and kinds(organized["instrument"]) == {"SoftwareApplication"}
    assert {c["@id"] for c in organized["object"]} == {c["@id"] for c in of("ControlAction")}


@pytest.mark.skipif(shutil.which("rocrate-validator") is None, reason="no rocrate-validator on PATH (PyPI: roc-validator)")
def test_by_the_validator(store: Store, tmp_path: Path) -> None:
    """No errors at the level `required`. Offline it cannot read the contexts on the web, and says that of them alone."""
    exports.ro_crate(store, "r1", tmp_path / "crate")
    words = ["-y", "validate", "--offline", "-p", "provenance-run-crate", "-l", "required", "--no-paging", "-f", "json"]
    command = ["rocrate-validator", *words, "-o", str(tmp_path / "found.json"), str(tmp_path / "crate")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (tmp_path / "found.json").exists(), done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [i["message"] for i in found["issues"] if "Unable to retrieve the JSON-LD context" not in i["message"]] == []


def test_open_lineage(store: Store, tmp_path: Path) -> None:
    assert (
        cli.main(["release", "export", str(store.root), "r1", "--out", str(tmp_path / "e"), "--format", "openlineage"]) == 0
    )
    events = [json.loads(line) for line in (tmp_path / "e").read_text().splitlines()]
    started = {e["run"]["runId"] for e in events if e["eventType"] == "START"}
    assert started == {e["run"]["runId"] for e in events if e["eventType"] == "COMPLETE"} and len(started) * 2 == len(events)
    made = {o["name"] for e in events for o in e["outputs"]}
    assert {row["digest"] for row in releases.manifest_of(store, "r1")["published"]} <= made


def test_service_levels(store: Store, tmp_path: Path) -> None:
    found = slo.measure(store)
    assert found["whole"]["integrity"] is None  # never checked: not known, which is not good
    assert cli.main(["release", "verify", str(store.root)]) == 0
    (tmp_path / "targets.json").write_text(json.dumps({"score.voi_split": {"max": 0.2}}))
    (tmp_path / "prices.json").write_text(json.dumps({"core_hour": 3600, "gb_month": 0}))
    found = slo.measure(store, tmp_path / "targets.json", tmp_path / "prices.json")
    goals = {g["name"]: g["met"] for g in found["targets"]}
    assert goals["integrity"] is True and goals["score.voi_split"] is False  # r2 is current, and splits
    first, second = found["releases"]
    assert first["cost"] == pytest.approx(0.4 * first["tasks"]) and first["voxels"] == 16 * 32 * 32
    for row in found["releases"]:  # one reckoning: what is shared is paid once, and went into both
        whole = costs.costs(store, row["tag"])
        assert row["tasks"] <= whole["tasks"] and whole["core_hours"] == pytest.approx(whole["tasks"] * 0.4 / 3600)
        assert sum(s["core_hours"] for s in whole["stages"]) == pytest.approx(whole["core_hours"])
    said = slo.lines(found)
    assert any(re.search(r"^score\.voi_split +[\d.]{1,6} +at most 0\.2 +MISSED$", line) for line in said), said
    assert not re.search(r"\d\.\d{7}", "\n".join(said))
    releases.rollback(store, "r1", "splits")
    found = slo.measure(store, tmp_path / "targets.json")
    assert {g["name"]: g["met"] for g in found["targets"]}["score.voi_split"] is True
    assert found["error_budget"]["used"] == 1 and found["error_budget"]["left"] == 0
    assert second["tag"] == "r2" and "<table>" in slo.page(found) and "<script" not in slo.page(found)
    assert cli.main(["slo", str(store.root), "--out", str(tmp_path / "slo")]) == 0
    assert json.loads((tmp_path / "slo/slo.json").read_text())["whole"]["releases"] == 2
    (tmp_path / "bad.json").write_text('{"x": "y"}')
    with pytest.raises(ParameterError, match="--targets"):
        slo.measure(store, tmp_path / "bad.json")


def test_the_command_starts_quickly() -> None:
    """The catalogue's commands load neither server nor numbers before they need them."""
    code = (
        "import sys, voxelmill.cli as c; c.parser(); print([m for m in ('numpy', 'fastapi', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
