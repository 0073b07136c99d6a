"""Evaluate: neurites against the truth, which goes through the same transforms first; at several thresholds, where there are.

Scores of voxels, faults counted by segment, and how far one runs along skeletons of the truth before an error.

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
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.shared import Positive
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from ..inference.agglomerate import curve_of
from ..transform import simulate_misalignment
from ..transform.rendering import render_region
from ..transform.transforms import load
from ..transform.warp import SectionTransform
from . import rescore, run_length, score_regions
from .rescore import Tables
from .score import TOLERANCE, Contingency


class Parameters(simulate_misalignment.Parameters):
    """Scoring."""

    score_border: int = param(0, "Leave out voxels this near to a boundary of the truth, in-plane", unit="px", ge=0, le=32)
    score_regions: tuple[Positive, Positive, Positive] = param((2, 2, 2), "Parts Z,Y,X of the volume, each scored, too")


def run(
    p: Parameters,
    task: Task,
    *,
    labels: In,
    truth: In,
    transforms: In,
    output: Out,
    evaluation: Out,
    supervoxels: In | None = None,
    overlaps: list[In] | None = None,
    forest: In | None = None,
    figure: Out | None = None,
    truth_overlap: Out | None = None,
    truth_skeletons: Out | None = None,
) -> None:
    """Thresholds want `supervoxels`, `overlaps` and `forest`; `truth_overlap` and `truth_skeletons` the first of them."""
    found, true = open_image(labels), open_image(truth)
    if found.shape != true.shape:
        raise DataError(f"--truth has shape {true.shape} and the volume {found.shape} (z, y, x); expected the same")
    moves = load(transforms)
    if p.simulate_misalignment:
        moves = [j.then(m) for j, m in zip(simulate_misalignment.transforms(p, len(moves)), moves)]
    lay = found.layout()
    shards = [(region, moves[region[0]]) for region in blocks.regions(lay, f"0-{math.prod(lay.grid) - 1}")]
    images = {"labels": found}
    if supervoxels:
        images["pieces"] = open_image(supervoxels)
    borders = sorted({0, TOLERANCE, p.score_border})
    step = run_length.step_of(found.space, found.shape)
    boxes = score_regions.boxes(found.shape, p.score_regions)
    by_region = {image: {name: Contingency() for name in boxes} for image in images}
    tables = {name: {border: Contingency(border=border) for border in borders} for name in images}
    sampled = []
    for counted, parts, part in task.each(partial(count, true, images, borders, step, boxes), shards, "shards scored"):
        for name, table in counted.items():
            for border, more in table.items():
                tables[name][border].merge(more)
        for name, some in parts.items():
            for part_of, more in some.items():
                by_region[name][part_of].merge(more)
        sampled.append(part)
    bones = run_length.skeletons(sampled, step, found.space, found.shape)
    at_nodes = {name: at(image, bones.voxel, [region for region, _ in shards]) for name, image in images.items()}
    least = run_length.least_of(found.space)
    scores, runs = rescore.scored(tables["labels"], bones, at_nodes["labels"], least)
    scores["run_length_unit"] = "nm" if found.space.known else "voxel"
    output.write_text(json.dumps(scores, indent=1, sort_keys=True))
    told: dict[str, Any] = {"default": scores, **rescore.by_segment(tables["labels"][TOLERANCE], runs)}
    told["regions"] = {name: score_regions.figures(table, boxes[name]) for name, table in by_region["labels"].items()}
    if "pieces" in images and truth_overlap:
        rescore.write(truth_overlap, tables["pieces"], by_region["pieces"])
    if "pieces" in images and truth_skeletons:
        rescore.write_skeletons(truth_skeletons, bones, at_nodes["pieces"])
    if "pieces" in images and overlaps and forest and figure:
        told["thresholds"] = at_thresholds(tables["pieces"], bones, at_nodes["pieces"], least, overlaps, forest)
        draw(figure, told["thresholds"], scores["run_length_unit"])
    evaluation.write_text(json.dumps(told, indent=1))
    task.report(**{k: v for k, v in scores.items() if np.isscalar(v)})


def count(
    true: Image,
    images: dict[str, Image],
    borders: list[int],
    step: tuple[int, ...],
    boxes: dict[str, Region],
    one: tuple[Region, list[SectionTransform]],
) -> tuple[dict[str, Tables], dict[str, dict[str, Contingency]], tuple[np.ndarray, np.ndarray]]:
    """Of a region the tables of each image, whole and by box, and a sample of the truth, which it reads as far around as a
    border goes."""
    region, moves = one
    reach = max(borders)
    outer, inner = blocks.widen(region, (0, reach, reach), true.shape)
    moved = render_region(true, moves, outer, "nearest")
    tables: dict[str, Tables] = {}
    parts: dict[str, dict[str, Contingency]] = {}
    for name, image in images.items():
        labels = image.read(region)
        tables[name] = {border: Contingency(border=border) for border in borders}
        parts[name] = score_regions.count(moved[inner], labels, region, boxes)
        for part in parts[name].values():  # they add up to the whole
            tables[name][0].merge(part)
        for border, table in tables[name].items():
            if border:
                table.add(moved, labels, inner[1:])
    return tables, parts, run_length.sampled(moved[inner], tuple(s.start for s in region), step)


def at(image: Image, voxels: np.ndarray, regions: list[Region]) -> np.ndarray:
    """Labels (n,) at voxels (n, 3), region by region."""
    found = np.zeros(len(voxels), np.int64)
    for region in regions:
        inside = np.flatnonzero(
            np.all([(voxels[:, a] >= s.start) & (voxels[:, a] < s.stop) for a, s in enumerate(region)], 0)
        )
        if len(inside):
            place = voxels[inside] - [s.start for s in region]
            found[inside] = image.read(region)[tuple(place.T)]
    return found


def at_thresholds(
    tables: Tables, bones: run_length.Skeletons, pieces: np.ndarray, least: float, overlaps: list[In], forest: In
) -> list[dict[str, float]]:
    """Scores at each threshold of the curve (`agglomerate`), from one table of supervoxels and truth."""
    names, cuts = curve_of(overlaps, forest)
    place = np.minimum(np.searchsorted(names, pieces.astype(np.uint64)), max(len(names) - 1, 0))
    rows = []
    for threshold, root in cuts:
        segment = np.where(pieces > 0, root[place] + 1, 0) if len(names) else pieces
        scores, _ = rescore.scored(
            {border: table.renamed(names, root + 1) for border, table in tables.items()}, bones, segment, least
        )
        row: dict[str, float] = {"threshold": threshold}
        for mark, one in (("", scores), (f"_border_{TOLERANCE}", scores[f"border_{TOLERANCE}"])):
            row |= {f"{name}{mark}": round(one[name], 5) for name in ("voi_split", "voi_merge", "voi", "arand")}
        row |= {name: round(scores[name], 1) for name in ("expected_run_length", "splits", "merges")}
        rows.append(row)
    return rows


def draw(path: Path, rows: list[dict[str, float]], unit: str) -> None:
    """Split against merge error along the thresholds, adapted Rand error, and expected run length."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    x = [row["threshold"] for row in rows]
    figure, (left, right, last) = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained")
    for name, label, style in (("voi_split", "split", "C0o-"), ("voi_merge", "merge", "C1s-"), ("voi", "sum", "k.--")):
        left.plot(x, [row[name] for row in rows], style, label=label)
    right.plot(x, [row["arand"] for row in rows], "C3o-", label="all voxels")
    right.plot(x, [row["arand_border_2"] for row in rows], "C3o--", mfc="w", label="without 2 px at true boundaries")
    left.set(xlabel="threshold of agglomeration", ylabel="variation of information, bits", ylim=(0, None))
    right.set(xlabel="threshold of agglomeration", ylabel="adapted Rand error", ylim=(0, None))
    last.plot(x, [row["expected_run_length"] for row in rows], "C2o-")
    last.set(xlabel="threshold of agglomeration", ylabel=f"expected run length, {unit}", ylim=(0, None))
    for axis in (left, right, last):
        if axis is not last:
            axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    save_png(figure, path)
