"""Scores of a time-lapse segmentation and of its links against known truth.

Label frames are integer arrays (Y, X) with 0 = background; movies are sequences of them, truth and
prediction of equal length. Objects match one to one, best overlap first, at an IoU of at least `threshold`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def match(truth: np.ndarray, found: np.ndarray, threshold: float = 0.5) -> tuple[list[tuple[int, int, float]], int, int]:
    """Pairs (truth id, found id, IoU) of one frame, and how many objects truth and found have.

    Raises ValueError when the frames differ in shape.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape}, found is {found.shape}; expected equal frames")
    n_truth, n_found = int(truth.max(initial=0)) + 1, int(found.max(initial=0)) + 1
    both = np.bincount(
        truth.ravel().astype(np.int64) * n_found + found.ravel().astype(np.int64), minlength=n_truth * n_found
    ).reshape(n_truth, n_found)
    area_truth, area_found = both.sum(1), both.sum(0)
    t, f = (index + 1 for index in np.nonzero(both[1:, 1:]))
    iou = both[t, f] / (area_truth[t] + area_found[f] - both[t, f])
    pairs, used_t, used_f = [], set(), set()
    for k in np.argsort(-iou, kind="stable"):
        if iou[k] >= threshold and t[k] not in used_t and f[k] not in used_f:
            used_t.add(t[k])
            used_f.add(f[k])
            pairs.append((int(t[k]), int(f[k]), float(iou[k])))
    return pairs, int((area_truth[1:] > 0).sum()), int((area_found[1:] > 0).sum())


def segmentation(truth: Iterable[np.ndarray], found: Iterable[np.ndarray]) -> dict[str, float]:
    """F1 at IoU 0.5 and 0.75, precision, recall, mean IoU of matches, and median area ratio found / truth."""
    hits = hits_75 = n_truth = n_found = 0
    ious: list[float] = []
    ratios: list[float] = []
    for a, b in zip(truth, found, strict=True):
        pairs, in_truth, in_found = match(a, b)
        n_truth, n_found, hits = n_truth + in_truth, n_found + in_found, hits + len(pairs)
        hits_75 += sum(iou >= 0.75 for *_, iou in pairs)
        ious += [iou for *_, iou in pairs]
        area_a, area_b = np.bincount(a.ravel()), np.bincount(b.ravel())
        ratios += [area_b[j] / area_a[i] for i, j, _ in pairs]
    return {
        "n_truth": n_truth,
        "n_found": n_found,
        "f1_50": 2 * hits / max(n_truth + n_found, 1),
        "f1_75": 2 * hits_75 / max(n_truth + n_found, 1),
        "precision": hits / max(n_found, 1),
        "recall": hits / max(n_truth, 1),
        "mean_iou": float(np.mean(ious)) if ious else 0.0,
        "area_ratio": float(np.median(ratios)) if ratios else 0.0,
    }


def links(truth: Iterable[np.ndarray], found: Iterable[np.ndarray], threshold: float = 0.5) -> dict[str, float]:
    """Links of truth (same id in t and t + 1) that `found` keeps, and links of `found` that are true."""
    kept = total = true = claimed = switches = 0
    before = None
    for a, b in zip(truth, found, strict=True):
        to_found = {i: j for i, j, _ in match(a, b, threshold)[0]}
        to_truth = {j: i for i, j in to_found.items()}
        ids = set(np.unique(a).tolist()) - {0}, set(np.unique(b).tolist()) - {0}
        if before is not None:
            old_found, old_truth, old_ids = before
            for i in ids[0] & old_ids[0]:
                total += 1
                if i in to_found and i in old_found:
                    kept += to_found[i] == old_found[i]
                    switches += to_found[i] != old_found[i]
            for j in ids[1] & old_ids[1]:
                claimed += 1
                true += j in to_truth and j in old_truth and to_truth[j] == old_truth[j]
        before = to_found, to_truth, ids
    recall, precision = kept / max(total, 1), true / max(claimed, 1)
    return {
        "links_truth": total,
        "link_recall": recall,
        "link_precision": precision,
        "link_f1": 2 * recall * precision / max(recall + precision, 1e-9),
        "switches": switches,
    }
