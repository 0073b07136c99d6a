"""Things with pairwise offsets, solved together: sections of a stack, tiles of a mosaic, slices of a block.

A link (i, j) says that x[j] - x[i] = d. The values x that satisfy all links in the least squares sense are
found at once, so that no error adds up along a chain; links that contradict the rest lose weight (Huber 1964).
What no link ties to the rest is tied to it by a link of difference 0 along one of the `ties` offered.

      0 --- 1 --- 2          links 0-1, 1-2, 0-3, 1-4, 3-4 hold each other;
      |     |     .          5 has none, and is held by a tie, to 2 or to 4, whichever is offered first.
      3 --- 4 ... 5
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

HUBER = 3.0  # residuals beyond this many robust deviations lose weight
BAND = 8  # links that reach no farther are solved row by row, others as a sparse system
TIE = 1.0  # weight of a tie: nothing pulls against it
SOFT = 1e-3  # weight of a soft link
FIRM = 3.0  # times the weight of soft links while right is told from wrong
NARROW = 1.15  # the bound between them, from round to round

Ends = Sequence[tuple[int, int]]


def median(values: Sequence[float] | np.ndarray) -> float:
    """As numpy's own, which at its first call loads what costs as much as placing a tile or two."""
    found = np.sort(np.asarray(values, float))
    return float(found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2


class Offsets:
    """Least squares for the values at nodes from differences along links.

    links    pairs (i, j) of node numbers
    weight   one number a link, above 0
    nodes    numbers of the nodes to solve for, ascending; every link lies among them
    ties     pairs (i, j), the best first, by which parts that no link connects may be held together
    n        nodes in all; those not solved for get 0
    soft     pairs that are expected to differ by 0: they decide where two links contradict each other and no third
             says which is right (at the corner of a mosaic); else they pull by next to nothing, however far off
    """

    def __init__(
        self,
        links: Ends,
        weight: Sequence[float],
        nodes: np.ndarray,
        ties: Iterable[tuple[int, int]],
        n: int,
        soft: Ends = (),
    ):
        self.n, self.nodes, self.measured = n, nodes, len(links)
        self.ties = _spanning(links, nodes, ties)
        ends = [*links, *self.ties, *soft]
        self.soft = len(ends) - len(soft)  # the first of them
        place = np.zeros(n, int)
        place[nodes] = np.arange(len(nodes))
        self.i = place[np.array([i for i, _ in ends], int)]
        self.j = place[np.array([j for _, j in ends], int)]
        self.weight = np.array([*weight, *[TIE] * len(self.ties), *[SOFT] * len(soft)], float)

    def solve(self, differences: np.ndarray, floor: float | None = None) -> np.ndarray:
        """(n, k) values of mean 0 over the nodes, from (links, k) differences.

        With `floor` (the least deviation held to be an error) links that contradict the rest lose weight,
        here and in later solutions. Right where most links are; see `solve_despite` for gross errors.
        """
        rhs = self._all(differences)
        base = self.weight
        x = self._least_squares(rhs)
        for _ in range(3 if floor is not None and self.measured else 0):
            off = self._missed(x, rhs)
            limit = HUBER * max(1.4826 * median(off[: self.measured]), floor or 0.0)
            weight = base * np.minimum(1, limit / np.maximum(off, 1e-12))
            if (weight == self.weight).all():
                break
            self.weight = weight
            x = self._least_squares(rhs)
        return self._centred(x)

    def solve_despite(self, differences: np.ndarray, least: float, most: float) -> np.ndarray:
        """As `solve`, where some links may be grossly wrong: those end with no weight, here and in later solutions.

        least, most   what a right link may miss the solution by, between these as much as links do at first: links
                      that all contradict each other a little (bent tiles) share it, none of them is wrong
        Graduated non-convexity with the loss of Geman and McClure (Yang, Antonante, Tzoumas and Carlone 2020): every
        link counts at first, then the bound between right and wrong narrows down to that.
        """
        rhs, base = self._all(differences), self.weight
        even = np.where(np.arange(len(base)) < self.measured, 1.0, base * FIRM)  # precise is not the same as right
        self.weight = even
        x = self._least_squares(rhs)
        off = self._missed(x, rhs)[: self.measured]
        error = float(np.clip(1.5 * median(off), least, most)) if len(off) else least
        wide = max(float(off.max(initial=0.0)) / error, 1.0)
        while self.measured:
            bound = (error * wide) ** 2
            kept = (bound / (self._missed(x, rhs) ** 2 + bound)) ** 2
            kept[self.soft :] = 1 / np.maximum(np.linalg.norm((x[self.j] - x[self.i])[self.soft :], axis=1), 1.0)
            self.weight = (base if wide == 1.0 else even) * kept
            x = self._least_squares(rhs)
            if wide == 1.0:
                break
            wide = max(wide / NARROW, 1.0)
        return self._centred(x)

    def _all(self, differences: np.ndarray) -> np.ndarray:
        """Differences along all that is solved for: those measured, and 0."""
        return np.vstack([differences, np.zeros((len(self.i) - self.measured, differences.shape[1]))])

    def _missed(self, x: np.ndarray, rhs: np.ndarray) -> np.ndarray:
        """By how much each link is missed; 0 for what is no measurement."""
        off = np.linalg.norm(x[self.j] - x[self.i] - rhs, axis=1)
        off[self.measured :] = 0
        return off

    def _centred(self, x: np.ndarray) -> np.ndarray:
        out = np.zeros((self.n, x.shape[1]))
        out[self.nodes] = x - x.mean(0) if len(x) else x
        return out

    def _least_squares(self, rhs: np.ndarray) -> np.ndarray:
        k, w = len(self.nodes), self.weight
        if k < 2:
            return np.zeros((k, rhs.shape[1]))
        right = np.zeros((k, rhs.shape[1]))
        np.add.at(right, self.j, rhs * w[:, None])
        np.add.at(right, self.i, -rhs * w[:, None])
        first = float(w.sum())  # holds the first node, which leaves all differences as they are
        width = int(np.abs(self.j - self.i).max(initial=1))
        if width > BAND:
            return self._sparse(right, first)
        bands, diagonal = np.zeros((k, width + 1)), np.concatenate([self.i, self.j])
        np.add.at(bands[:, 0], diagonal, np.concatenate([w, w]))
        np.add.at(bands, (np.maximum(self.i, self.j), np.abs(self.j - self.i)), -w)
        bands[0, 0] += first
        return solve_banded(bands, right)

    def _sparse(self, right: np.ndarray, first: float) -> np.ndarray:
        from scipy.sparse import coo_array
        from scipy.sparse.linalg import splu

        k, w, i, j = len(self.nodes), self.weight, self.i, self.j
        rows, columns = np.concatenate([i, j, i, j, [0]]), np.concatenate([i, j, j, i, [0]])
        normal = coo_array((np.concatenate([w, w, -w, -w, [first]]), (rows, columns)), (k, k)).tocsc()
        return splu(normal, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)


def solve_banded(bands: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x of A x = right (n, k), A positive definite with A[i, i - d] in bands[i, d]: Cholesky, row by row.

    Written out because LAPACK's last bits depend on the number of threads; bands are a few wide.
    """
    n, width = bands.shape
    low = bands.tolist()
    # Rows of two numbers as complex ones: the same arithmetic, and plain numbers are quicker than arrays.
    x = list(right) if right.shape[1] > 2 else (right[:, 0] + 1j * right[:, -1]).tolist()
    for i in range(n):
        for j in range(max(0, i - width + 1), i + 1):
            first = max(0, i - width + 1)
            s = low[i][i - j] - sum(low[i][i - m] * low[j][j - m] for m in range(first, j))
            low[i][i - j] = s**0.5 if i == j else s / low[j][0]
        for j in range(max(0, i - width + 1), i):
            x[i] = x[i] - low[i][i - j] * x[j]
        x[i] = x[i] / low[i][0]
    for i in reversed(range(n)):
        for j in range(i + 1, min(n, i + width)):
            x[i] = x[i] - low[j][j - i] * x[j]
        x[i] = x[i] / low[i][0]
    out = np.array(x)
    return out if right.shape[1] > 2 else np.stack([out.real, out.imag], 1)[:, : right.shape[1]]


def _spanning(links: Ends, nodes: np.ndarray, ties: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first ties that connect what links leave apart (Kruskal 1956)."""
    root = {int(z): int(z) for z in nodes}

    def find(z: int) -> int:
        while root[z] != z:
            root[z] = z = root[root[z]]
        return z

    def join(i: int, j: int) -> bool:
        a, b = sorted((find(i), find(j)))
        root[b] = a
        return a != b

    for i, j in links:
        join(i, j)
    return [(i, j) for i, j in ties if join(i, j)]
