"""Estimate one field of light (`illumination.py`) for a whole acquisition, from many slices.

The optics are the same in every slice, and what a slice of few tiles says of them is unsure by its speckle: so slices
are heard together, by a mean from which those that say otherwise lose their weight (Huber 1964).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from ..core import slices
from ..core.device import choose
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Resolution
from ..core.stage import In, Out
from . import fix_focal_curvature, fix_illumination
from .resample_mosaic_grid import resample
from .tile_grid import open_grid

ROUNDS = 20  # of the robust mean
USUAL = 0.003  # of log flat, RMS: by so much slices of one light differ
UNLIKE = 0.05  # that RMS, from which on a slice has another light


class Parameters(fix_illumination.Parameters, fix_focal_curvature.Flattening, Resolution):
    """One light for all slices (`--fix_illum_global`)."""

    fix_illum_global_slices: int = param(32, "Slices that are heard, evenly from all", ge=1)


def run(p: Parameters, task: Task, *, grids: list[In], output: Out, described_in: Out) -> None:
    task.arrays(p.use_gpu)
    ordered = sorted(grids, key=lambda path: slices.in_name(path.name))
    at = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), p.fix_illum_global_slices)).round().astype(int))
    chosen = [ordered[i] for i in at]
    names = [slices.name_of(slices.in_name(path.name)) for path in chosen]
    each = dict(zip(names, task.each(partial(coefficients_of, p), chosen, "slices looked at"), strict=True))
    shining = {name: c for name, c in each.items() if c is not None}
    if not shining:
        raise DataError(
            f"nothing shines in {len(chosen)} slices ({', '.join(names)}); leave --fix_illum_global out, or raise "
            "--fix_illum_global_slices"
        )
    pooled, off = robust_mean(np.array(list(shining.values())))
    told = {name: float(rms) for name, rms in zip(shining, off, strict=True)}
    with open(output, "wb") as file:
        np.save(file, pooled)
    described_in.write_text(json.dumps({"coefficients": pooled.tolist(), "off_rms": told}, indent=1) + "\n")
    said = [f"nothing shines in {name}" for name in names if name not in told]
    if unlike := [f"{name} by {rms:.0%}" for name, rms in told.items() if rms > UNLIKE]:
        said.append(f"lit unlike the others: {', '.join(unlike)}; without --fix_illum_global each has its own light")
    if said:
        task.report(notes_light="; ".join(said))
    task.report(slices_pooled=len(shining), illumination_off_rms=float(np.median(off)))


def coefficients_of(p: Parameters, path: Path) -> np.ndarray | None:
    """Coefficients of log flat of a slice; None where nothing shines."""
    grid = resample(open_grid(path), p, choose(p.use_gpu)[0])
    if p.fix_curvature_enabled:
        grid, _ = fix_focal_curvature.flatten(grid, p)
    try:
        return fix_illumination.estimate(fix_illumination.Glances(grid, p.clip_percentile_upper), p)[0]
    except DataError:
        return None


def robust_mean(each: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (k,) of coefficients (n, k), and by how much each is off: RMS of log flat, since the basis is orthonormal."""
    mean = np.median(each, axis=0)
    for _ in range(ROUNDS):
        off = np.linalg.norm(each - mean, axis=1)
        weight = np.minimum(1, max(1.345 * float(np.median(off)), USUAL) / np.maximum(off, 1e-12))
        mean = (each * weight[:, None]).sum(0) / weight.sum()
    return mean, np.linalg.norm(each - mean, axis=1)
