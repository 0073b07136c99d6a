"""Align: one joint transform per section from all pairs; bad sections are bridged and listed.

`alignment.csv` has one row a section: dy, dx (px, added to the position of the section's content),
rotation_deg (counter-clockwise on the screen), residual_px, status.
"""

from __future__ import annotations

import json

import numpy as np

from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import open_image
from . import align_pairs, pair_results, section_graph
from .transforms import save
from .warp import SectionTransform


class Parameters(align_pairs.Parameters, Strict):
    """Joint alignment."""

    align_drift: float = param(
        10.0,
        "What is smooth over this many sections is structure, and is kept; 0: corrected too",
        unit="section",
        ge=0,
        le=1000,
    )
    align_max_damage: float = param(0.1, "A section with a larger part that fits no neighbour is corrupt", gt=0, le=1)


def run(p: Parameters, task: Task, *, pairs: list[In], facts: In, volume: In, transforms: Out, table: Out) -> None:
    image = open_image(volume)
    depth = image.shape[0]
    found = solve(p, image, [q for path in pairs for q in load(path)])
    rows = found.rows() if found else unmoved(depth)
    known = {s["section"]: s["status"] for s in json.loads(facts.read_text())["sections"]}
    for row in rows:
        if known.get(row["section"]) == "missing":
            row["status"] = "missing"
    save(transforms, [found.transform(z) for z in range(depth)] if found else [SectionTransform(np.eye(2, 3))] * depth)
    table.write_text(
        "section,dy,dx,rotation_deg,residual_px,status\n"
        + "".join(
            f"{r['section']},{r['dy']:.4f},{r['dx']:.4f},{r['rotation_deg']:.5f},{r['residual_px']:.4f},{r['status']}\n"
            for r in rows
        )
    )
    bad = {r["section"]: r["status"] for r in rows if r["status"] != "ok"}
    residual = np.array([r["residual_px"] for r in rows])
    usual = float(np.nanmedian(residual)) if np.isfinite(residual).any() else None
    task.report(sections_flagged=bad, residual_px_median=usual, alignment=p.alignment)
    if bad:
        print(f"WARNING [align] sections bridged: {bad}")
        if p.strict:
            raise DataError(f"sections that cannot be aligned: {bad}; --strict false bridges them")


def solve(p: Parameters, image, pairs: list[pair_results.PairResult]) -> section_graph.StackAlignment | None:
    """The joint solution, with further pairs across runs of bad sections; None where nothing is to be done."""
    if p.alignment == "none" or not pairs:
        return None
    depth = image.shape[0]
    pairs = [*pairs, *align_pairs.estimate(p, image, section_graph.bridges(pairs, depth, p.align_max_damage))]
    return section_graph.solve(pairs, depth, drift_sections=p.align_drift, max_damage=p.align_max_damage)


def load(path) -> list[pair_results.PairResult]:
    """The pairs of one task."""
    with np.load(path) as parts:
        return pair_results.unpack({name: parts[name] for name in parts})


def unmoved(depth: int) -> list[dict]:
    return [
        {"section": z, "dy": 0.0, "dx": 0.0, "rotation_deg": 0.0, "residual_px": float("nan"), "status": "ok"}
        for z in range(depth)
    ]
