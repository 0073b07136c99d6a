"""From pairs of sections to the transform of each: one joint solution, bad sections bridged, drift kept.

1. Bad sections. A blank section holds one value. A corrupt one disagrees, in more than `max_damage` of its
   tiles, with every neighbour while its neighbours agree with each other. Neither is a reference for others:
   pairs across it hold the stack together, and it gets the transform between those of its neighbours.
2. Joint solution. Turns, then shifts, then displacements that satisfy all pairs in the least squares sense;
   pairs that contradict the rest lose weight (Huber). One section more or less in a chain moves nothing far
   away, because every section hangs on several neighbours.
3. Drift. Pairs cannot tell a stack that creeps from structure that runs aslant: both are smooth in z.
   So what is smooth is taken for structure and given back:

       correction = joint solution - local linear trend of it over z (Gaussian, sigma `drift_sections`)

   Section-to-section jitter J has next to none of that trend, so correcting it is untouched: the correction
   of (stack + J) is the correction of (stack) - J, up to the trend of J, which moves neighbours apart by
   0.28 sigma_J / drift_sections^1.5 (0.009 px of 1 px at 10 sections) far from the ends. A straight slant
   is kept whole. In stacks of fewer than about 20 sections the trend of white jitter would leave more than
   0.04 of it; there the trend is given back by the share that keeps to 0.04, or by more where it stands out
   from the jitter. Fewer than 8 sections cannot tell the two apart: all is taken for jitter. What is
   constant over the stack is never corrected.

Signs and axes as in `warp`: dy, dx are added to the position of a section's content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ..core.errors import DataError, ParameterError
from .offsets import Offsets
from .pair_results import Level, PairResult
from .registration import estimate_pairs, neighbour_pairs
from .warp import SectionTransform, apply, centre_of, rigid_matrix

Status = Literal["ok", "blank", "corrupt", "unlinked"]

LEAK = 0.04  # part of white jitter, section to section, that giving the trend back may leave
CLEAR = 4.0  # a trend stands out when its power is this many times that of the trend of jitter
SHORT = 8  # sections: with fewer, no trend can be told from jitter
DAMAGED = 0.5  # a tile is damaged when it agrees this much less with any neighbour than they do
STEPS = 3  # rounds of the displacement solution; fields are gentle, so these converge fast


@dataclass(frozen=True)
class StackAlignment:
    """The result for a stack of n sections.

    dy, dx, rotation_deg   (n,) float64: added to the content, about the section's centre; px, degrees
    residual_px            (n,) float64: rms distance between where the section's pairs and where the joint
                           solution put its content; nan without pairs
    correlation            (n,) float64: the best with a neighbour; 0 without pairs
    damage                 (n,) float64: part of the section that agrees with no neighbour
    status                 n of 'ok', 'blank', 'corrupt', 'unlinked' (nothing ties it to the sections before)
    fields                 None or (n, 2, gy, gx) float32, see `SectionTransform`
    """

    shape: tuple[int, int]
    dy: np.ndarray
    dx: np.ndarray
    rotation_deg: np.ndarray
    residual_px: np.ndarray
    correlation: np.ndarray
    damage: np.ndarray
    status: list[Status]
    fields: np.ndarray | None = None
    spacing: int = 16

    def transform(self, z: int) -> SectionTransform:
        """The transform of section z."""
        matrix = rigid_matrix(self.dy[z], self.dx[z], self.rotation_deg[z], centre_of(self.shape))
        return SectionTransform(matrix, None if self.fields is None else self.fields[z], self.spacing)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of tables/alignment.csv."""
        return [
            {
                "section": z,
                "dy": float(self.dy[z]),
                "dx": float(self.dx[z]),
                "rotation_deg": float(self.rotation_deg[z]),
                "residual_px": float(self.residual_px[z]),
                "status": s,
            }
            for z, s in enumerate(self.status)
        ]


def align_stack(
    read: Callable[[int], Any],
    n_sections: int,
    *,
    level: Level = "rigid",
    neighbours: int = 2,
    drift_sections: float = 10.0,
    max_damage: float = 0.1,
    **estimation: Any,
) -> StackAlignment:
    """Estimate all pairs, bridge what is bad, solve; read(z) gives section z (ny, nx).

    The parts may be run apart: `estimate_pairs` over shares of `neighbour_pairs`, once more over
    `bridges(pairs, n_sections)`, and `solve` over all of them. Further keywords go to `estimate_pairs`.
    """
    pairs = estimate_pairs(read, neighbour_pairs(n_sections, neighbours), level=level, **estimation)
    pairs += estimate_pairs(read, bridges(pairs, n_sections, max_damage), level=level, **estimation)
    if not pairs:
        shape = tuple(int(n) for n in read(0).shape)
        return _untouched((shape[0], shape[1]), n_sections)
    return solve(pairs, n_sections, drift_sections=drift_sections, max_damage=max_damage)


def bridges(pairs: Sequence[PairResult], n_sections: int, max_damage: float = 0.1) -> list[tuple[int, int]]:
    """Pairs still to be estimated, across runs of bad sections that are longer than the neighbourhood."""
    bad, _ = _bad_sections(pairs, n_sections, max_damage)
    good = np.flatnonzero(~bad)
    have = {(p.fixed, p.moving) for p in pairs}
    return [(int(i), int(j)) for i, j in pairwise(good) if (int(i), int(j)) not in have]


def solve(
    pairs: Sequence[PairResult], n_sections: int, *, drift_sections: float = 10.0, max_damage: float = 0.1
) -> StackAlignment:
    """The joint solution for a stack.

    pairs            of `estimate_pairs`, in any order; numbers are sections of this stack
    drift_sections   sigma of the trend that is given back, in sections; 0 corrects drift as well
    max_damage       a section with more of its tiles damaged is corrupt

    Deterministic. Raises ParameterError for parameters out of bounds, DataError for pairs that do not
    belong to the stack.
    """
    if drift_sections < 0 or not 0 < max_damage <= 1:
        raise ParameterError(
            f"alignment: drift_sections {drift_sections}, max_damage {max_damage}; expected 0 or more, and above 0 up to 1"
        )
    pairs = sorted(pairs, key=lambda p: (p.fixed, p.moving))
    if not pairs or any(not 0 <= p.fixed < p.moving < n_sections or p.shape != pairs[0].shape for p in pairs):
        raise DataError(
            f"alignment: {len(pairs)} pairs; expected at least one, of sections 0 to "
            f"{n_sections - 1} in rising order and of one shape"
        )
    shape = pairs[0].shape
    centre = centre_of(shape)
    bad, damage = _bad_sections(pairs, n_sections, max_damage)
    links = [p for p in pairs if not bad[p.fixed] and not bad[p.moving] and p.trusted]
    graph = _graph(links, np.flatnonzero(~bad), n_sections)
    unlinked = {z for _, z in graph.ties}

    # T_j o W_ij = T_i, with W_ij(x) = R(phi)(x - c) + c + m and T_z(x) = R(turn_z)(x - c) + c + shift_z,
    # gives turn_j - turn_i = -phi, and then shift_j - shift_i = -R(turn_j) m.
    phi = np.array([np.arctan2(p.matrix[1, 0], p.matrix[0, 0]) for p in links])
    turn = graph.solve(-phi.reshape(-1, 1), floor=0.1 / max(shape))
    m = [apply(p.matrix, np.array(centre)) - centre for p in links]
    moved = [-_rotated(m[k], turn[p.moving, 0]) for k, p in enumerate(links)]
    shift = graph.solve(np.array(moved).reshape(-1, 2), floor=0.1)
    fields, spacing = None, 16
    if any(p.field is not None for p in links):
        fields, spacing = _displacements(graph, links, turn, shift, shape)
    residual, correlation = _quality(links, turn, shift, fields, spacing, shape, n_sections)

    good = ~bad
    blank = {z for p in pairs for z, b in zip((p.fixed, p.moving), p.blank) if b}
    status: list[Status] = [
        "blank" if z in blank else "corrupt" if bad[z] else "unlinked" if z in unlinked else "ok" for z in range(n_sections)
    ]
    turn, shift = _filled(turn, good), _filled(shift, good)
    kept = _trend(turn, good, drift_sections)
    turn = turn - kept
    shift = np.stack([_rotated(s, -k) for s, k in zip(shift, kept[:, 0])])
    shift = shift - _trend(shift, good, drift_sections)
    if fields is not None:
        flat = _filled(fields.reshape(n_sections, -1), good)
        fields = (flat - _trend(flat, good, drift_sections)).astype(np.float32).reshape(fields.shape)
    return StackAlignment(
        shape, shift[:, 0], shift[:, 1], np.rad2deg(turn[:, 0]), residual, correlation, damage, status, fields, spacing
    )


def _untouched(shape: tuple[int, int], n: int) -> StackAlignment:
    """What a stack without pairs gets: nothing is moved."""
    zero = np.zeros(n)
    return StackAlignment(shape, zero, zero, zero, np.full(n, np.nan), zero, zero, ["ok"] * n)


def _rotated(vector: np.ndarray, angle: float) -> np.ndarray:
    """A (y, x) vector turned by `angle` radians, with the sign of `warp.rigid_matrix`."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


# --- bad sections ---------------------------------------------------------------------------------


def _bad_sections(pairs: Sequence[PairResult], n: int, max_damage: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool blank or corrupt, and (n,) the part of the tiles that agree with no neighbour."""
    bad, damage = np.zeros(n, bool), np.zeros(n)
    of: list[list[PairResult]] = [[] for _ in range(n)]
    for p in pairs:
        of[p.fixed].append(p)
        of[p.moving].append(p)
        bad[p.fixed] |= p.blank[0]
        bad[p.moving] |= p.blank[1]
    blank = bad.copy()
    damage[blank] = 1.0
    for _ in range(3):  # a section is judged by sections that are not bad themselves
        before = bad.copy()
        for z in np.flatnonzero(~blank).tolist():
            mine = [p.agreement for p in of[z] if not before[p.fixed + p.moving - z]]
            best = np.max(mine, axis=0) if mine else np.ones(1)
            if best.min() >= DAMAGED:  # fine, whatever theirs is; or unknown
                damage[z] = 0.0
                continue
            reach = max(p.moving - p.fixed for p in of[z])
            others = [_between(of, z, r, before) for r in (reach, 2 * reach)]
            if not others[0]:
                continue
            theirs = np.minimum(*(np.median(o, axis=0) for o in others))
            damage[z] = np.mean((best < DAMAGED * theirs) & (theirs > 0.1))
            bad[z] |= damage[z] > max_damage
        if (bad == before).all():
            break
    return bad, damage


def _between(of: Sequence[Sequence[PairResult]], z: int, reach: int, bad: np.ndarray) -> list[np.ndarray]:
    """Agreement of pairs around section z but not of it, of good sections within reach of it."""
    return [
        p.agreement
        for y in range(max(z - reach, 0), min(z + reach + 1, len(of)))
        for p in of[y]
        if p.fixed == y != z != p.moving <= z + reach and not (bad[y] or bad[p.moving])
    ]


# --- joint solution -------------------------------------------------------------------------------


def _graph(links: Sequence[PairResult], good: np.ndarray, n: int) -> Offsets:
    """The pairs as links; what none of them ties to the sections before is tied to the last of them as it lies."""
    # Near and alike sections tell more: structure itself moves from section to section.
    weight = [max(p.correlation * p.overlap, 0.01) ** 2 / (p.moving - p.fixed) for p in links]
    ends = [(p.fixed, p.moving) for p in links]
    return Offsets(ends, weight, good, pairwise(good.tolist()), n)


def _displacements(
    graph: Offsets, links: Sequence[PairResult], turn: np.ndarray, shift: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, int]:
    """Fields (n, 2, gy, gx) on output nodes that make S_j = W_ij o S_i hold, and their spacing."""
    spacing = next(p.spacing for p in links if p.field is not None)
    gy, gx = (-(-(n - 1) // spacing) + 1 for n in shape)
    nodes = np.stack(np.meshgrid(np.arange(gy), np.arange(gx), indexing="ij"), -1) * float(spacing)
    fields = np.zeros((graph.n, 2, gy, gx))
    for _ in range(STEPS):
        at = [_raw_positions(z, nodes, turn, shift, fields, spacing, shape) for z in range(graph.n)]
        off = [(p.positions(at[p.fixed]) - at[p.moving]).transpose(2, 0, 1).ravel() for p in links]
        fields += graph.solve(np.array(off)).reshape(fields.shape)
    return fields, spacing


def _raw_positions(
    z: int,
    points: np.ndarray,
    turn: np.ndarray,
    shift: np.ndarray,
    fields: np.ndarray | None,
    spacing: int,
    shape: tuple[int, int],
) -> np.ndarray:
    """S_z: raw positions (..., 2) of aligned points (..., 2)."""
    matrix = rigid_matrix(shift[z, 0], shift[z, 1], np.rad2deg(turn[z, 0]), centre_of(shape))
    transform = SectionTransform(matrix, None if fields is None else fields[z], spacing)
    return np.moveaxis(transform.positions(points[..., 0], points[..., 1]), 0, -1)


def _quality(
    links: Sequence[PairResult],
    turn: np.ndarray,
    shift: np.ndarray,
    fields: np.ndarray | None,
    spacing: int,
    shape: tuple[int, int],
    n: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) rms px by which a section's pairs miss the solution on 4 x 4 points; (n,) best correlation."""
    points = np.stack(np.meshgrid(*(np.linspace(0, k - 1, 4) for k in shape), indexing="ij"), -1).reshape(-1, 2)
    at = [_raw_positions(z, points, turn, shift, fields, spacing, shape) for z in range(n)]
    total, count, correlation = np.zeros(n), np.zeros(n), np.zeros(n)
    for p in links:
        off = float(((p.positions(at[p.fixed]) - at[p.moving]) ** 2).sum()) / len(points)
        for z in (p.fixed, p.moving):
            total[z] += off
            count[z] += 1
            correlation[z] = max(correlation[z], p.correlation)
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan)), correlation


# --- drift ----------------------------------------------------------------------------------------


def _filled(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """(n, k) values with those of bad sections interpolated between the good ones around them."""
    where = np.flatnonzero(good)
    if len(where) in (0, len(good)):
        return values
    z = np.clip(np.arange(len(good)), where[0], where[-1])
    after = np.searchsorted(where, z)
    before = np.maximum(np.where(where[after] == z, after, after - 1), 0)
    step = np.maximum(where[after] - where[before], 1)
    part = ((z - where[before]) / step)[:, None]
    return values[where[before]] * (1 - part) + values[where[after]] * part


def _trend(values: np.ndarray, good: np.ndarray, sigma: float) -> np.ndarray:
    """The smooth part of (n, k) values over z that is taken for structure: see the head of this module.

    Local linear regression (Cleveland 1979) with Gaussian weights over good sections; the mean for sigma 0.
    """
    where = np.flatnonzero(good)
    if not len(where):
        return np.zeros_like(values)
    mean = values[where].mean(0)
    if sigma == 0 or len(where) < SHORT:
        return np.broadcast_to(mean, values.shape)
    n, trend, kept, steps, last = len(values), np.empty_like(values), 0.0, 0.0, None
    for z0 in range(0, n, 64):  # some rows of the smoother at a time, over the columns they reach
        z = np.arange(z0, min(z0 + 64, n))
        near = slice(*np.searchsorted(where, (z[0] - 4 * sigma, z[-1] + 4 * sigma + 1)))
        near = near if near.stop > near.start else slice(0, len(where))
        d = (where[near] - z[:, None]) / sigma
        w = np.exp(np.maximum(-d * d / 2, -700))
        s0, s1, s2 = (np.sum(w * d**k, axis=1, keepdims=True) for k in (0, 1, 2))
        tilted = s0 * s2 - s1 * s1
        w *= np.where(tilted > 1e-9 * s0 * s0, (s2 - s1 * d) / np.maximum(tilted, 1e-300), 1 / s0)
        trend[z] = np.einsum("zi,ik->zk", w, values[where[near]])
        kept += float(w[where[near] == z[:, None]].sum())
        rows = np.zeros((len(z), len(where)))
        rows[:, near] = w
        steps += float((np.diff(rows if last is None else np.vstack([last, rows]), axis=0) ** 2).sum())
        last = rows[-1]
    freedom = len(where) - kept
    power = steps / (n - 1)  # of a step from section to section, in units of the jitter's
    share = min(1.0, LEAK / power**0.5)
    if share < 1 and freedom > 0.5:
        noise = float(((values - trend)[where] ** 2).sum()) / freedom
        drift = float((np.diff(trend, axis=0) ** 2).sum()) / (n - 1)
        share = max(share, 1 - CLEAR * noise * power / max(drift, 1e-30))
    return mean + share * (trend - mean)
