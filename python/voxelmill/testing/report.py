"""A report of slices made of small tables, for tests: 3 was never imaged and is interpolated, 5 failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core import slice_config
from ..transform.plan_stack import DECISIONS, MATCHES, write_table
from .stages import run_stage

RECORD = {
    "block": "", "code_version": "0.1.0", "start": "2026-01-01T00:00:00.000Z", "wall_s": 1.0, "cpu_s": 0.5,
    "startup_cpu_s": 0.2, "peak_memory_bytes": 2**27, "bytes_in": 10, "bytes_out": 20,
    "params": {"seed": 7}, "quality": {}, "inputs": [],
    "outputs": [],
}  # fmt: skip


def slices_report(folder: Path, **flags: Any) -> Path:
    """The page."""
    tables, records = folder / "tables", folder / "records/1"
    for path in (tables, records, folder / "figures"):
        path.mkdir(parents=True)
    numbers = (1, 2, 3, 4, 6)
    config = slice_config.of((0, *numbers), 1).stamped(
        {
            3: {"use": False, "interpolated": True, "interpolation_method_used": "measured"},
            4: {"rehomed": True, "quality_score": 0.81},
            5: {"use": False, "exclude_reason": "its own tasks failed"},
        }
    )
    slice_config.write(tables / "slice_config_final.csv", config)
    columns = ("slice_id", "dim1_px", "dim2_px", "origin_dim1_mm", "origin_dim2_mm")
    write_table(tables / "common_space.csv", columns, [[f"{n:02d}", 3 * n, 2 * n, 0, 0] for n in numbers if n != 3])
    laid = [[f"{n:02d}", 16 * n, f"{16 * n - 1}.000", 34, 0.1 * n, -0.2 * n, 0.01 * n, 1.5 * (n == 6), 0] for n in numbers]
    write_table(tables / "z_matches.csv", MATCHES, laid)
    pairs = [
        [f"{a:02d}", f"{b:02d}", use, why, sure, "ok", 0.7, 0.6, 1.25, -0.5, 0.1]
        for a, b, use, why, sure in (
            (1, 2, "full", "", 0.9), (2, 3, "full", "", 0.8), (3, 4, "skipped", "status error: <nothing>", 0.1),
            (2, 4, "rotation only", "confidence 0.40", 0.4), (4, 6, "full", "", 0.7),
        )
    ]  # fmt: skip
    write_table(tables / "stacking_decisions.csv", DECISIONS, pairs)
    made: list[tuple[str, str, dict, dict]] = [
        ("prepare_slice", f"{n}", {"surface_plane": 4.5 + n}, {}) for n in (1, 2, 4, 6)
    ]
    made += [("prepare_slice", "5", {}, {"5": "all tiles are empty"}), ("plan_stack", "", {"slices": 5}, {})]
    for stage, block, quality, lost in made:
        record = {**RECORD, "stage": stage, "block": block, "quality": quality, "left_out": lost}
        (records / f"{stage}.{block}.provenance.json").write_text(json.dumps(record))
    (folder / "figures/drift.png").write_bytes(b"\x89PNG picture, not a real one")
    files = {"records": "records", "figures": "figures", "tables": "tables", "output": "sub-01_quality_report.html"}
    more = {"archive": "sub-01_quality_report.zip", "title": "slices", **flags}
    assert run_stage("serving.report", folder, **files, **more) == 0
    return folder / "sub-01_quality_report.html"
