"""Tiles of a regular grid: where they lie by the stage, by one displacement model, and by what neighbours share.

The model (Lefebvre et al. 2017): a step of the stage along one axis moves a tile by one column of a 2 x 2 matrix,

    position of tile (mx, my) = matrix @ (mx, my)          matrix = | (1 - Ox) n1 cos(theta)   -(1 - Oy) n2 sin(phi) |
                                                                    | (1 - Ox) n1 sin(theta)    (1 - Oy) n2 cos(phi) |

      +-------------+                                      n1, n2   size of a tile along dim 1 and dim 2, px
      | (0,0)   +---|---------+                            Ox, Oy   parts of it that neighbours share
      |         |   |  (0,1)  |   dim 2 ->                 theta, phi   turns of the stage's axes against the image's
    +-|---------|-+ |         |
    | +---------|---+         |   dim 1 down
    |  (1,0)    +-|-----------+
    +-------------+
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .tile_grid import TileGrid
from .tile_positions import Placement, Seam, judged, measure, neighbours, solve

LOOKS = 8  # bands of depth that are registered, each for itself
MARGIN = 4  # px that are searched beyond what may be found, so that what lies at the bound is seen to
FAR = 0.1  # of a tile that is searched where the stage does not bind
ROUNDS = 10  # of robust means


def by_overlap(grid: TileGrid, overlap: float) -> np.ndarray:
    """The displacement model of a stage whose tiles share a part of `overlap`."""
    return np.diag(grid.tile[1:]) * (1 - overlap)


def positions(grid: TileGrid, matrix: np.ndarray) -> np.ndarray:
    """(n, 2) px."""
    return grid.places @ matrix.T


def looks(tile: np.ndarray, n: int = LOOKS) -> np.ndarray:
    """(n, ny, nx): means over bands of depth. What one band lacks (vessels, layers, light) another one shows."""
    ends = np.linspace(0, len(tile), min(n, len(tile)) + 1).round().astype(int)
    return np.stack([tile[a:b].mean(0) for a, b in pairwise(ends.tolist())])


def seams(grid: TileGrid, nominal: np.ndarray, reach: int, bands: int = LOOKS) -> list[Seam]:
    """The seams of all neighbours, each tile read once."""
    pairs = neighbours(nominal, grid.shapes, reach)
    found = measure(lambda i: looks(grid.read(i), bands), nominal, grid.shapes, pairs, reach)
    return sorted(found, key=lambda s: (s.a, s.b))


def place(
    grid: TileGrid, matrix: np.ndarray, most: float, by_motor: bool = True, bands: int = LOOKS
) -> tuple[Placement, np.ndarray]:
    """Positions of the tiles, and the displacement model that they are near to.

    matrix    where the tiles lie by the stage
    most      px by which a tile may lie otherwise than the model says, two neighbours by twice that; 0: all as it says
    by_motor  False: the model is what all seams together say, the stage only tells where to look
    bands     of depth that are registered, each for itself
    """
    nominal = positions(grid, matrix)
    reach = int(np.ceil(2 * most)) + MARGIN if by_motor else round(FAR * max(grid.tile[1:]))
    found = seams(grid, nominal, reach, bands)
    if not by_motor:
        matrix = fitted(found, grid, matrix)
        found = [replace(s, offset=expected(s, grid, matrix)) if s.weight == 0 else s for s in found]
        nominal = positions(grid, matrix)
    if most <= 0:
        return judged(found, nominal), matrix
    near = [s if _off(s, nominal) <= 2 * most else replace(s, weight=0.0) for s in found]
    beyond = sum(s.weight > 0 and _off(s, nominal) > 2 * most for s in found)
    return replace(solve(near, nominal, grid.shapes), beyond=beyond), matrix


def _off(s: Seam, nominal: np.ndarray) -> float:
    return float(np.hypot(*(s.offset - (nominal[s.b] - nominal[s.a]))))


def expected(s: Seam, grid: TileGrid, matrix: np.ndarray) -> np.ndarray:
    """The offset of a seam by the model."""
    return matrix @ (grid.places[s.b] - grid.places[s.a])


def fitted(found: Iterable[Seam], grid: TileGrid, otherwise: np.ndarray) -> np.ndarray:
    """The displacement model that seams of a grid say; where none does, as it is `otherwise`."""
    return model_of([(s, grid.places[s.b] - grid.places[s.a]) for s in found if s.weight > 0], otherwise)


def model_of(sure: Iterable[tuple[Seam, np.ndarray]], otherwise: np.ndarray) -> np.ndarray:
    """The displacement model (2, 2) that seams say, each with the steps (mx, my) between its tiles."""
    sure = list(sure)
    columns = [robust_mean([s for s, d in sure if (d == e).all()], c) for e, c in zip(np.eye(2), otherwise.T)]
    return np.stack(columns, 1)


def robust_mean(found: list[Seam], otherwise: np.ndarray) -> np.ndarray:
    """The mean offset (2,) of seams, by their weight; those far from the most lose it (Huber 1964)."""
    if not found:
        return otherwise
    offsets, base = np.array([s.offset for s in found]), np.array([s.weight for s in found])
    mean = np.median(offsets, axis=0)
    for _ in range(ROUNDS):
        off = np.hypot(*(offsets - mean).T)
        limit = max(1.345 * 1.4826 * float(np.median(off)), 1e-3)
        weight = base * np.minimum(1, limit / np.maximum(off, 1e-12))
        mean = (offsets * weight[:, None]).sum(0) / weight.sum()
    return mean


def described(matrix: np.ndarray, grid: TileGrid) -> dict[str, float]:
    """The model in the words of the field."""
    (ax, bx), (ay, by) = matrix
    n1, n2 = grid.tile[1:]
    return {
        "theta_deg": float(np.degrees(np.arctan2(ay, ax))),
        "phi_deg": float(np.degrees(np.arctan2(-bx, by))),
        "overlap_x": float(1 - np.hypot(ax, ay) / n1),
        "overlap_y": float(1 - np.hypot(bx, by) / n2),
    }
