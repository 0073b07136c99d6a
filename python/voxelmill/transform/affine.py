"""Affine registration of two planes by Gauss-Newton steps on the difference of their grey values, coarse to fine.

Matrices are (2, 3), (y, x): position in `fixed` -> position in `moving`, as in `registration.py`. The method is that of
Lucas and Kanade (1981) with six parameters; the residual is that of the grey values as they are (`MSE`), or of both
brought to mean 0 and deviation 1 over what they share (`CC`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Metric = Literal["MSE", "CC"]
LEVELS = (4, 2, 1)
STILL = 1e-3  # px that the corners move in a step: done
LEAST_SHARED = 0.05  # of the plane


def warped(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], first: tuple[int, int] = (0, 0)) -> np.ndarray:
    """out(p) = image(matrix @ (p + first)), float32, 0 beyond the image; linear."""
    import cv2

    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ first
    swapped = local[::-1][:, [1, 0, 2]]
    return cv2.warpAffine(
        np.ascontiguousarray(image, np.float32), swapped, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def register(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, metric: Metric, most_steps: int) -> np.ndarray:
    """The affine matrix from `start`; 0 is where a plane shows nothing. `most_steps` on each of the levels."""
    matrix = np.array(start, float)
    for step in LEVELS:
        if min(fixed.shape) // step < 16:
            continue
        matrix[:, 2] = _at_level(matrix, step)
        matrix = _refined(_smaller(fixed, step), _smaller(moving, step), matrix, metric, most_steps)
        matrix[:, 2] = _from_level(matrix, step)
    return matrix


def _at_level(matrix: np.ndarray, step: int) -> np.ndarray:
    """The shift on planes whose pixels stand for step x step: centres lie half a pixel further in."""
    half = (step - 1) / 2
    return (matrix[:, 2] + matrix[:, :2] @ (half, half) - half) / step


def _from_level(matrix: np.ndarray, step: int) -> np.ndarray:
    half = (step - 1) / 2
    return matrix[:, 2] * step - matrix[:, :2] @ (half, half) + half


def _smaller(plane: np.ndarray, step: int) -> np.ndarray:
    """Means over step x step; smoothed a little, so that gradients mean something."""
    import cv2

    ny, nx = (n // step * step for n in plane.shape)
    small = plane[:ny, :nx].reshape(ny // step, step, nx // step, step).mean((1, 3)) if step > 1 else plane
    return cv2.GaussianBlur(np.ascontiguousarray(small, np.float32), (0, 0), 1.0)


def _inner(plane: np.ndarray) -> np.ndarray:
    """1 where a plane shows something that smoothing has not mixed with nothing."""
    import cv2

    return cv2.erode((plane > 0).astype(np.float32), np.ones((9, 9)), borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _refined(fixed: np.ndarray, moving: np.ndarray, matrix: np.ndarray, metric: Metric, most_steps: int) -> np.ndarray:
    slopes = np.gradient(moving)
    radius = max(fixed.shape) / 2
    y, x = np.indices(fixed.shape, np.float32)
    base = np.stack([(y - fixed.shape[0] / 2) / radius, (x - fixed.shape[1] / 2) / radius, np.ones_like(y)])
    to_matrix = np.array(
        [[1 / radius, 0, 0], [0, 1 / radius, 0], [-fixed.shape[0] / 2 / radius, -fixed.shape[1] / 2 / radius, 1]]
    )
    whole, inside = _inner(fixed) > 0, _inner(moving)
    for _ in range(most_steps):
        seen = warped(moving, matrix, fixed.shape)
        shared = whole & (warped(inside, matrix, fixed.shape) > 0.999)
        if shared.mean() < LEAST_SHARED:
            return matrix
        f, m = fixed[shared], seen[shared]
        scale = 1.0
        if metric == "CC":
            f, scale = (f - f.mean()) / max(float(f.std()), 1e-9), 1 / max(float(m.std()), 1e-9)
            m = (m - m.mean()) * scale
        gy, gx = (warped(s, matrix, fixed.shape)[shared] * scale for s in slopes)
        basis = base[:, shared]
        rows = np.concatenate([gy * basis, gx * basis]).astype(np.float64)
        normal = rows @ rows.T
        move = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(6), rows @ (f - m).astype(np.float64))
        matrix = matrix + move.reshape(2, 3) @ to_matrix.T
        if np.abs(move).max() < STILL:
            break
    return matrix


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A part of the way: power(m, a) after power(m, b) is power(m, a + b). Raises ValueError for a matrix that mirrors."""
    from scipy.linalg import expm, logm

    if np.linalg.det(matrix[:, :2]) <= 0:
        raise ValueError("a matrix that mirrors has no part of its way")
    whole = np.vstack([matrix, [0, 0, 1]])
    return np.asarray(np.real(expm(exponent * logm(whole))))[:2]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the values of two planes where both show something; 0 where they share next to nothing."""
    shared = (a > 0) & (b > 0)
    if shared.mean() < LEAST_SHARED:
        return 0.0
    one, other = a[shared].astype(np.float64), b[shared].astype(np.float64)
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / size) if size else 0.0


def most_moved(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """px by which a matrix moves the corner of a plane that it moves most."""
    corners = np.array([(y, x, 1) for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)], float)
    return float(np.linalg.norm(corners @ matrix.T - corners[:, :2], axis=1).max())
