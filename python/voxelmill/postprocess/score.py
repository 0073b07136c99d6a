"""How well a segmentation agrees with the truth: variation of information and adapted Rand error.

Meila, "Comparing clusterings" (2003); Arganda-Carreras et al., "Crowdsourcing the creation of image
segmentation algorithms for connectomics" (2015); border tolerance as in the CREMI challenge. Everything
follows from the contingency table (how many voxels have truth i and prediction j), which slabs add to.

Conventions: voxels whose truth is 0 are not scored (``ignore_truth_zero``); predicted 0 on a true
object is one segment, as in CREMI and scikit-image; pairs of a voxel with itself do not count, as in
scikit-image (``self_pairs=True`` counts them, as CREMI does: a difference of one part in the mean segment
size). scikit-image 0.26 returns our precision as its recall and the other way round.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.errors import DataError

MERGED = 1_000_000  # rows of other tables that are held before they are summed
TOLERANCE = 2  # px at true boundaries that are left out where faults are counted
SHARED = 0.1  # of the smaller of a true and a found segment, from which the two belong together


class Faults(NamedTuple):
    """By segment; two belong together where they share SHARED of the smaller one."""

    truth: np.ndarray  # (n,) uint64, ascending
    voxels: np.ndarray  # (n,) int64 of each, as far as they are scored
    pieces: np.ndarray  # (n,) found segments that are of it; 1 at least
    others: np.ndarray  # (n,) further true segments that these are of, piece by piece
    pred: np.ndarray  # (m,) uint64, ascending, without 0
    merged: np.ndarray  # (m,) true segments that each is of; 1 at least


def called(values: np.ndarray, names: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Predictions (n,) with `names` (ascending) called `labels`; 0 stays 0. Raises DataError for one that is no name."""
    known, new = (np.concatenate([np.zeros(1, np.uint64), of.astype(np.uint64)]) for of in (names, labels))
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    if not np.array_equal(known[at], values):
        raise DataError(f"score: prediction {values[known[at] != values][0]} has no new name")
    return new[at]


class Contingency:
    """Contingency table of two label volumes, added up slab by slab.

    Args:
        ignore_truth_zero: leave out voxels whose truth is 0.
        border: leave out voxels with a truth boundary within this many px in their section (Chebyshev).
    """

    def __init__(self, *, ignore_truth_zero: bool = True, border: int = 0):
        if border < 0:
            raise DataError(f"score: border is {border}; expected 0 px or more")
        self.ignore_truth_zero = ignore_truth_zero
        self.border = border
        self.truth = np.zeros(0, np.uint64)
        self.pred = np.zeros(0, np.uint64)
        self.count = np.zeros(0, np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @classmethod
    def of(cls, truth: np.ndarray, pred: np.ndarray, count: np.ndarray, *, border: int = 0) -> Contingency:
        """From rows, as `rows` gives them."""
        made = cls(border=border)
        made.truth, made.pred, made.count = _sum_pairs(truth, pred, count)
        return made

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs (n,) of a true and a predicted label, ascending, and how many voxels have both."""
        self._sum(self._waiting)
        return self.truth, self.pred, self.count

    def add(self, truth: np.ndarray, pred: np.ndarray, inner: tuple[slice, ...] = (slice(None), slice(None))) -> None:
        """Count part of a volume ``(z, y, x)`` (or one section): integer labels below 2**63.

        ``truth`` may reach further than ``pred``, which lies at its ``inner`` (y, x): as far as the border does, so
        that parts of a section add up to what the whole section counts.

        Raises:
            DataError: shapes differ, labels are not integers, or are negative.
        """
        for name, labels in (("truth", truth), ("prediction", pred)):
            if labels.dtype.kind not in "uib":
                raise DataError(f"score: the {name} is {labels.dtype}; expected integer labels")
            if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
                raise DataError(f"score: the {name} holds the label {labels.min()}; expected 0 or more")
        part = truth[..., inner[0], inner[1]]
        if part.shape != pred.shape:
            raise DataError(f"score: truth has shape {part.shape}, prediction {pred.shape}; expected one grid")
        if truth.ndim not in (2, 3):
            raise DataError(f"score: labels have shape {truth.shape}; expected (z, y, x) or (y, x)")
        sections = (truth, pred) if truth.ndim == 3 else (truth[None], pred[None])
        parts = [self._count(t, p, inner) for t, p in zip(*sections, strict=True)]
        self._sum(parts)

    def merge(self, other: Contingency) -> None:
        """Count what another table has counted; summed when that is as much as is there, so that it stays linear."""
        other._sum(other._waiting)
        self._waiting.append((other.truth, other.pred, other.count))
        if sum(len(part[2]) for part in self._waiting) > len(self.count) + MERGED:
            self._sum(self._waiting)

    def _sum(self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        parts.append((self.truth, self.pred, self.count))
        self.truth, self.pred, self.count = _sum_pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        parts.clear()

    def _count(
        self, truth: np.ndarray, pred: np.ndarray, inner: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One section, as runs of equal pairs: linear in voxels, then as many rows as there are runs."""
        keep = truth[inner] > 0 if self.ignore_truth_zero else np.ones(pred.shape, bool)
        if self.border:
            keep &= ~near_boundary(truth, self.border)[inner]
        t, p = truth[inner][keep], pred[keep]
        if not t.size:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64)
        start = np.flatnonzero(np.concatenate(([True], (t[1:] != t[:-1]) | (p[1:] != p[:-1]))))
        return _sum_pairs(t[start].astype(np.uint64), p[start].astype(np.uint64), np.diff(start, append=t.size))

    def renamed(self, names: np.ndarray, labels: np.ndarray) -> Contingency:
        """The table with predictions `names` (ascending) called `labels`; several may be one. 0 stays 0.

        Raises:
            DataError: a prediction is not among the names.
        """
        self._sum(self._waiting)
        made = Contingency(ignore_truth_zero=self.ignore_truth_zero, border=self.border)
        made.truth, made.pred, made.count = _sum_pairs(self.truth, called(self.pred, names, labels), self.count)
        return made

    def faults(self) -> Faults:
        """What is split and what is merged. 0 is no segment of either; what was found nowhere is in one piece."""
        self._sum(self._waiting)
        kept = (self.truth > 0) & (self.pred > 0)
        truth, t = np.unique(self.truth, return_inverse=True)
        voxels = np.bincount(t, self.count, len(truth)).astype(np.int64)
        pred, p = np.unique(self.pred, return_inverse=True)
        sizes = np.bincount(p, self.count, len(pred))
        kept &= self.count >= SHARED * np.minimum(voxels[t], sizes[p])
        pieces, merged = np.bincount(t[kept], minlength=len(truth)), np.bincount(p[kept], minlength=len(pred))
        others = np.bincount(t[kept], merged[p[kept]] - 1, len(truth)).astype(np.int64)
        return Faults(
            truth[truth > 0],
            voxels[truth > 0],
            np.maximum(pieces, 1)[truth > 0],
            others[truth > 0],
            pred[pred > 0],
            np.maximum(merged, 1)[pred > 0],
        )

    def result(self, *, self_pairs: bool = False) -> dict[str, float]:
        """The scores: VOI in bits, the rest 0..1.

        ``voi_split`` = H(pred | truth), over-segmentation; ``voi_merge`` = H(truth | pred),
        under-segmentation; ``arand`` = 1 - F1 of ``rand_precision`` and ``rand_recall``.

        Raises:
            DataError: no voxel was counted.
        """
        self._sum(self._waiting)
        n = int(self.count.sum())
        if n == 0:
            raise DataError("score: no voxel to score; the truth is 0 (or boundary) everywhere")
        _, t = np.unique(self.truth, return_inverse=True)
        _, p = np.unique(self.pred, return_inverse=True)
        joint = self.count.astype(float)
        by_truth, by_pred = np.bincount(t, joint), np.bincount(p, joint)
        entropy, entropy_truth, entropy_pred = (-(x / n * np.log2(x / n)).sum() for x in (joint, by_truth, by_pred))
        own = 0 if self_pairs else n
        both, in_truth, in_pred = ((x @ x) - own for x in (joint, by_truth, by_pred))
        # With no pair at all on one side (only singletons) there is nothing to get wrong on that side.
        precision = both / in_pred if in_pred else 1.0
        recall = both / in_truth if in_truth else 1.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        split, merge = max(entropy - entropy_truth, 0.0), max(entropy - entropy_pred, 0.0)
        return {
            "voi_split": float(split),
            "voi_merge": float(merge),
            "voi": float(split + merge),
            "arand": float(1 - f1),
            "rand_precision": float(precision),
            "rand_recall": float(recall),
            "n_truth": len(by_truth),
            "n_pred": len(by_pred),
            "voxels": n,
        }


def score_volumes(
    truth: np.ndarray, pred: np.ndarray, *, border: int = 0, ignore_truth_zero: bool = True, self_pairs: bool = False
) -> dict[str, float]:
    """Score two label volumes ``(z, y, x)`` as one 3-D problem; see `Contingency`."""
    table = Contingency(border=border, ignore_truth_zero=ignore_truth_zero)
    table.add(truth, pred)
    return table.result(self_pairs=self_pairs)


def score_sections(
    truth: np.ndarray, pred: np.ndarray, *, border: int = 0, ignore_truth_zero: bool = True, self_pairs: bool = False
) -> dict[str, float]:
    """Score each section as its own 2-D problem and average (ISBI-2012 style).

    Sections without a voxel to score are left out; ``sections`` says how many were scored.

    Raises:
        DataError: no section can be scored.
    """
    if truth.shape != pred.shape or truth.ndim != 3:
        raise DataError(f"score: truth has shape {truth.shape}, prediction {pred.shape}; expected one grid (z, y, x)")
    scores = []
    for t, p in zip(truth, pred, strict=True):
        table = Contingency(border=border, ignore_truth_zero=ignore_truth_zero)
        table.add(t, p)
        if table.count.sum():
            scores.append(table.result(self_pairs=self_pairs))
    return averaged(scores)


def averaged(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean of the scores of sections; ``voxels`` is their sum, ``sections`` their number.

    Raises:
        DataError: there is none.
    """
    if not scores:
        raise DataError("score: no section has a voxel to score; the truth is 0 (or boundary) everywhere")
    mean = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
    return mean | {"voxels": sum(s["voxels"] for s in scores), "sections": len(scores)}


def near_boundary(section: np.ndarray, distance: int) -> np.ndarray:
    """True where two labels meet within ``distance`` px (Chebyshev): bool ``(y, x)``."""
    import cv2

    near = np.zeros(section.shape, np.uint8)
    size = 2 * distance + 1
    for a, b, kernel, anchor in (
        (section[:-1], section[1:], (2 * distance, size), (distance, distance)),
        (section[:, :-1], section[:, 1:], (size, 2 * distance), (distance, distance)),
    ):
        # The edge between pixels i and i + 1 stands at index i: seen from i - distance + 1 to i + distance.
        edges = np.zeros(section.shape, np.uint8)
        edges[: a.shape[0], : a.shape[1]] = a != b
        np.maximum(near, cv2.dilate(edges, np.ones(kernel, np.uint8), anchor=anchor), out=near)
    return near.astype(bool)


def _sum_pairs(truth: np.ndarray, pred: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (truth, pred) with their counts added, in ascending order."""
    ids_t, t = np.unique(truth, return_inverse=True)
    ids_p, p = np.unique(pred, return_inverse=True)
    key, inverse = np.unique(t.astype(np.int64) * max(len(ids_p), 1) + p, return_inverse=True)
    total = np.bincount(inverse, count, minlength=len(key)).astype(np.int64)
    return ids_t[key // max(len(ids_p), 1)], ids_p[key % max(len(ids_p), 1)], total
