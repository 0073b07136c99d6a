"""Estimate one displacement model (`tile_layout.py`) of a whole acquisition, from the seams of many slices.

How the stage moves is the same in every slice, and a small or sparse slice has too few seams to say it: so seams are
pooled, and every slice is laid out by what they say together. Each goes on to refine its tiles by its own seams.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from ..core import slices
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Resolution
from ..core.stage import In, Out
from .fix_focal_curvature import Overlapping
from .resample_mosaic_grid import resample
from .tile_grid import open_grid
from .tile_layout import FAR, by_overlap, described, looks, model_of, positions
from .tile_positions import Seam, measure, neighbours

QUANTILES = np.linspace(0, 1, 65)  # of grey levels that are matched


class Parameters(Overlapping, Resolution):
    """One layout of tiles for all slices (`--stitch_global_transform`)."""

    stitch_global_transform_slices: str = param("", "Slices whose seams are pooled, such as 25,27-29; empty: all")
    stitch_global_transform_histogram_match: bool = param(
        True, "Bring the grey levels of neighbours to one distribution before they are registered"
    )
    stitch_global_transform_max_empty_fraction: float = param(
        0.9, "Part of an overlap that may be empty, by Otsu's threshold of the slice; -1: any that is not zero", ge=-1, le=1
    )
    stitch_global_transform_n_samples: int = param(2048, "Seams that the model is fitted to, drawn by chance; 0: all", ge=0)
    stitch_global_transform_seed: int = param(0, "Seed of that draw", ge=0)


def run(p: Parameters, task: Task, *, grids: list[In], output: Out, described_in: Out) -> None:
    wanted = slices.chosen(p.stitch_global_transform_slices, "stitch_global_transform_slices")
    chosen = [path for path in sorted(grids) if wanted is None or slices.in_name(path.name) in wanted]
    if not chosen:
        there = ", ".join(sorted(slices.name_of(slices.in_name(path.name)) for path in grids))
        raise DataError(
            f"--stitch_global_transform_slices {p.stitch_global_transform_slices}: none of them is here ({there})"
        )
    pooled, first = [], resample(open_grid(chosen[0]), p)
    for found, tile in task.each(partial(seams_of, p), chosen, "slices looked at"):
        if tile != first.tile[1:]:
            raise DataError(
                f"{chosen[0].name} has tiles of {first.tile[1:]} px and another slice of {tile}; expected one size"
            )
        pooled += found
    drawn = sample(pooled, p.stitch_global_transform_n_samples, p.stitch_global_transform_seed)
    if not drawn:
        raise DataError(
            f"no seam of {len(chosen)} slices says anything; raise --stitch_global_transform_max_empty_fraction, "
            "pool other slices, or leave --stitch_global_transform out"
        )
    matrix = model_of(drawn, by_overlap(first, p.stitch_overlap_fraction))
    off = np.array([s.offset - matrix @ step for s, step in drawn])
    told = {
        "matrix_px": matrix.tolist(),
        **described(matrix, first),
        "tile_px": list(first.tile[1:]),
        "slices": [slices.name_of(slices.in_name(path.name)) for path in chosen],
        "seams_pooled": len(pooled),
        "seams_fitted": len(drawn),
        "residual_px_rms": float(np.sqrt((off**2).sum(1).mean())),
    }
    with open(output, "wb") as file:
        np.save(file, matrix)
    described_in.write_text(json.dumps(told, indent=1) + "\n")
    task.report(**{k: v for k, v in told.items() if k not in ("matrix_px", "tile_px", "slices")})


Step = tuple[Seam, np.ndarray]  # a seam, and by how many steps of mx and my its tiles lie apart


def seams_of(p: Parameters, path: Path) -> tuple[list[Step], tuple[int, ...]]:
    """Seams of a slice that say something; and the size of its tiles, px."""
    grid = resample(open_grid(path), p).kept()
    nominal = positions(grid, by_overlap(grid, p.stitch_overlap_fraction))
    means = [grid.read(i).mean(0) for i in range(len(grid))]
    most = p.stitch_global_transform_max_empty_fraction
    level = 0.0 if most < 0 else otsu(means)
    pairs = [pair for pair in neighbours(nominal, grid.shapes) if not empty(means, nominal, pair, level, most)]
    levels = quantiles(np.concatenate([mean[mean > 0] for mean in means]))

    def read(i: int) -> np.ndarray:
        seen = looks(grid.read(i))
        if p.stitch_global_transform_histogram_match and levels is not None:
            return np.stack([matched(look, levels) for look in seen])
        return seen

    reach = round(FAR * max(grid.tile[1:]))
    found = sorted(measure(read, nominal, grid.shapes, pairs, reach), key=lambda s: (s.a, s.b))
    return [(s, grid.places[s.b] - grid.places[s.a]) for s in found if s.weight > 0], grid.tile[1:]


def otsu(means: list[np.ndarray]) -> float:
    """The grey level that parts tissue from what is empty best (N. Otsu 1979), of tiles (ny, nx)."""
    import cv2

    values = np.concatenate([mean.ravel() for mean in means])
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    grey = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return low + (level + 0.5) * (high - low) / 255


def empty(means: list[np.ndarray], nominal: np.ndarray, pair: tuple[int, int], level: float, most: float) -> bool:
    """Whether the overlap of two tiles is empty in either: by more than a part `most`; below 0: wholly."""
    a, b = pair
    for tile, offset in ((means[a], nominal[b] - nominal[a]), (means[b], nominal[a] - nominal[b])):
        shape = np.array(tile.shape)
        first = np.clip(np.rint(offset), 0, shape).astype(int)
        last = np.clip(np.rint(offset) + shape, 0, shape).astype(int)
        share = float((tile[first[0] : last[0], first[1] : last[1]] <= level).mean())
        if share >= 1 or 0 <= most < share:
            return True
    return False


def quantiles(values: np.ndarray) -> np.ndarray | None:
    return np.quantile(values, QUANTILES) if values.size else None


def matched(look: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A look (ny, nx) whose grey levels are distributed as `levels` say; 0, where nothing was acquired, stays."""
    there = look > 0
    own = quantiles(look[there])
    if own is None:
        return look
    return np.where(there, np.interp(look, own, levels), 0).astype(np.float32)


def sample(pooled: list[Step], most: int, seed: int) -> list[Step]:
    """At most so many of them, drawn without putting back; 0: all."""
    if not 0 < most < len(pooled):
        return pooled
    return [pooled[i] for i in np.sort(np.random.default_rng(seed).choice(len(pooled), most, replace=False))]
