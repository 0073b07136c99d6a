"""Evaluate: neurites against the truth, which goes through the same transforms first.

The truth is moved as the image was (simulated jitter, then the alignment, as one transform), sampled
once by nearest neighbour. Voxels outside the field of view are 0 and are left out.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import numpy as np

from ..core import blocks
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from ..transform import simulate_misalignment
from ..transform.rendering import render_region
from ..transform.transforms import load
from ..transform.warp import SectionTransform
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
    tables = {border: Contingency(border=border) for border in sorted({0, 2, p.score_border})}
    lay = found.layout()
    shards = [(region, moves[region[0]]) for region in blocks.regions(lay, f"0-{math.prod(lay.grid) - 1}")]
    for counted in task.each(partial(count, true, found, list(tables)), shards, "shards scored"):
        for table, more in zip(tables.values(), counted, strict=True):
            table.merge(more)
    scores: dict[str, Any] = tables.pop(0).result()
    scores |= {f"border_{border}": table.result() for border, table in tables.items()}
    output.write_text(json.dumps(scores, indent=1, sort_keys=True))
    task.report(**{k: v for k, v in scores.items() if np.isscalar(v)})


def count(true: Image, found: Image, borders: list[int], one: tuple[Region, list[SectionTransform]]) -> list[Contingency]:
    """The tables of a region, one for each border; it reads the truth that far around."""
    region, moves = one
    reach = max(borders)
    outer, inner = blocks.widen(region, (0, reach, reach), found.shape)
    moved, labels = render_region(true, moves, outer, "nearest"), found.read(region)
    tables = [Contingency(border=border) for border in borders]
    for table in tables:
        table.add(moved, labels, inner[1:])
    return tables
