"""Evaluate: neurites against the truth, which goes through the same transforms first.

The truth is moved as the image was (simulated jitter, then the alignment, as one transform), sampled
once by nearest neighbour. Voxels outside the field of view are 0 and are left out.
"""

from __future__ import annotations

import json

import numpy as np

from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import open_image
from ..transform import simulate_misalignment
from ..transform.transforms import load
from .score import Contingency


class Parameters(simulate_misalignment.Parameters):
    """Scoring."""

    score_border: int = param(0, "Leave out voxels this near to a boundary of the truth, in-plane", unit="px", ge=0, le=32)


def run(p: Parameters, task: Task, *, labels: In, truth: In, transforms: In, output: Out) -> None:
    found, true = open_image(labels), open_image(truth)
    if found.shape != true.shape:
        raise DataError(f"--truth has shape {true.shape} and the volume {found.shape} (z, y, x); expected the same")
    moves = load(transforms)
    if p.simulate_misalignment:
        moves = [j.then(m) for j, m in zip(simulate_misalignment.transforms(p, len(moves)), moves)]
    table, bordered = Contingency(), Contingency(border=2)
    custom = Contingency(border=p.score_border) if p.score_border not in (0, 2) else None
    depth, height, width = found.shape
    thick = max(1, min(found.layout().shard[0], int(64e6 // (height * width)) or 1))
    for z0 in task.progress(range(0, depth, thick), "slabs scored"):
        region = (slice(z0, min(z0 + thick, depth)), slice(0, height), slice(0, width))
        t, f = simulate_misalignment.render_region(true, moves, region, "nearest"), found.read(region)
        for one in filter(None, (table, bordered, custom)):
            one.add(t, f)
    scores = {**table.result(), "border_2": bordered.result()}
    if custom:
        scores[f"border_{p.score_border}"] = custom.result()
    output.write_text(json.dumps(scores, indent=1, sort_keys=True))
    task.report(**{k: v for k, v in scores.items() if np.isscalar(v)})
