"""Assess quality: slices that are unlike both their neighbours are left out, and the slice configuration says so.

Slices are compared where the stage has them, over the middle of what both cover. A slice counts by the better of its
neighbours: one that is spoiled does not take those beside it with it. See `slice_quality.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from ..core import shifts, slice_config, slices
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Sectioning
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .plan_common_space import number
from .slice_quality import quality
from .tile_grid import finite

PLANES = 5  # that are averaged


class Parameters(Sectioning):
    """Quality of slices."""

    auto_assess_min_quality: float = param(0.3, "Quality below which a slice is left out", ge=0, le=1)
    auto_assess_exclude_first: int = param(1, "So many first slices are left out whatever they show", ge=0)
    auto_assess_roi_size: int = param(1024, "Side of what is compared, in the middle; 0: all", unit="px", ge=0)


def run(p: Parameters, task: Task, *, volumes: list[In], shifts_xy: In, config: In, output: Out) -> None:
    images = {n: open_image(path) for n, path in sorted((number(path), path) for path in volumes)}
    known = slice_config.read(config)
    places = shifts.places(shifts.read(shifts_xy), images)
    pairs = list(pairwise(images))
    met = {
        (a, b): compared(p, images[a], images[b], places[a], places[b], b - a)
        for a, b in task.progress(pairs, "pairs compared")
    }
    found = scores(list(images), met)
    out = judged(p, found)
    slice_config.write(
        output,
        known.stamped(
            {
                n: {"quality_score": q, **({"use": False, "exclude_reason": out[n]} if n in out else {})}
                for n, q in found.items()
            }
        ),
    )
    for n, why in out.items():
        task.quarantine([slices.name_of(n)], why)
    judgements = [q for q in found.values() if q is not None]
    task.report(quality_median=float(np.median(judgements)) if judgements else None, excluded=sorted(out))


def judged(p: Parameters, found: Mapping[int, float | None]) -> dict[int, str]:
    """Slices that are left out, and why. A slice without neighbours is not judged."""
    first = dict.fromkeys(sorted(found)[: p.auto_assess_exclude_first], "one of the first slices")
    poor = {
        n: f"quality {q:.2f} below {p.auto_assess_min_quality:g}"
        for n, q in found.items()
        if q is not None and q < p.auto_assess_min_quality and n not in first
    }
    return first | poor


def scores(numbers: list[int], met: Mapping[tuple[int, int], float]) -> dict[int, float | None]:
    """The better of what a slice has with its neighbours; None for one that has none."""
    return {n: max((q for pair, q in met.items() if n in pair), default=None) for n in numbers}


def compared(
    p: Parameters, one: Image, other: Image, at: tuple[float, float], there: tuple[float, float], steps: int
) -> float:
    """Quality of a pair: planes that show the same tissue, over what both cover by the stage."""
    scale = np.array(one.scale) / NM_PER_MM
    corner = np.rint((np.subtract(there, at) + np.subtract(other.origin[1:], one.origin[1:]) / NM_PER_MM) / scale[1:])
    deep = min(round(steps * p.registration_slicing_interval_mm / scale[0]), max(0, one.shape[0] - PLANES))
    spans = []
    for k in range(2):
        low, high = max(0, int(corner[k])), min(one.shape[k + 1], int(corner[k]) + other.shape[k + 1])
        if p.auto_assess_roi_size and high - low > p.auto_assess_roi_size:
            low += (high - low - p.auto_assess_roi_size) // 2
            high = low + p.auto_assess_roi_size
        if low >= high:
            return 0.0
        spans.append((low, high))
    a, _ = finite(one.read((slice(deep, deep + PLANES), *(slice(*span) for span in spans))))
    b, _ = finite(
        other.read(
            (slice(0, PLANES), *(slice(span[0] - int(c), span[1] - int(c)) for span, c in zip(spans, corner, strict=True)))
        )
    )
    return quality(a.mean(0), b.mean(0))
