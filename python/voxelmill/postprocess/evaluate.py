"""Evaluate: neurites against the truth, which goes through the same transforms first; at several thresholds, where there are.

The truth is moved as the image was (simulated jitter, then the alignment, as one transform), sampled
once by nearest neighbour. Voxels outside the field of view are 0 and are left out.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from ..inference.agglomerate import curve_of
from ..transform import simulate_misalignment
from ..transform.rendering import render_region
from ..transform.transforms import load
from ..transform.warp import SectionTransform
from .score import Contingency


class Parameters(simulate_misalignment.Parameters):
    """Scoring."""

    score_border: int = param(0, "Leave out voxels this near to a boundary of the truth, in-plane", unit="px", ge=0, le=32)


def run(
    p: Parameters,
    task: Task,
    *,
    labels: In,
    truth: In,
    transforms: In,
    output: Out,
    supervoxels: In | None = None,
    overlaps: list[In] | None = None,
    forest: In | None = None,
    evaluation: Out | None = None,
    figure: Out | None = None,
) -> None:
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
    if supervoxels and overlaps and forest and evaluation and figure:
        rows = at_thresholds(true, open_image(supervoxels), overlaps, forest, shards, task)
        evaluation.write_text(json.dumps({"thresholds": rows, "default": scores}, indent=1))
        draw(figure, rows)
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


def at_thresholds(
    true: Image,
    pieces: Image,
    overlaps: list[In],
    forest: In,
    shards: list[tuple[Region, list[SectionTransform]]],
    task: Task,
) -> list[dict[str, float]]:
    """Scores at each threshold of the curve (`agglomerate`), from one table of supervoxels and truth."""
    tables = {border: Contingency(border=border) for border in (0, 2)}
    for counted in task.each(partial(count, true, pieces, list(tables)), shards, "shards of supervoxels scored"):
        for table, more in zip(tables.values(), counted, strict=True):
            table.merge(more)
    names, cuts = curve_of(overlaps, forest)
    rows = []
    for threshold, root in cuts:
        row: dict[str, float] = {"threshold": threshold}
        for border, table in tables.items():
            result = table.renamed(names, root + 1).result()
            mark = f"_border_{border}" if border else ""
            row |= {f"{name}{mark}": round(result[name], 5) for name in ("voi_split", "voi_merge", "voi", "arand")}
        rows.append(row)
    return rows


def draw(path: Path, rows: list[dict[str, float]]) -> None:
    """Split against merge error along the thresholds, and adapted Rand error."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    x = [row["threshold"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, label, style in (("voi_split", "split", "C0o-"), ("voi_merge", "merge", "C1s-"), ("voi", "sum", "k.--")):
        left.plot(x, [row[name] for row in rows], style, label=label)
    right.plot(x, [row["arand"] for row in rows], "C3o-", label="all voxels")
    right.plot(x, [row["arand_border_2"] for row in rows], "C3o--", mfc="w", label="without 2 px at true boundaries")
    left.set(xlabel="threshold of agglomeration", ylabel="variation of information, bits", ylim=(0, None))
    right.set(xlabel="threshold of agglomeration", ylabel="adapted Rand error", ylim=(0, None))
    for axis in (left, right):
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)
