"""Parts of a stack that no pair holds together, as behind a gap: how they lie is told by how far the stage is off elsewhere.

    error of the stage, from slice to slice            Within a part it is known, but for one number.
      o-o                  o                           Errors that are new for each slice: the means of both parts agree.
          o   ?   o-o-o      the same for all          Errors that add up: the ends on either side of the gap do.
    part 0        part 1

Which of these it is, the parts themselves say: x ~ N(mean, s^2 K), K = (1 - walk) [i = j] - walk |n_i - n_j|. Shares `walk`
are weighed by their marginal likelihood (Patterson and Thompson 1971), so that what is not known is averaged over; by
the spread of what is left the parts may lie off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WALKS = np.linspace(0, 1, 11)  # shares of the error that add up from slice to slice
EXACT = 1e-6  # px: the last bits of a solution depend on the number of threads


def parts_of(links: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    """(n,) number of the part of each of n nodes, counted from the first node on."""
    part = np.arange(n)
    for a, b in links:
        old, new = sorted((part[a], part[b]), reverse=True)
        part[part == old] = new
    return np.unique(part, return_inverse=True)[1]


def rejoined(values: np.ndarray, part: np.ndarray, numbers: Sequence[int], usual: float) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, k), right within each part but for a constant, with the constants that are likeliest; and doubts (n,).

    numbers   of the slices, ascending: their distances count
    usual     the error of the stage that is expected where nothing tells, in the unit of the values
    A doubt is the deviation, over all k, of a slice's value against that of the slice before; 0 within a part."""
    n, k = values.shape
    m = int(part.max(initial=0)) + 1
    doubt = np.zeros(n)
    if m < 2:
        return values, doubt
    belongs = np.eye(m)[part]
    reach = np.abs(np.subtract.outer(numbers, numbers)).astype(float)
    free = k * (n - m) + 2
    ones, evidence, found = np.ones(n), [], []
    for walk in WALKS:
        inverse = np.linalg.inv((1 - walk) * np.eye(n) + walk * (reach.max() + 1 - reach))
        inverse -= np.outer(inverse @ ones, ones @ inverse) / inverse.sum()  # of any mean
        normal = belongs.T @ inverse @ belongs + np.ones((m, m)) / m  # constants of mean 0
        spread = np.linalg.inv(normal)
        constants = -spread @ (belongs.T @ inverse @ values)
        left = values + belongs @ constants
        power = float(np.einsum("ik,ij,jk->", left, inverse, left)) + 2 * usual**2
        likely = k * (_log_det(inverse + 1 / n) - np.linalg.slogdet(normal)[1]) / 2 - free / 2 * np.log(power)
        evidence.append(likely)
        found.append((constants, spread * power / free))
    weight = np.exp(np.array(evidence) - max(evidence))
    weight /= weight.sum()
    mean = np.tensordot(weight, np.array([c for c, _ in found]), 1)
    for i in range(1, n):
        a, b = part[i - 1], part[i]
        if a == b:
            continue
        within = sum(w * (s[a, a] + s[b, b] - 2 * s[a, b]) for w, (_, s) in zip(weight, found, strict=True))
        apart = sum(w * (c[b] - c[a] - mean[b] + mean[a]) ** 2 for w, (c, _) in zip(weight, found, strict=True))
        doubt[i] = np.sqrt(k * within + apart.sum())
    return values + np.round((belongs @ mean) / EXACT) * EXACT, doubt


def _log_det(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])
