"""Planes between two planes of tissue that nobody has seen: one is bent into the other, step by step.

before  last planes    #                 the pair of planes that are most alike is registered (affine M), and M
        ............   .                 taken in parts: at a share a of the way down, a point of `before` lies at
gap     unseen         .   a             M^a p, so that pixel q shows before(M^-a q) and after(M^(1-a) q)
        ............   .
after   first planes       #             Gates say whether that is believed. Where it is not, nothing is made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from .affine import Metric, correlation, most_moved, power, register, warped

Blend = Literal["gaussian", "linear"]
FEATHER = 8.0  # px over which a plane fades in from its rim
ALIKE = 0.5  # correlation of planes as they lie, at which they pass into each other unmoved if no transform is better


class Rejected(Exception):
    """Why the planes cannot be made."""


@dataclass(frozen=True)
class Gates:
    """What must hold, and how it is found."""

    metric: Metric = "MSE"
    most_steps: int = 1000
    min_correlation: float = 0.3
    slab: int = 3
    min_foreground: float = 0.1
    min_improvement: float = 0.05


@dataclass(frozen=True)
class Morph:
    """Two planes and the way between them: (ny, nx) float32 each; matrix (2, 3) from before to after."""

    before: np.ndarray
    after: np.ndarray
    matrix: np.ndarray
    facts: dict[str, Any]


def estimate(before: np.ndarray, after: np.ndarray, gates: Gates) -> Morph:
    """From the last planes (nz, ny, nx) of the slice before and the first of the slice after; 0 shows nothing.

    Raises Rejected where a gate does not open."""
    a, b, alike = best_pair(before, after, gates.min_foreground)
    facts: dict[str, Any] = {
        "gates": asdict(gates),
        "plane_before": a - len(before),
        "plane_after": b,
        "correlation_of_pair": alike,
    }
    if alike < gates.min_correlation:
        raise Rejected(f"the planes beside the gap correlate by {alike:.2f}, below {gates.min_correlation:g}")
    fixed, moving = slab(before, a, gates.slab), slab(after, b, gates.slab)
    was = correlation(fixed, moving)
    matrix = register(fixed, moving, start(fixed, moving), gates.metric, gates.most_steps)
    now, moved = correlation(fixed, warped(moving, matrix, fixed.shape)), most_moved(matrix, fixed.shape)
    facts |= {"correlation_before": was, "correlation_after": now, "moved_px": moved, "matrix": matrix.tolist()}
    if np.linalg.det(matrix[:, :2]) <= 0:
        raise Rejected("the transform that was found mirrors")
    accepted = now - was >= gates.min_improvement
    if not accepted and was < ALIKE:
        raise Rejected(
            f"registration raises the correlation from {was:.2f} by {now - was:.3f}, less than {gates.min_improvement:g}"
        )
    facts["moved"] = accepted
    return Morph(before[-1], after[0], matrix if accepted else np.eye(2, 3), facts)


def best_pair(before: np.ndarray, after: np.ndarray, min_foreground: float) -> tuple[int, int, float]:
    """Numbers of the two planes that are most alike in the middle, and their correlation. Raises Rejected without tissue."""
    middle = tuple(slice(n // 4, n - n // 4) for n in before.shape[1:])
    there = [[i for i, plane in enumerate(v) if (plane > 0).mean() >= min_foreground] for v in (before, after)]
    if not all(there):
        raise Rejected(f"no plane beside the gap shows something on {min_foreground:.0%} of it")
    found = [(correlation(before[a][middle], after[b][middle]), a, -b) for a in there[0] for b in there[1]]
    best, a, b = max(found)
    return a, -b, best


def slab(planes: np.ndarray, middle: int, size: int) -> np.ndarray:
    """Mean of `size` planes around one; of those there are."""
    first = max(0, min(middle - size // 2, len(planes) - size))
    return planes[first : first + size].mean(0)


def start(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """A rigid matrix to begin with."""
    from .registration import estimate_pair

    return estimate_pair(fixed, moving, level="rigid").matrix


def plane(morph: Morph, share: float, corner: tuple[int, int], shape: tuple[int, int], blend: Blend) -> np.ndarray:
    """A part of the plane at a share of the way: 0 is `before`, 1 is `after`."""
    one = warped(morph.before, power(morph.matrix, -share), shape, corner)
    other = warped(morph.after, power(morph.matrix, 1 - share), shape, corner)
    weights = [(1 - share) * weight(one, blend), share * weight(other, blend)]
    total = weights[0] + weights[1]
    return np.where(total > 0, (weights[0] * one + weights[1] * other) / np.maximum(total, 1e-9), 0).astype(np.float32)


def weight(seen: np.ndarray, blend: Blend) -> np.ndarray:
    """1 where something is shown; `gaussian`: less toward the rim of it."""
    import cv2

    there = seen > 0
    if blend == "linear":
        return there.astype(np.float32)
    away = cv2.distanceTransform(there.astype(np.uint8), cv2.DIST_L2, 3).clip(0, 100 * FEATHER)
    return (there * (1 - np.exp(-((away / FEATHER) ** 2) / 2)) + 1e-6 * there).astype(np.float32)
