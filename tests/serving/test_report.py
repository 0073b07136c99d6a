"""Report: one page that needs nothing else, and says aloud what was left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from voxelmill.serving.report import provenance, tabled
from voxelmill.testing.stages import run_stage


def write(folder: Path, quality: dict, **params) -> str:
    for name in ("records/1", "records/2", "figures", "tables"):
        (folder / name).mkdir(parents=True)
    base = {
        "block": "",
        "code_version": "0.1.0",
        "start": "2026-01-01T00:00:00.000Z",
        "wall_s": 1.0,
        "cpu_s": 0.5,
        "startup_cpu_s": 0.2,
        "peak_memory_bytes": 2**27,
        "bytes_in": 10,
        "bytes_out": 20,
        "params": {"seed": 7},
    }
    for n, stage in ((1, "align"), (2, "segment")):
        record = {**base, "stage": stage, "quality": quality if stage == "align" else {"segments": 12}}
        (folder / f"records/{n}/{stage}.provenance.json").write_text(json.dumps(record))
    faults = {"splits": 12, "merges": 3, "run_length_unit": "nm", "expected_run_length": 8.2e3}
    faults["expected_run_length_of_truth"] = 9.9e3
    (folder / "tables/score.json").write_text(json.dumps({"voi_split": 1.0, "voi_merge": 0.5, "arand": 0.1, **faults}))
    (folder / "figures/figure1.png").write_bytes(b"\x89PNG picture")
    assert (
        run_stage(
            "serving.report",
            folder,
            records="records",
            figures="figures",
            tables="tables",
            title="a <b> title",
            presets="profile minimal: --crops false (else true)",
            output="report.html",
            **params,
        )
        == 0
    )
    return (folder / "report.html").read_text()


def test_it_stands_alone(tmp_path: Path):
    page = write(tmp_path, {"pairs": 3})
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    outside = [u for u in re.findall(r'(?:src|href)=["\'](.*?)["\']', markup) if not u.startswith("data:")]
    assert outside == []
    assert "a &lt;b&gt; title" in page and "--seed" in page and "adapted Rand error" in page and "12" in page
    assert "12 / 3" in page and "8.2 of 9.9 µm" in page
    assert "<p>Profile minimal: --crops false (else true)</p>" in page
    assert "Please look at" not in page


def test_what_was_bridged_is_said(tmp_path: Path):
    page = write(tmp_path, {"sections_flagged": {"7": "blank", "9": "corrupt"}, "empty_sections": [3, 4]}, report_plots=False)
    said = page[page.index("Please look at") :]
    assert "sections flagged: 7: blank; 9: corrupt" in said and "empty sections: 3, 4" in said
    assert "plotly" not in page.lower()


def test_figures_of_many_items_are_tables():
    shown = tabled({"0": {"cells": 3, "notes": []}, "1": {"cells": 5, "border_margin": 8}})
    assert "{" not in shown and "<th>border margin</th>" in shown and "<td>5</td>" in shown
    assert tabled({"0": "8 (0-7)"}) == "0: 8 (0-7)" and tabled(["a <b>", "c d"]) == "a &lt;b&gt;<br>c d"


def test_where_tasks_ran_is_said():
    """Of those that can use a GPU."""
    none = {"stage": "align", "params": {}, "device": "cpu"}
    some = [{**none, "params": {"use_gpu": True}, "device": device} for device in ("cpu", "cpu", "A GPU")]
    assert "can use a GPU" not in provenance([none])
    assert "2 on cpu; --use_gpu: CuPy found no GPU, so all ran on the CPU" in provenance([none, *some[:2]])
    assert "1 on A GPU, 2 on cpu<" in provenance(some)
