"""Compare stitching: a slice by the stage alone beside the same slice with tiles refined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core import tables
from ..core.params import param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import open_image
from .analyze_rotation_drift import pyplot
from .figures import Figures
from .slice_pictures import bounds, mean_over_depth

GOOD = 0.3  # correlation in a seam from which it says where tiles lie


class Parameters(Figures):
    """Comparison of stitching."""

    comparison_tile_step: int = param(
        0, "Step at which seams are looked for; 0: where tiles end", unit="px", ge=0,
        more="linumpy's default is 60, which is right for one size of tile only.",
    )  # fmt: skip


def run(
    p: Parameters, task: Task, *, motor: In, refined: In, motor_tables: list[In], refined_tables: list[In], slice: str,
    picture: Out, figures: Out,
) -> None:  # fmt: skip
    """tables: tiles, seams."""
    planes = [mean_over_depth(open_image(path)) for path in (motor, refined)]
    tiles = [tables.rows(paths[0]) for paths in (motor_tables, refined_tables)]
    seams = [tables.rows(paths[1]) for paths in (motor_tables, refined_tables)]
    at = [np.array([(float(row["y"]), float(row["x"])) for row in table]) for table in tiles]
    moved = at[1] - at[0]
    moved -= moved.mean(0)
    found: dict[str, Any] = {"tiles_moved_px_rms": float(np.sqrt((moved**2).sum(1).mean()))}
    for name, plane, table, places in zip(("motor_only", "refined"), planes, seams, at, strict=True):
        found[f"{name}_seam_residual_px"] = residual(table)
        found[f"{name}_seam_strength"] = strength(plane, lines(p, plane.shape, places))
    figures.write_text(json.dumps(found, indent=1))
    draw(picture, planes, at[0], moved, found, p.figure_dpi)
    task.report(**found)


def residual(seams: list[dict[str, str]]) -> float | None:
    """Median distance, px, between where neighbours lie and where what they share says; None where nothing says."""
    good = [float(row["residual_px"]) for row in seams if float(row["correlation"]) >= GOOD]
    return float(np.median(good)) if good else None


def lines(p: Parameters, shape: tuple[int, ...], places: np.ndarray) -> list[np.ndarray]:
    """Rows and columns where a tile begins or a step ends, off the rim."""
    out = []
    for k, n in enumerate(shape):
        step = p.comparison_tile_step
        at = np.arange(step, n, step) if step else np.unique(np.rint(places[:, k]).astype(int))
        out.append(at[(at > 1) & (at < n - 1)])
    return out


def strength(plane: np.ndarray, at: list[np.ndarray]) -> float | None:
    """Mean step of grey across seams, as a multiple of that everywhere: 1 where no seam is seen. Steps to where nothing was
    acquired do not count."""
    ratios = []
    for k, here in enumerate(at):
        seen = np.minimum(*(np.take(plane, span, k) for span in (range(1, plane.shape[k]), range(plane.shape[k] - 1)))) > 0
        steps = np.where(seen, np.abs(np.diff(plane, axis=k)), 0).sum(1 - k) / np.maximum(seen.sum(1 - k), 1)
        pairs = np.maximum(steps[1:], steps[:-1])
        if len(here) and pairs.any():
            ratios.append(pairs[here - 1].mean() / pairs[pairs > 0].mean())
    return float(np.mean(ratios)) if ratios else None


def draw(path: Path, planes: list[np.ndarray], at: np.ndarray, moved: np.ndarray, found: dict[str, Any], dpi: int) -> None:
    """Both, and their difference with what tiles moved by."""
    plt = pyplot()
    figure, parts = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
    low, high = bounds(planes[0])
    for ax, plane, name in zip(parts, planes, ("motor_only", "refined"), strict=False):
        off, seen = found[f"{name}_seam_residual_px"], found[f"{name}_seam_strength"]
        ax.imshow(plane, cmap="gray", vmin=low, vmax=high)
        said = [f"seams off {off:.2f} px" if off is not None else "no seam to measure"]
        said += [f"step at seams x {seen:.2f}"] if seen is not None else []
        ax.set_title(f"{name.replace('_', ' ')}: {', '.join(said)}", fontsize=9)
    n, m = np.minimum(*[plane.shape for plane in planes])
    difference = planes[1][:n, :m] - planes[0][:n, :m]
    most = float(np.percentile(np.abs(difference), 99.5)) or 1.0
    parts[2].imshow(difference, cmap="RdBu_r", vmin=-most, vmax=most)
    size = (at.max(0) - at.min(0)).max() / max(len(np.unique(at[:, 0])), 2) or n
    middle = at + size / 2
    arrows = {"angles": "xy", "scale_units": "xy", "scale": max(np.abs(moved).max(), 0.5) / (0.4 * size), "width": 0.006}
    parts[2].quiver(middle[:, 1], middle[:, 0], moved[:, 1], moved[:, 0], **arrows)
    parts[2].set_title(f"refined - motor only; arrows: tiles moved, {found['tiles_moved_px_rms']:.2f} px RMS", fontsize=9)
    for ax in parts:
        ax.set_axis_off()
    save_png(figure, path, dpi)
