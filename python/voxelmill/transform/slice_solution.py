"""From pairs of slices to the place of each: which pairs are believed, and one joint solution over all of them.

The stage is the reference: slices that no pair holds to the others lie where it says, as far as it can be believed
(`slice_parts.py`). Of turns the first slice is it, whose
pixels the volume has; how it lies nobody can know. Pairs of neighbours and of slices two
apart hold each other, so that one wrong pair loses weight instead of moving all slices behind it; turns compose along
the stack, since the solution is for the turn of each slice and not for steps that are then smoothed.

    T_n(x) = R(turn_n)(x - centre) + centre + shift_n        added to the content of slice n; what pair (i, j) says:
    turn_j - turn_i = -rotation          shift_j - shift_i = -R(turn_j) (dim1, dim2)          depth_j - depth_i = dz
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from ..core.params import Params, param
from .offsets import Offsets
from .pairs import Pair
from .slice_parts import parts_of, rejoined

Use = Literal["full", "rotation only", "skipped"]
# By how much a slice lies off where the stage says, px and degrees, where nothing tells (benchmarks/gaps.py).
USUAL_PX, USUAL_DEG = 1.0, 0.3


class Believed(Params):
    """Which pairs of slices are believed, and how far."""

    apply_pairwise_transforms: bool = param(
        True, "Correct the stage by what pairs of slices show", profiles={"minimal": False}
    )
    apply_rotation_only: bool = param(
        False, "Turn slices, but leave them where the stage says", profiles={"conservative": True}
    )
    max_rotation_deg: float = param(5.0, "Largest turn of a pair; larger ones are cut to it", unit="deg", ge=0)
    transform_confidence_high: float = param(
        0.6, "Confidence from which a pair is believed in full", ge=0, le=1, profiles={"aggressive": 0.3}
    )
    transform_confidence_low: float = param(
        0.3, "Confidence below which a pair is skipped; above it turns are believed", ge=0, le=1, profiles={"aggressive": 0.0}
    )
    skip_error_transforms: bool = param(True, "Skip pairs whose status is error", profiles={"aggressive": False})
    skip_warning_transforms: bool = param(True, "Skip pairs whose status is warning", profiles={"aggressive": False})
    load_transform_min_zcorr: float = param(0.0, "Least correlation in depth of a pair; 0: any", ge=0, le=1)
    load_transform_max_rotation: float = param(0.0, "Largest turn of a pair, else it is skipped; 0: any", unit="deg", ge=0)
    stack_accumulate_translations: bool = param(
        True, "Shifts of pairs add up along the stack; else a slice is moved by its own pair alone"
    )
    stack_confidence_weight_translations: bool = param(True, "Pairs count by their confidence; else all alike")
    stack_max_cumulative_drift_px: float = param(
        50.0, "Farthest that a slice is moved from where the stage says; 0: any", unit="px", ge=0
    )
    stack_max_pairwise_translation: float = param(
        0.0, "Shifts of at least nine tenths of this are no shifts but a bound that was hit; 0: none", unit="px", ge=0
    )
    stack_smooth_window: int = param(
        0, "Slices over which turns are averaged; 0: not at all", unit="slice", ge=0,
        more="Turns come from a joint solution, which leaves little to smooth; averaging takes real turns away.",
    )  # fmt: skip
    stack_translation_smooth_sigma: float = param(
        0.0, "Gaussian over which shifts are averaged; 0: not at all", unit="slice", ge=0,
        more="As for turns.",
    )  # fmt: skip
    stack_translation_min_zcorr: float = param(0.2, "Least correlation in depth of a pair whose shift counts", ge=0, le=1)


class Decision(NamedTuple):
    """How a pair is used, and why not in full."""

    pair: Pair
    use: Use
    why: str


class Solution(NamedTuple):
    """By place in the list of slices: turn (n,) radians; shift (n, 2) px, what is added to the content; doubt (n, 2), px and
    radians: by how much a slice may lie off the one before it, where no pair says."""

    turn: np.ndarray
    shift: np.ndarray
    doubt: np.ndarray


def decided(p: Believed, pairs: Sequence[Pair]) -> list[Decision]:
    """In order of the slices. What a person has laid counts: neither gates nor pairs that reach across it say otherwise."""
    by_hand = [q for q in pairs if q.source != "images"]
    made = []
    for pair in sorted(pairs, key=lambda q: (q.fixed, q.moving)):
        across = any(pair.fixed <= q.fixed and q.moving <= pair.moving for q in by_hand)
        if not p.apply_pairwise_transforms or not across:
            made.append(Decision(pair, *_use(p, pair)))
        elif pair.source == "images":
            made.append(Decision(pair, "skipped", "reaches across a pair that was aligned by hand"))
        else:
            made.append(Decision(pair, "rotation only" if p.apply_rotation_only else "full", "aligned by hand"))
    links = [(d.pair.fixed, d.pair.moving) for d in made if d.use != "skipped" and not d.pair.thin]
    return [
        Decision(d.pair, "skipped", "by its last planes alone, and others hold both slices")
        if d.pair.thin and d.use != "skipped" and linked(links, d.pair.fixed, d.pair.moving)
        else d
        for d in made
    ]


def linked(links: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether links, in either direction, lead from a slice to another."""
    reached, new = {start}, {start}
    while new:
        new = {n for link in links if set(link) & new for n in link} - reached
        reached |= new
    return end in reached


def _use(p: Believed, pair: Pair) -> tuple[Use, str]:
    if not p.apply_pairwise_transforms:
        return "skipped", "pairs are not applied"
    gates = {
        f"status error: {pair.why}": p.skip_error_transforms and pair.status == "error",
        f"status warning: {pair.why}": p.skip_warning_transforms and pair.status == "warning",
        f"z_correlation {pair.z_correlation:.2f}": pair.z_correlation < p.load_transform_min_zcorr,
        f"turn of {pair.rotation_deg:.2f} deg": 0 < p.load_transform_max_rotation < abs(pair.rotation_deg),
        f"confidence {pair.confidence:.2f}": pair.confidence < p.transform_confidence_low,
        "nothing was found": pair.correlation == 0,
    }
    closed = [why for why, shut in gates.items() if shut]
    if closed:
        return "skipped", closed[0]
    limit = 0.9 * p.stack_max_pairwise_translation
    turns = {
        "turns alone are applied": p.apply_rotation_only,
        f"confidence {pair.confidence:.2f}": pair.confidence < p.transform_confidence_high,
        f"z_correlation {pair.z_correlation:.2f}": not pair.thin and pair.z_correlation < p.stack_translation_min_zcorr,
        f"{pair.translation:.0f} px is the bound": 0 < limit <= pair.translation,
    }
    only = [why for why, shut in turns.items() if shut]
    return ("rotation only", only[0]) if only else ("full", "")


def solve(
    p: Believed, decisions: Sequence[Decision], numbers: Sequence[int], size: int, made_up: Collection[int] = ()
) -> Solution:
    """Turn and shift of each of the slices `numbers`; size: longer side of the canvas, px; made_up: those without tissue of
    their own, which lie as the slice before them does."""
    links = [d for d in decisions if d.use != "skipped"]
    most = np.deg2rad(p.max_rotation_deg)
    turns = np.array([np.clip(-np.deg2rad(d.pair.rotation_deg), -most, most) for d in links]).reshape(-1, 1)
    pairs = [d.pair for d in links]
    asked, usual = p.apply_pairwise_transforms, float(np.deg2rad(USUAL_DEG))
    found = joint(p, pairs, numbers, turns, 0.5 / size)
    found, turn_doubt = held(found, pairs, numbers, made_up, usual) if asked else (found, np.zeros(len(numbers)))
    turn = averaged(found[:, 0], p.stack_smooth_window)
    full = [d.pair for d in links if d.use == "full"]
    at = {n: k for k, n in enumerate(numbers)}
    moved = np.array([-rotated((q.dim1_px, q.dim2_px), turn[at[q.moving]]) for q in full]).reshape(-1, 2)
    if p.stack_accumulate_translations:
        shift, doubt = joint(p, full, numbers, moved, 0.5), np.zeros(len(numbers))
        if asked and not p.apply_rotation_only:  # else the stage is believed, as asked for
            shift, doubt = held(shift, full, numbers, made_up, USUAL_PX)
    else:
        shift, doubt = np.zeros((len(numbers), 2)), np.zeros(len(numbers))
        for q, by in zip(full, moved, strict=True):
            if at[q.moving] - at[q.fixed] == 1:
                shift[at[q.moving]] = by
    if p.stack_translation_smooth_sigma:
        from scipy import ndimage

        shift = ndimage.gaussian_filter1d(shift, p.stack_translation_smooth_sigma, axis=0, mode="nearest")
    far = np.linalg.norm(shift, axis=1, keepdims=True)
    cap = p.stack_max_cumulative_drift_px or np.inf
    doubts = np.stack([doubt, turn_doubt], 1)
    for d in links:
        if d.pair.thin:  # nothing else holds its slices
            doubts[at[d.pair.moving]] += d.pair.doubt_px * np.array([d.use == "full", 2 / size])
    return as_first(Solution(turn, shift * np.minimum(1, cap / np.maximum(far, 1e-9)), doubts))


def held(
    values: np.ndarray, pairs: Sequence[Pair], numbers: Sequence[int], made_up: Collection[int], usual: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, k) of a joint solution, parts that no pair holds together laid by the stage, and doubts (n,)."""
    own = [k for k, n in enumerate(numbers) if n not in made_up] or list(range(len(numbers)))
    at = {numbers[k]: i for i, k in enumerate(own)}
    part = parts_of([(at[q.fixed], at[q.moving]) for q in pairs if q.fixed in at and q.moving in at], len(own))
    out, doubt = values.copy(), np.zeros(len(numbers))
    out[own], doubt[own] = rejoined(values[own], part, [numbers[k] for k in own], usual)
    for k in range(len(numbers)):
        if k not in own:
            before = max((i for i in own if i < k), default=own[0])
            out[k] = out[before]
    return out, doubt


def as_first(solution: Solution) -> Solution:
    """All turned together about the centre until the first slice is not turned."""
    by = -solution.turn[0]
    return solution._replace(turn=solution.turn + by, shift=np.array([rotated(shift, by) for shift in solution.shift]))


def joint(p: Believed, pairs: Sequence[Pair], numbers: Sequence[int], differences: np.ndarray, floor: float) -> np.ndarray:
    """(n, k) values of the slices from (pairs, k) differences: least squares, in which wrong pairs have no weight.

    floor: what a right pair may be off by."""
    if len(numbers) < 2:
        return np.zeros((len(numbers), differences.shape[1]))
    at = {n: k for k, n in enumerate(numbers)}
    weight = [max(q.confidence, 0.01) ** 2 if p.stack_confidence_weight_translations else 1.0 for q in pairs]
    ends = [(at[q.fixed], at[q.moving]) for q in pairs]
    n = len(numbers)
    return Offsets(ends, weight, np.arange(n), pairwise(range(n)), n).solve_despite(differences, floor, 6 * floor)


def rotated(vector: tuple[float, float] | np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def averaged(values: np.ndarray, window: int) -> np.ndarray:
    """Moving average over `window` slices, fewer at the ends."""
    if window < 2:
        return values
    around: Callable[[int], slice] = lambda k: slice(max(0, k - window // 2), k + window // 2 + 1)  # noqa: E731
    return np.array([values[around(k)].mean() for k in range(len(values))])
