"""Analyze acquisition rotation: whether the axes of the stage lie askew to those of the images.

    dim 1 of the image     stage x          The stage says that a slice lies m further along its own axes. If these are
          |               /                 turned by theta and scaled by s, it lies A m further in pixels, A = s R(theta),
          |   theta     /                   and registration of the pair finds what is left:  d = m - A m.
          |           /

A is fitted to all pairs that are believed, weighted by their confidence. A turn that all pairs share shows here, and makes
errors that grow with the steps of the stage; a dilation shows a wrong pixel size, of tiles or of the stage.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.pictures import save_both
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..transform.common_space import CommonSpace
from ..transform.pairs import Pair, read_metrics
from .analyze_rotation_drift import Threshold, neighbours, pyplot
from .figures import Figures

COLUMNS = ("fixed_id", "moving_id", "stage_dim1_px", "stage_dim2_px", "left_dim1_px", "left_dim2_px", "used")
LEAST = 3  # pairs that say anything


class Parameters(Figures, Threshold):
    """Analysis of the stage's axes."""


class Askew(NamedTuple):
    """Turn (deg) and scale of the stage's axes in the image, with standard errors; px left before and after."""

    rotation_deg: float
    rotation_error: float
    scale: float
    scale_error: float
    before_px: float
    after_px: float


def run(p: Parameters, task: Task, *, common_space: In, metrics: list[In] | None = None, output: OutFiles) -> None:
    output.mkdir()
    space = CommonSpace.model_validate_json(common_space.read_text())
    pairs = [
        q for q in neighbours([read_metrics(path) for path in metrics or []]) if {q.fixed, q.moving} <= set(space.slices)
    ]
    moved = np.array([steps(space, q) for q in pairs]).reshape(-1, 2)
    left = np.array([(q.dim1_px, q.dim2_px) for q in pairs]).reshape(-1, 2)
    used = np.array([q.status != "error" and q.correlation > 0 for q in pairs], bool)
    found = fitted(moved[used], left[used], np.array([q.confidence for q in pairs])[used])
    with open(output / "acquisition_rotation.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for q, m, d, use in zip(pairs, moved, left, used, strict=True):
            table.writerow([f"{q.fixed:02d}", f"{q.moving:02d}", *(f"{v:.4f}" for v in (*m, *d)), str(bool(use)).lower()])
    (output / "acquisition_rotation.json").write_text(json.dumps(found._asdict() if found else {}, indent=1))
    (output / "acquisition_rotation.txt").write_text(described(found, int(used.sum())))
    draw(output / "acquisition_rotation", moved[used], left[used], found, p.figure_dpi)
    task.report(pairs=int(used.sum()), **(found._asdict() if found else {}), **noted(p, found))


def steps(space: CommonSpace, pair: Pair) -> np.ndarray:
    """Px by which the stage says that moving lies beside fixed."""
    one, other = (space.slices[n] for n in (pair.fixed, pair.moving))
    return np.array(other.corner) - one.corner + (np.array(other.origin) - one.origin) / space.scale


def fitted(moved: np.ndarray, left: np.ndarray, weight: Sequence[float] | np.ndarray) -> Askew | None:
    """Least squares of moved - left = A moved, A = ((a, -b), (b, a)); None where pairs do not say."""
    if len(moved) < LEAST or not np.any(moved):
        return None
    (x, y), target = moved.T, (moved - left).ravel()
    rows = np.stack([np.stack([x, -y], 1), np.stack([y, x], 1)], 1).reshape(-1, 2)
    root = np.repeat(np.sqrt(np.maximum(weight, 1e-3)), 2)
    (a, b), *_ = np.linalg.lstsq(rows * root[:, None], target * root, rcond=None)
    off = target - rows @ (a, b)
    error = np.sqrt(np.linalg.inv((rows * root[:, None] ** 2).T @ rows)[0, 0] * ((off * root) ** 2).sum() / (len(target) - 2))
    size = float(np.hypot(a, b))
    rms = [float(np.sqrt((v**2).sum() / len(moved))) for v in (left.ravel(), off)]
    return Askew(float(np.degrees(np.arctan2(b, a))), float(np.degrees(error / size)), size, float(error), *rms)


def noted(p: Parameters, found: Askew | None) -> dict[str, list[str]]:
    if found is None or abs(found.rotation_deg) < max(p.diagnostic_rotation_threshold, 2 * found.rotation_error):
        return {}
    return {"notes": [f"the stage's axes are turned by {found.rotation_deg:.2f} deg against the images"]}


def described(found: Askew | None, pairs: int) -> str:
    if found is None:
        return f"{pairs} pairs that are believed and a stage that moves: too few to say ({LEAST} are needed)\n"
    sure = "" if abs(found.rotation_deg) > 2 * found.rotation_error else "  (not told apart from 0)"
    even = "" if abs(found.scale - 1) > 2 * found.scale_error else "  (not told apart from 1)"
    return (
        f"{pairs} pairs\n"
        f"turn of the stage's axes: {found.rotation_deg:.4f} +- {found.rotation_error:.4f} deg{sure}\n"
        f"dilation: {found.scale:.5f} +- {found.scale_error:.5f}{even}\n"
        f"left between neighbours: {found.before_px:.3f} px RMS; with that turn and dilation {found.after_px:.3f} px\n"
    )


def draw(stem: Path, moved: np.ndarray, left: np.ndarray, found: Askew | None, dpi: int) -> None:
    """What is left against the step of the stage, along it and across."""
    plt = pyplot()
    figure, parts = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    length = np.linalg.norm(moved, axis=1)
    along = np.divide(moved, length[:, None], out=np.zeros_like(moved), where=length[:, None] > 0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    names = (("along the step", along, "dilation"), ("across the step", across, "turn"))
    for k, (ax, (name, direction, what)) in enumerate(zip(parts, names, strict=True)):
        ax.plot(length, (left * direction).sum(1), "o", ms=4)
        if found and len(length):
            turn = np.radians(found.rotation_deg)
            slope = 1 - found.scale * np.cos(turn) if k == 0 else -found.scale * np.sin(turn)
            ax.plot([0, length.max()], [0, slope * length.max()], "-", color="tab:red", lw=1, label="fit")
            ax.legend(frameon=False, fontsize=8)
        ax.axhline(0, color="0.8", lw=0.6, zorder=0)
        ax.set(xlabel="step of the stage, px", ylabel=f"left {name}, px", title=f"A slope here is a {what}")
        ax.spines[["top", "right"]].set_visible(False)
    save_both(figure, stem, dpi)
