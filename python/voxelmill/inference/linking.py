"""Which cell of one frame became which cell of the next: affinities, shared motion, and the choice between
them.

Every cell is summed up by its area, centroid and covariance, that is, by an ellipse. A hypothesis is one
cell -> one cell, one cell -> two (a division) or two -> one (two cells whose masks have run together). The
two cells of a pair are
merged into one ellipse, so all three kinds are compared by the same number: the Bhattacharyya distance of
two ellipses (A. Bhattacharyya, 1943), which is zero for equal ones, 0.5 for a disc moved by its radius and
2 for a disc moved by its diameter, plus the misfit of the areas. The best compatible set of hypotheses is a
maximum-weight set packing; gap closing and costs of not being linked follow Jaqaman et al., Nature Methods
5, 695 (2008), with all choices of one frame taken at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cell_tables import Regions

NEAREST = 10  # candidates per cell; a cell among touching neighbours has six
AREA_SPREAD = 0.3  # usual spread of log area between frames: segmentation noise, cell cycle
AREA_CAP = 1.0  # a wrong area alone must not rule out a link: masks get cut and joined
FAIR_SHARE = 0.2  # a daughter has at least this part of the area of both
PAIR_AREA = (0.6, 1.8)  # area of a pair over the area of the single cell


@dataclass(frozen=True, slots=True)
class Links:
    """What a tracking method answers.

    Attributes:
        ids: for each frame (n_t,) integers, the track id (> 0) of each region of its table.
        parents: track id of a daughter -> track id of its mother.
    """

    ids: Sequence[NDArray]
    parents: dict[int, int]


class Cells(NamedTuple):
    """Ellipses of n cells.

    Attributes:
        centroid: (n, 2) in (y, x), px.
        area: (n,) px.
        cov: (n, 2, 2) covariance of their pixels, px^2.
        cut: (n,) bool, the border of the frame cuts the cell.
        doubt: (n,) variance of the centroid along each axis, px^2: motion that is not predicted.
    """

    centroid: NDArray[np.float64]
    area: NDArray[np.float64]
    cov: NDArray[np.float64]
    cut: NDArray[np.bool_]
    doubt: NDArray

    @classmethod
    def of(cls, regions: Regions) -> Cells:
        """A cell that the border cuts has lost an unknown part, so its centroid is as uncertain as a cell
        is large."""
        usual: float = np.median(np.trace(regions.cov, axis1=1, axis2=2)) / 2 if len(regions) else 0.0
        cut = regions.on_border
        return cls(regions.centroid, regions.area, regions.cov, cut, usual * cut)

    @property
    def reach(self) -> NDArray[np.float64]:
        """(n,) px from the centroid to the ends of the ellipse: a disc's radius, of a rod a little over half its length."""
        yy, xx, yx = self.cov[:, 0, 0], self.cov[:, 1, 1], self.cov[:, 0, 1]
        return 2 * np.sqrt((yy + xx) / 2 + np.hypot((yy - xx) / 2, yx))

    def take(self, index: NDArray | slice) -> Cells:
        return Cells(self.centroid[index], self.area[index], self.cov[index], self.cut[index], self.doubt[index])

    def expected(self, shift: NDArray, growth: float, doubt: float = 0.0) -> Cells:
        """The cells after they moved by `shift` (n, 2) px, give or take, and grew in area by the factor
        `growth`."""
        return Cells(self.centroid + shift, self.area * growth, self.cov * growth, self.cut, self.doubt + doubt)

    def joined(self, a: NDArray, b: NDArray) -> Cells:
        """The pairs a[i] and b[i] taken as one cell each."""
        area = self.area[a] + self.area[b]
        wa = self.area[a] / area
        wb = 1 - wa
        apart = self.centroid[a] - self.centroid[b]
        spread = (wa * wb)[:, None, None] * apart[:, :, None] * apart[:, None, :]
        return Cells(
            wa[:, None] * self.centroid[a] + wb[:, None] * self.centroid[b],
            area,
            wa[:, None, None] * self.cov[a] + wb[:, None, None] * self.cov[b] + spread,
            self.cut[a] | self.cut[b],
            np.maximum(self.doubt[a], self.doubt[b]),
        )


class Hypotheses(NamedTuple):
    """What may have happened: sources a, b and targets c, d as columns of `cells` (h, 4), -1 for none;
    `cost` (h,)."""

    cells: NDArray[np.int64]
    cost: NDArray[np.float64]

    def keep(self, mask: NDArray) -> Hypotheses:
        return Hypotheses(self.cells[mask], self.cost[mask])


def distance(a: Cells, b: Cells) -> NDArray[np.float64]:
    """Bhattacharyya distance of ellipses, (n,); doubt makes it matter less how far apart they are."""
    d = b.centroid - a.centroid
    yy, yx, xx = ((a.cov[:, i, j] + b.cov[:, i, j]) / 2 for i, j in ((0, 0), (0, 1), (1, 1)))
    spread = np.log((yy * xx - yx * yx) / np.sqrt(_det(a.cov) * _det(b.cov)))
    doubt = a.doubt + b.doubt
    yy, xx = yy + doubt, xx + doubt
    moved = (xx * d[:, 0] ** 2 - 2 * yx * d[:, 0] * d[:, 1] + yy * d[:, 1] ** 2) / (yy * xx - yx * yx)
    return moved / 8 + spread / 2


def _det(cov: NDArray) -> NDArray:
    return cov[:, 0, 0] * cov[:, 1, 1] - cov[:, 0, 1] ** 2


def _area_misfit(ratio: NDArray) -> NDArray:
    """Cost of an area ratio that should be 1."""
    return np.minimum(np.log(ratio) ** 2 / (2 * AREA_SPREAD**2), AREA_CAP)


def misfit(a: Cells, b: Cells) -> NDArray[np.float64]:
    """(n,) how badly b fits a: distance and area. The area of a cell that the border cuts says nothing."""
    return distance(a, b) + np.where(a.cut | b.cut, 0, _area_misfit(b.area / a.area))


def _neighbours(points: NDArray, of: NDArray) -> NDArray[np.int64]:
    """(n, k) the k nearest of `of` for each point."""
    from scipy.spatial import cKDTree

    k = min(NEAREST, len(of))
    return cKDTree(of).query(points, k=k)[1].reshape(len(points), k)


def hypotheses(
    source: Cells, target: Cells, limit: float, pair_cost: float, *, divisions: bool = True, merges: bool = False
) -> Hypotheses:
    """All plausible links, divisions and merges between two sets of cells.

    Args:
        source: the cells of the earlier frame, where and how large they are expected in the later one.
        target: the cells of the later frame.
        limit: greatest cost of a link; a pair may cost half as much again, as it explains three cells.
        pair_cost: what a division or merge costs beyond its misfit.
        divisions, merges: which pairs to look for.
    """
    if not len(source.area) or not len(target.area):
        return Hypotheses(np.zeros((0, 4), np.int64), np.zeros(0))
    near = _neighbours(source.centroid, target.centroid)
    cost = _link_cost(source, target, near)
    i, k = np.nonzero(cost < limit)
    none = np.full(len(i), -1)
    found = [Hypotheses(np.stack([i, none, near[i, k], none], axis=1), cost[i, k])]
    if divisions:
        one, a, b, paired = _pairs(source, target, near, cost, limit, pair_cost)
        found.append(Hypotheses(np.stack([one, np.full(len(a), -1), a, b], axis=1), paired))
    if merges:
        near = _neighbours(target.centroid, source.centroid)
        one, a, b, paired = _pairs(target, source, near, _link_cost(target, source, near), limit, pair_cost)
        found.append(Hypotheses(np.stack([a, b, one, np.full(len(a), -1)], axis=1), paired))
    cells, cost = (np.concatenate(v) for v in zip(*found))
    return Hypotheses(cells, cost).keep(cost < 1.5 * limit)


def _link_cost(one: Cells, other: Cells, near: NDArray) -> NDArray[np.float64]:
    """(n, k) cost of linking each cell to each of its neighbours; the same in both directions of time."""
    i, j = np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()
    return misfit(one.take(i), other.take(j)).reshape(near.shape)


def _pairs(
    single: Cells, double: Cells, near: NDArray, half: NDArray, limit: float, pair_cost: float
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Single cells against pairs of `double`: index of the single, of both, and the cost.

    `half` (n, k) is the cost of each link alone. A pair that gains no more than one of its halves is left
    out: no best choice contains it.
    """
    if len(near) > 2000:  # bounds the memory, whatever the number of cells
        parts = [
            _pairs(single.take(k), double, near[k], half[k], limit, pair_cost)
            for k in (slice(low, low + 2000) for low in range(0, len(near), 2000))
        ]
        shifted = [(part[0] + 2000 * k, *part[1:]) for k, part in enumerate(parts)]
        return tuple(np.concatenate(column) for column in zip(*shifted))  # type: ignore[return-value]
    p, q = np.triu_indices(near.shape[1], 1)
    one, a, b = np.repeat(np.arange(len(near)), len(p)), near[:, p].ravel(), near[:, q].ravel()
    most = np.minimum(half[:, p], half[:, q]).ravel() + limit / 2
    area = double.area[a] + double.area[b]
    share = np.minimum(double.area[a], double.area[b]) / area
    ratio = area / single.area[one]
    # both halves lie where the whole was, give or take motion that is not predicted
    margin = single.reach + np.minimum(2 * np.sqrt(single.doubt), single.reach)
    near_by = [np.hypot(*(single.centroid[one] - double.centroid[k]).T) < margin[one] + double.reach[k] for k in (a, b)]
    fits = np.flatnonzero((ratio > PAIR_AREA[0]) & (ratio < PAIR_AREA[1]) & (share > FAIR_SHARE) & near_by[0] & near_by[1])
    one, a, b, share, most = one[fits], a[fits], b[fits], share[fits], most[fits]
    alone, joined = single.take(one), double.joined(a, b)
    cost = pair_cost + misfit(alone, joined) + _area_misfit(share / (1 - share)) / 2
    # at the border a cell that comes in or goes out explains the third cell just as well
    cost += np.where(alone.cut | joined.cut, limit / 2, 0)
    fits = cost < most
    return one[fits], a[fits], b[fits], cost[fits]


def mutual(h: Hypotheses, n_source: int, n_target: int) -> NDArray[np.bool_]:
    """(h,) bool: the hypotheses that are the cheapest one for every cell they contain."""
    node = nodes(h.cells, n_source)
    best = np.full(n_source + n_target + 1, np.inf)
    np.minimum.at(best, node.ravel(), np.repeat(h.cost, 4))
    best[-1] = np.inf
    return (h.cost[:, None] <= best[node]).all(axis=1)


def nodes(cells: NDArray, n_source: int) -> NDArray:
    """Sources and targets numbered in one row, sources first; -1 stays (the last, spare node)."""
    return np.where(cells < 0, -1, cells + np.array([0, 0, n_source, n_source]))


def packing(nodes: NDArray, gain: NDArray, n: int) -> NDArray[np.bool_]:
    """The compatible sets of greatest total gain (maximum-weight set packing).

    Args:
        nodes: (h, k) integers, the members of each set among 0..n-1, -1 for none.
        gain: (h,) what a set is worth; sets worth nothing are never taken.
        n: number of members.

    Returns:
        (h,) bool, the sets taken; no two of them share a member.
    """
    taken = np.zeros(len(gain), bool)
    alive = np.flatnonzero(gain > 0)
    while len(alive):
        # A set worth more than the best rivals of all its members together is in every optimum: whatever it
        # pushes out is worth less. That settles nearly all, and the integer programme is left with the few
        # real conflicts.
        part, worth = nodes[alive], gain[alive]
        best, second, owner = np.zeros(n + 1), np.zeros(n + 1), np.full(n + 1, -1)
        order = np.argsort(worth, kind="stable")
        flat, rank = part[order].ravel(), np.repeat(order, part.shape[1])
        owner[flat] = rank  # the last write is the most valuable
        best[flat] = worth[rank]
        rest = owner[flat] != rank
        second[flat[rest]] = worth[rank[rest]]
        rival = np.where(owner[part] == np.arange(len(part))[:, None], second[part], best[part])
        rival[part < 0] = 0
        sure = worth > rival.sum(axis=1)
        if not sure.any():
            break
        taken[alive[sure]] = True
        used = np.zeros(n + 1, bool)
        used[part[sure].ravel()] = True
        used[-1] = False
        alive = alive[~used[part].any(axis=1)]
    if len(alive):
        taken[alive] = _integer_programme(nodes[alive], gain[alive], n)
    return taken


def _integer_programme(nodes: NDArray, gain: NDArray, n: int) -> NDArray[np.bool_]:
    from scipy.optimize import Bounds, LinearConstraint, linprog, milp
    from scipy.sparse import csc_array

    row, col = nodes.ravel(), np.repeat(np.arange(len(gain)), nodes.shape[1])
    row, col = row[row >= 0], col[row >= 0]
    once = csc_array((np.ones(len(row)), (row, col)), shape=(n, len(gain)))
    # the linear relaxation nearly always has an integer solution, several times sooner
    found = linprog(-gain, A_ub=once, b_ub=np.ones(n), bounds=(0, 1), method="highs-ds", options={"presolve": False})
    if found.x is None or np.abs(found.x - np.rint(found.x)).max() > 1e-6:
        found = milp(
            -gain, constraints=LinearConstraint(once, -np.inf, 1), bounds=Bounds(0, 1), integrality=np.ones(len(gain))
        )
    if found.x is None:
        raise RuntimeError(f"linking {len(gain)} hypotheses: the integer programme failed: {found.message}")
    return found.x > 0.5


def voted_shift(source: Cells, target: Cells, reach: float) -> NDArray[np.float64]:
    """The shift (y, x) in px that brings most cells onto cells of their own shape, each axis within +-reach.

    A cell votes for the shift to every cell in reach, the more the more alike they are; votes for the true
    shift pile up, those for neighbours spread. Finds a jump of the stage by more than the distance between
    cells.
    """
    votes, at = _votes(source, target, reach)
    peak = np.unravel_index(votes.argmax(), votes.shape)
    return at[list(peak)]


def far_shifts(source: Cells, target: Cells, reach: float, most: int = 8) -> NDArray[np.float64]:
    """(k, 2) shifts for which more cells vote than for those around them: what a jump by much of the field may be.

    Of a jump that leaves a quarter of the field in view a quarter of the cells vote, fewer than vote by chance for no
    jump at all: what counts is how far a peak stands out.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    votes, at = _votes(source, target, reach)
    around = gaussian_filter(votes, 8)
    stands_out = (votes - around) / np.sqrt(around + 0.05)
    peaks = np.argwhere((stands_out == maximum_filter(stands_out, 5)) & (votes > 0))
    best = peaks[np.argsort(-stands_out[tuple(peaks.T)], kind="stable")[:most]]
    return at[best]


def _votes(source: Cells, target: Cells, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Votes (n, n) for shifts along y and x, smoothed, and the shift (n,) in px of each row or column."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial import cKDTree

    source = source.take(slice(None, None, 1 + len(source.area) // 500))  # 500 votes are enough
    near = cKDTree(source.centroid).sparse_distance_matrix(cKDTree(target.centroid), reach, output_type="ndarray")
    i, j = near["i"], near["j"]
    if not len(i):
        return np.zeros((1, 1)), np.zeros(1)
    shift = target.centroid[j] - source.centroid[i]
    a, b = source.take(i), target.take(j)
    vote = np.exp(-2 * distance(a, b._replace(centroid=a.centroid)))
    bin_size = max(0.35 * np.sqrt(np.median(source.area) / np.pi), reach / 256)
    n = 2 * int(np.ceil(reach / bin_size)) + 1  # odd: one bin is centred on no shift
    edge = n * bin_size / 2
    votes, at, _ = np.histogram2d(shift[:, 0], shift[:, 1], bins=n, range=[[-edge, edge]] * 2, weights=vote)
    return gaussian_filter(votes, 1), at[:-1] + bin_size / 2


def shared_motion(at: NDArray, own: NDArray, start: NDArray, moved: NDArray, bandwidth: float) -> NDArray[np.float64]:
    """What the neighbours' motion says about each cell's: drift, and growth of a colony that pushes its
    cells apart.

    Args:
        at: (n, 2) positions asked for.
        own: (m,) index into `at` of each known motion; a cell's own motion does not predict itself.
        start, moved: (m, 2) positions and displacements of the known motions, px.
        bandwidth: distance over which motions are alike, px.

    Returns:
        (n, 2) displacement, px: the neighbours' mean, scaled by how well such means explain the known
        motions (0 where every cell goes its own way).
    """
    from scipy.spatial import cKDTree

    if len(own) < 4:  # too few to tell shared motion from chance
        return np.zeros_like(at)
    trend = _trend(at, start, moved)
    far, near = cKDTree(start).query(at, k=min(13, len(own)))
    weight = np.exp(-0.5 * (far / bandwidth) ** 2)
    weight[own[near] == np.arange(len(at))[:, None]] = 0
    local = (weight[..., None] * (moved - trend[own])[near]).sum(axis=1)
    mean = trend + local / (weight.sum(axis=1) + 0.2)[:, None]  # isolated cells follow the trend
    known = mean[own]
    slope = (known * moved).sum() / max((known * known).sum(), 1e-9)
    return np.clip(slope, 0, 1) * mean


def _trend(at: NDArray, start: NDArray, moved: NDArray) -> NDArray[np.float64]:
    """(n, 2) what a drift and a growing field as a whole make of the known motions, outliers played down."""
    if len(start) < 30:  # six numbers would follow chance
        return np.tile(np.median(moved, axis=0), (len(at), 1))
    centre = start.mean(axis=0)
    known = np.column_stack([np.ones(len(start)), start - centre])
    weight = np.ones((len(start), 1))
    for _ in range(4):
        fit = np.linalg.lstsq(known * weight, moved * weight, rcond=None)[0]
        off = np.hypot(*(moved - known @ fit).T)
        weight = 1 / np.hypot(1, off / (1.5 * np.median(off) + 1e-6))[:, None]
    return np.column_stack([np.ones(len(at)), at - centre]) @ fit
