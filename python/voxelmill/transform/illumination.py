"""The illumination of a tile: one smooth field for all tiles of a slice or a run, from what neighbours show alike.

    tile_i(x) = dark + flat(x) * scene(position_i + x)

Where tiles a and b overlap they show one scene through two parts of the field, so the scene cancels:

    log(a(x) - dark) - log(b(x - d) - dark) = log flat(x) - log flat(x - d),     d = position_b - position_a

log flat is a polynomial, and a polynomial but for its constant is known from such differences alone, however
sparse the scene. Where tiles do not overlap, or show nothing there, the tiles themselves decide, by the brightness
that most of them have: a scene that is the same everywhere on average. Robust least squares throughout.

The estimators of others (BaSiC: Peng et al. 2017) know only the second source, which needs many tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.device import on_host
from ..core.errors import DataError

CELLS = 32  # along the longer side of a tile: what a field is estimated on
DEGREE = 3  # of the polynomial, r^4 apart
R4_MEAN, R4_DEVIATION = 28 / 45, 0.67529  # of r^4 over a tile from -1 to 1
LEAST_SIGNAL = 1e-3  # of the usual brightness: what is darker has no logarithm worth having
PRIOR = 0.5  # of log flat, the coefficient of a power n is about this / n^2: lenses make smooth fields
SPECIMEN = 5.0  # tiles of one specimen are alike by more than chance
ROWS = 64  # of a field that are made at a time: the basis is ten times as large
MOST_PAIRS = 300  # of neighbours that are looked at, evenly from all
ROUNDS = 20  # of robust least squares


@dataclass(frozen=True)
class Field:
    """coefficients of log flat on `powers`; flat has mean 1 over a tile. dark is in the units of the tiles.

    spread   robust standard deviation of the logarithm of what neighbours show, after the correction
    """

    coefficients: np.ndarray
    spread: float
    dark: float

    def flat(self, shape: Sequence[int]) -> np.ndarray:
        """(ny, nx) float32, mean 1."""
        field = np.exp(polynomial(self.coefficients, shape))
        return (field / field.mean()).astype(np.float32)


def correct(tile: np.ndarray, flat: np.ndarray, dark: float, xp: Any = np) -> np.ndarray:
    """(..., ny, nx) float32: as if evenly lit, on the array module `xp`; what was 0 (not acquired) stays 0."""
    seen = xp.asarray(tile)
    lit = (seen.astype(np.float32) - np.float32(dark)) / xp.asarray(flat) + np.float32(dark)
    return on_host(xp.where(seen == 0, np.float32(0), lit), xp)


def estimate(tiles: np.ndarray, positions: np.ndarray | None = None, dark: float = 0.0) -> Field:
    """The field of tiles.

    tiles       (n, gy, gx) float: means over the cells of each tile, see `reduced`; NaN where nothing was acquired
    positions   (n, 2) in cells, y, x; None where tiles do not overlap
    dark        what a pixel reads without light: of the camera, overlaps do not tell it
    Raises DataError where nothing shines.
    """
    tiles = np.asarray(tiles, np.float64)
    usual = float(np.nanmedian(tiles)) if np.isfinite(tiles).any() else 0.0
    if usual <= 0:
        raise DataError(f"illumination: the median of {len(tiles)} tiles is {usual:g}; expected a signal above 0")
    light = tiles - dark
    least = LEAST_SIGNAL * float(np.nanmedian(light))
    return Field(*shared_field(np.log(np.where(light > max(least, 1e-30), light, np.nan)), positions), dark)


def reduced(tile: np.ndarray, cells: int = CELLS) -> np.ndarray:
    """Means (gy, gx) of a tile (ny, nx) over about `cells` x `cells` cells."""
    import cv2

    size = [max(1, round(n * cells / max(tile.shape))) for n in tile.shape]
    return cv2.resize(tile.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)


def centres(n: int) -> np.ndarray:
    """Centres of n pixels, the tile reaching from -1 to 1."""
    return (2 * np.arange(n) + 1) / n - 1


def polynomial(coefficients: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(ny, nx) float64: what `shared_field` found, over a tile; mean 0."""
    ny, nx = shape
    rows = (centres(ny)[first : first + ROWS] for first in range(0, ny, ROWS))
    return np.concatenate([_basis(*np.meshgrid(y, centres(nx), indexing="ij")) @ coefficients for y in rows])


def _powers() -> list[tuple[int, int]]:
    return [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1) if 0 < i + j <= DEGREE]


def _orders() -> np.ndarray:
    """The power of each function of the basis."""
    return np.array([i + j for i, j in _powers()] + [4], float)


def _basis(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Legendre polynomials up to DEGREE but the constant, then r^4; last axis. Mean 0 and variance 1 over a tile each.

    A lens falls off with r: of the fourth powers r^4 alone is needed, and all of them would follow the scene."""
    from numpy.polynomial.legendre import legvander

    by_y, by_x = (legvander(v, DEGREE) * np.sqrt(2 * np.arange(DEGREE + 1) + 1) for v in (y, x))
    radial = ((y**2 + x**2) ** 2 - R4_MEAN) / R4_DEVIATION
    return np.stack([*(by_y[..., i] * by_x[..., j] for i, j in _powers()), radial], -1)


def shared_field(logs: np.ndarray, positions: np.ndarray | None) -> tuple[np.ndarray, float]:
    """What adds to all tiles (n, gy, gx) alike: coefficients of `polynomial`, and the spread of what neighbours show
    after it (nan without neighbours). NaN where nothing is known; positions as for `estimate`.

    Three sources, each weighed by what it is worth: overlaps by their scatter, what tiles have in common by how
    much tiles differ, and that lenses make smooth fields by PRIOR."""
    rows, values = _differences(logs, positions)
    order = _orders()
    left, right = np.diag((order**2 / PRIOR) ** 2), np.zeros(len(order))
    common, variance = _in_common(logs)
    left += np.diag(1 / variance)
    right += common / variance
    c = np.linalg.solve(left, right)
    if len(values) < 4 * len(order):
        return c, float("nan")
    for _ in range(ROUNDS):
        rest = values - rows @ c
        spread = 1.4826 * float(np.median(np.abs(rest)))
        weight = _huber(rest) / max(spread, 1e-6) ** 2
        step = np.linalg.solve(left + (rows * weight[:, None]).T @ rows, right + (rows * weight[:, None]).T @ values) - c
        c = c + step
        if np.abs(step).max() < 1e-6:
            break
    return c, spread


def _in_common(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of what tiles have in common, and their variances, from how much the tiles differ."""
    grid = _basis(*np.meshgrid(*(centres(n) for n in logs.shape[1:]), indexing="ij")).reshape(-1, len(_orders()))
    each = logs.reshape(len(logs), -1)
    each = each[np.isfinite(each).any(1)]  # tiles of nothing have no say
    c, level = np.zeros(grid.shape[1]), np.nanmedian(each, axis=1)
    for n in range(ROUNDS):
        rest = each - level[:, None] - grid @ c
        level = level + np.nanmedian(rest, axis=1)
        rest = each - level[:, None] - grid @ c
        # Objects in a dark field end with no say, the field they lie in with all of it.
        weight = np.where(np.isfinite(rest), _huber(rest) if n < ROUNDS // 2 else _tukey(rest), 0)
        left = (grid * weight.sum(0)[:, None]).T @ grid + 1e-6 * np.eye(len(c))
        c = np.linalg.solve(left, grid.T @ np.nansum(weight * (each - level[:, None]), axis=0))
    alone = np.nan_to_num(weight * (each - level[:, None] - grid @ c)) @ grid / grid.shape[0]
    scatter = 1.4826 * np.median(np.abs(alone), axis=0) if len(each) > 2 else np.full(len(c), 0.3)
    return c, (SPECIMEN * np.maximum(scatter, 1e-3)) ** 2 / max(len(each), 1)


def _huber(rest: np.ndarray) -> np.ndarray:
    """Weights that fall beyond 1.345 robust deviations."""
    known = rest[np.isfinite(rest)]
    scale = 1.345 * 1.4826 * float(np.median(np.abs(known))) if known.size else 1.0
    return np.minimum(1.0, max(scale, 1e-9) / np.maximum(np.abs(rest), 1e-12))


def _tukey(rest: np.ndarray) -> np.ndarray:
    """Weights that fall to 0 at 4.685 robust deviations."""
    scale = 4.685 * 1.4826 * float(np.nanmedian(np.abs(rest)))
    return np.clip(1 - (rest / max(scale, 1e-9)) ** 2, 0, None) ** 2


def _differences(logs: np.ndarray, positions: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(m, k) basis differences and (m,) differences of logarithms, cell by cell of all overlaps."""
    import cv2

    ny, nx = logs.shape[1:]
    rows, values = [np.zeros((0, len(_orders())))], [np.zeros(0)]
    if positions is None:
        return rows[0], values[0]
    scale, y, x = np.array([2 / ny, 2 / nx]), centres(ny), centres(nx)
    beside = (np.abs(positions[None] - positions[:, None]) < (ny - 1, nx - 1)).all(-1)
    pairs = np.argwhere(np.triu(beside, 1))
    for a, b in pairs[:: -(-len(pairs) // MOST_PAIRS)] if len(pairs) else []:
        d = positions[b] - positions[a]
        at_y, at_x = np.meshgrid(np.arange(ny) - d[0], np.arange(nx) - d[1], indexing="ij")
        seen = cv2.remap(
            logs[b].astype(np.float32), at_x.astype(np.float32), at_y.astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan"),
        )  # fmt: skip
        value = logs[a] - seen
        good = np.isfinite(value)
        here = _basis(*np.meshgrid(y, x, indexing="ij"))[good]
        there = _basis(*np.meshgrid(y - d[0] * scale[0], x - d[1] * scale[1], indexing="ij"))[good]
        rows.append(here - there)
        values.append(value[good])
    return np.concatenate(rows), np.concatenate(values)
