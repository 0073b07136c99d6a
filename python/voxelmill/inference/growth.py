"""Tracking by growth: cells that move, grow and divide, linked frame by frame from their tables, see `linking`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import ParameterError

from .cell_tables import Regions
from .linking import Cells, Hypotheses, Links, far_shifts, hypotheses, mutual, nodes, packing, shared_motion, voted_shift


def link_growth(
    tables: Sequence[Regions],
    *,
    max_gap: int = 2,
    max_cost: float = 2.0,
    division_cost: float = 0.3,
    divisions: bool = True,
    min_daughter: int = 3,
    max_drift: float = -1.0,
    max_move: float = 0.0,
) -> Links:
    """Tracking for cells that move, grow and divide.

    From frame to frame the motion that neighbours share (drift, a growing colony) and the median growth are
    estimated together with the links, each cell's own velocity is added as far as it has proved to persist,
    and then all links and divisions of the frame are chosen at once (see `linking`). A cell that is not
    found waits, moving with its neighbours, for at most `max_gap` frames; so a gap is closed by the same
    comparison as any other link.

    Args:
        tables: one per frame.
        max_gap: frames in a row a cell may be missing and still keep its id; 0 = none.
        max_cost: greatest cost of a link; 2 is a disc moved by its own diameter beyond what was predicted.
        division_cost: what a division costs beyond its misfit; higher finds fewer.
        divisions: False never links a cell to two.
        min_daughter: frames a daughter must live for the division to count; one that is lost sooner was a
            fragment of a cell that did not divide.
        max_drift: greatest jump of the whole field between frames that is looked for, px; 0 = none, -1 = by half of
            the field along both axes.
        max_move: px a cell may move in one frame beyond what is predicted, at the least; 0 = as measured from
            the movie's own links.
    """
    for name, value, low in [
        ("max_gap", max_gap, 0),
        ("min_daughter", min_daughter, 0),
        ("max_cost", max_cost, 1e-9),
        ("division_cost", division_cost, 0),
        ("max_drift", max_drift, -1),
        ("max_move", max_move, 0),
    ]:
        if not value >= low:
            raise ParameterError(f"tracking: {name} is {value}, expected at least {low}")
    linker = _Growth(max_gap, max_cost, division_cost, divisions, max_drift, max_move)
    ids = [linker.step(regions) for regions in tables]
    return _without_fragments(Links(ids, linker.parents), tables, min_daughter)


def _without_fragments(links: Links, tables: Sequence[Regions], min_daughter: int) -> Links:
    """Undo the divisions of which a daughter was lost at once: the other daughter is the mother still.

    What leaves through the border, divides again, or is there when the movie ends was not lost.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    lost: set[int] = set()
    for t, (ids, regions) in enumerate(zip(links.ids, tables)):
        for i, cut in zip(ids.tolist(), regions.on_border.tolist()):
            first.setdefault(i, t)
            last[i] = t
            (lost.discard if cut or t == len(tables) - 1 else lost.add)(i)
    daughters: dict[int, list[int]] = {}
    for daughter, mother in links.parents.items():
        daughters.setdefault(mother, []).append(daughter)
    same: dict[int, int] = {}  # daughter -> the mother that it is
    for mother in sorted(daughters, key=last.__getitem__, reverse=True):  # late divisions first
        brief, kept = sorted(daughters[mother], key=lambda i: last[i] - first[i])
        if brief in lost and brief not in daughters and last[brief] - first[brief] + 1 < min_daughter:
            same[kept], last[mother] = mother, last[kept]
            lost = lost | {mother} if kept in lost else lost - {mother}
            del daughters[mother]
            if kept in daughters:
                daughters[mother] = daughters.pop(kept)
    parents = {daughter: mother for mother, both in daughters.items() for daughter in both}
    if not same:
        return Links(links.ids, parents)
    new = np.arange(max(last) + 1)
    for daughter in sorted(same):  # a mother's id is smaller than its daughters'
        new[daughter] = new[same[daughter]]
    return Links([new[ids] for ids in links.ids], parents)


class _Growth:
    """The state of `link_growth` between two frames: the cells that are there or are waited for."""

    ROUNDS = 8  # motion, growth and links mostly settle in two or three
    NEAR = 100.0  # px, a jump that is always looked for
    DOUBTFUL = 0.7  # share of what could be gained, below which one that is further is looked for
    BY_CHANCE = 0.5  # share of it that a wrong jump gains: what is beyond it speaks for a jump
    MORE = 0.1  # share of it that a jump gains beyond what none does
    FEWEST = 3  # cells that must be found again after such a jump

    def __init__(
        self, max_gap: int, max_cost: float, division_cost: float, divisions: bool, max_drift: float, max_move: float
    ) -> None:
        self.max_gap, self.max_cost, self.division_cost = max_gap, max_cost, division_cost
        self.divisions, self.max_drift = divisions, max_drift
        self.least_doubt = max_move**2 / (8 * max_cost)  # so that max_move costs no more than max_cost
        self.doubt: float | None = None  # measured variance of the motion that is not predicted, px^2
        none = np.zeros(0)
        self.cells = Cells(np.zeros((0, 2)), none, np.zeros((0, 2, 2)), none.astype(bool), none)
        self.ids = np.zeros(0, np.int64)
        self.missing = np.zeros(0, np.int64)  # frames since the cell was last seen
        self.velocity = np.zeros((0, 2))  # px per frame, beyond the shared motion
        self.persistence = np.array([0.0, 1.0])  # sums for the regression of motion on earlier motion
        self.next_id = 1
        self.parents: dict[int, int] = {}

    def step(self, regions: Regions) -> NDArray[np.int64]:
        """The ids of one more frame."""
        target = Cells.of(regions)
        shared, growth, h = self._explain(target, regions.shape)
        ids = np.zeros(len(regions), np.int64)
        velocity = np.zeros((len(regions), 2))
        a, _, c, d = h.cells.T
        one, two = d < 0, d >= 0
        ids[c[one]] = self.ids[a[one]]
        velocity[c[one]] = target.centroid[c[one]] - self.cells.centroid[a[one]] - shared[a[one]]
        self._learn(a[one], velocity[c[one]])
        new = np.flatnonzero(ids == 0)
        ids[new] = np.arange(self.next_id, self.next_id + len(new))
        self.next_id += len(new)
        for mother, *daughters in zip(a[two], c[two], d[two]):
            for k in daughters:
                self.parents[int(ids[k])] = int(self.ids[mother])

        wait = self.missing < self.max_gap
        wait[a] = False
        beta = self._beta
        lost = self.cells.expected(shared + beta * self.velocity, growth, self.doubt or 0.0).take(wait)
        self.cells = Cells(*(np.concatenate(v) for v in zip(target, lost)))
        self.ids = np.concatenate([ids, self.ids[wait]])
        self.velocity = np.concatenate([velocity, beta * self.velocity[wait]])
        self.missing = np.concatenate([np.zeros(len(ids), np.int64), self.missing[wait] + 1])
        return ids

    @property
    def _beta(self) -> float:
        return float(np.clip(self.persistence[0] / self.persistence[1], 0, 1))

    def _learn(self, source: NDArray, velocity: NDArray) -> None:
        """How far velocities persist, and how large the motion is that was not predicted."""
        seen = self.missing[source] == 0
        before, velocity = self.velocity[source[seen]], velocity[seen]
        off = ((velocity - self._beta * before) ** 2).sum(axis=1)
        if len(off) >= 5:
            measured = float(np.median(off)) / (2 * np.log(2))  # of a normal distribution in two dimensions
            self.doubt = (self.doubt + measured) / 2 if self.doubt is not None else measured
        self.persistence = 0.9 * self.persistence + [(before * velocity).sum(), (before * before).sum()]

    def _explain(self, target: Cells, shape: tuple[int, int]) -> tuple[NDArray, float, Hypotheses]:
        """Shared motion of each cell, growth, and the chosen hypotheses."""
        if not len(self.ids) or not len(target.area):
            none = np.zeros((0, 4), np.int64)
            return np.zeros((len(self.ids), 2)), 1.0, Hypotheses(none, np.zeros(0))
        starts = [np.zeros(2)]
        far = np.hypot(*shape) / 2 if self.max_drift < 0 else self.max_drift
        near = min(far, self.NEAR)
        if near:
            shift = voted_shift(self.cells, target, near)
            if np.hypot(*shift) > 0.5 * np.sqrt(np.median(target.area) / np.pi):
                starts.append(shift)
        best = max((self._explain_from(shift, target) for shift in starts), key=lambda found: found[0])
        here = self.cells.take(self.missing == 0)
        if far > near and best[0] < self.DOUBTFUL * self.max_cost * min(len(here.area), len(target.area)):
            most = self._most_gain(best, target, shape)
            excess, usual = best[0] - self.BY_CHANCE * most + self.max_cost, best[0] / most
            for shift in far_shifts(here, target, far):
                found = self._explain_from(shift, target)
                most = self._most_gain(found, target, shape)
                more, share = found[0] - self.BY_CHANCE * most, found[0] / most
                if found[0] > self.FEWEST * self.max_cost and more > excess and share > usual + self.MORE:
                    best, excess = found, more
        return best[1:]

    def _most_gain(self, found: tuple[float, NDArray, float, Hypotheses], target: Cells, shape: tuple[int, int]) -> float:
        """What all cells could gain that are in the field before and after the shift at which the motion has settled,
        which may be another than it began with."""
        shift = np.median(found[1], axis=0)
        there = self.cells.centroid[self.missing == 0] + shift
        back = target.centroid - shift
        seen = min(int(((p >= 0) & (p < np.array(shape))).all(axis=1).sum()) for p in (there, back))
        return self.max_cost * max(seen, 1)

    def _explain_from(self, shift: NDArray, target: Cells) -> tuple[float, NDArray, float, Hypotheses]:
        shared, growth = np.tile(shift, (len(self.ids), 1)), 1.0
        bandwidth = 2.5 * np.sqrt(np.median(target.area))
        for _ in range(self.ROUNDS):
            h, _ = self._hypotheses(target, shared, growth)
            h = h.keep(mutual(h, len(self.ids), len(target.area)) & (self.missing[h.cells[:, 0]] == 0))
            a, _, c, d = h.cells.T
            to = np.where(d[:, None] < 0, target.centroid[c], target.joined(c, d).centroid)
            start = self.cells.centroid[a]
            before, shared = shared, shared_motion(self.cells.centroid, a, start, to - start, bandwidth)
            ratio = np.log(target.area[c[d < 0]] / self.cells.area[a[d < 0]])
            # no growth is added five times: a few cells say next to nothing
            growth = float(np.exp(np.median(np.append(ratio, np.zeros(5)))))
            if np.abs(shared - before).max() < 0.02 * bandwidth:
                break
        h, gain = self._hypotheses(target, shared, growth)
        chosen = packing(nodes(h.cells, len(self.ids)), gain, len(self.ids) + len(target.area))
        return gain[chosen].sum(), shared, growth, h.keep(chosen)

    def _hypotheses(self, target: Cells, shared: NDArray, growth: float) -> tuple[Hypotheses, NDArray]:
        doubt = np.trace(target.cov, axis1=1, axis2=2).mean() / 2 if self.doubt is None else self.doubt
        expected = self.cells.expected(shared + self._beta * self.velocity, growth, max(doubt, self.least_doubt))
        h = hypotheses(expected, target, self.max_cost, self.division_cost, divisions=self.divisions)
        # each cell that is explained is worth half the greatest cost of a link; one that was given up for
        # lost, less
        worth = np.where(self.missing > 0, 0.25, 0.5)[h.cells[:, 0]] + np.where(h.cells[:, 3] < 0, 0.5, 1.0)
        return h, worth * self.max_cost - h.cost
