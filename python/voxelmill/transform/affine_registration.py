"""Registration of volumes by a rigid or affine transform, from coarse to fine.

    y = A (x - c) + c + t       x: point of fixed, y: of moving, c: middle of fixed; axes z, y, x, mm

A few ten thousand points of fixed, a little beside a lattice so that no grid shows, are compared with what moving has at y.
Each metric gives its value and, for every point, its slope in the moving value; the rest is the chain rule, and L-BFGS.
MI: Mattes 2003, doi:10.1109/TMI.2003.809072. AntsCC: correlation in windows, Avants 2008, doi:10.1016/j.media.2007.06.004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["rigid", "affine"]
Metric = Literal["MI", "MSE", "CC", "AntsCC"]
SHRINKS = (8, 4, 2, 1)  # voxels of the level that one is smoothed over
SMALLEST = 12  # voxels along the shortest side that a shrunk volume has
POINTS = 60_000
BINS = 50
RADIUS = 3  # points of the lattice: windows of AntsCC
TURN = 20.0  # degrees: further starts


@dataclass(frozen=True)
class Scan:
    """Grey values (z, y, x), with voxel size and place of voxel 0 in mm along the same axes."""

    values: np.ndarray
    scale: np.ndarray
    origin: np.ndarray

    def middle(self) -> np.ndarray:
        """Centre of mass of what is bright."""
        top = float(np.percentile(self.values, 99.5))
        mass = np.clip(self.values, 0, top)
        total = float(mass.sum()) or 1.0
        sums = [mass.sum(tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        return self.origin + self.scale * [float((s * np.arange(len(s))).sum()) / total for s in sums]


@dataclass(frozen=True)
class Affine:
    """x -> matrix @ x + shift."""

    matrix: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return points @ self.matrix.T + self.shift


def register(
    fixed: Scan, moving: Scan, *, metric: Metric = "MI", kind: Kind = "affine", start: np.ndarray | None = None,
    rounds: int = 1000, seed: int = 7,
) -> tuple[Affine, float]:  # fmt: skip
    """From points of fixed to points of moving, and the metric there.

    Args:
        start: (3, 3) first guess of the matrix; without one, turns to either side are tried, too.
        rounds: of the optimiser, on each scale.
    """
    centre, target = fixed.middle(), moving.middle()
    radius = float(np.linalg.norm(fixed.scale * fixed.values.shape)) / 4
    model = Model(centre, radius)
    guesses = [start] if start is not None else turns()
    shrinks = [k for k in SHRINKS if min(min(fixed.values.shape), min(moving.values.shape)) >= SMALLEST * k] or [1]
    found: tuple[np.ndarray, np.ndarray] | None = None
    for shrink in shrinks:
        scale = Comparison(fixed, moving, metric, shrink, seed)
        if found is None:
            tried = [model.fit(scale, "rigid", guess, target - centre, min(rounds, 40)) for guess in guesses]
            found = min(tried, key=lambda one: one[2])[:2]
        for step in ("rigid", "affine") if kind == "affine" and shrink == shrinks[0] else (kind,):
            *found, value = model.fit(scale, step, *found, rounds)  # type: ignore[misc,assignment]
    assert found is not None
    return model.affine(*found), value


def turns() -> list[np.ndarray]:
    """None, and TURN to either side about each axis."""
    from scipy.spatial.transform import Rotation

    vectors = [np.zeros(3), *(sign * np.deg2rad(TURN) * np.eye(3)[axis] for axis in range(3) for sign in (1, -1))]
    return [Rotation.from_rotvec(vector).as_matrix() for vector in vectors]


@dataclass(frozen=True)
class Model:
    """The transforms that are looked for. Parameters are in mm: a turn counts by how far it moves the outside."""

    centre: np.ndarray
    radius: float

    def affine(self, matrix: np.ndarray, shift: np.ndarray) -> Affine:
        return Affine(matrix, self.centre + shift - matrix @ self.centre)

    def fit(
        self, scale: Comparison, kind: str, matrix: np.ndarray, shift: np.ndarray, rounds: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """The best transform from here: matrix, shift of the centre, value of the metric."""
        from scipy.optimize import minimize

        def at(p: np.ndarray) -> np.ndarray:
            return (
                rotation(p[:3] / self.radius) if kind == "rigid" else np.eye(3) + p[:9].reshape(3, 3) / self.radius
            ) @ matrix

        def cost(p: np.ndarray) -> tuple[float, np.ndarray]:
            value, of_matrix, of_shift = scale.value(at(p), shift + p[-3:], self.centre)
            if kind == "rigid":
                step = 1e-4 * self.radius
                slopes = [(at(p + step * e) - at(p - step * e)) / (2 * step) for e in np.eye(6)[:3]]
                inner = np.array([(of_matrix * slope).sum() for slope in slopes])
            else:
                inner = (of_matrix @ matrix.T).ravel() / self.radius
            return value, np.concatenate([inner, of_shift])

        count = 6 if kind == "rigid" else 12
        done = minimize(cost, np.zeros(count), jac=True, method="L-BFGS-B", options={"maxiter": rounds, "ftol": 1e-9})
        return at(done.x), shift + done.x[-3:], float(done.fun)


def rotation(vector: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vector).as_matrix()


class Comparison:
    """Points of fixed with their values, and moving with its slopes, both smoothed over `shrink` voxels."""

    def __init__(self, fixed: Scan, moving: Scan, metric: Metric, shrink: int, seed: int):
        self.metric = METRICS[metric]
        f, m = smoothed(fixed, shrink), smoothed(moving, shrink)
        size = np.array(f.values.shape)
        pitch = max(1.0, (float(size.prod()) / POINTS) ** (1 / 3))
        grid = np.stack(np.meshgrid(*(np.arange(0, n - 1e-9, pitch) for n in size), indexing="ij"), -1)
        self.lattice = grid.shape[:3]
        if metric != "AntsCC":
            grid = grid + np.random.default_rng(seed).uniform(-0.5, 0.5, grid.shape) * pitch
        places = grid.reshape(-1, 3).clip(0, size - 1)
        self.points = f.origin + places * f.scale
        self.fixed = sampled(f.values, places)
        self.moving = m
        self.slopes = [np.gradient(m.values, axis=axis) / m.scale[axis] for axis in range(3)]

    def value(self, matrix: np.ndarray, shift: np.ndarray, centre: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The metric, and its slopes in matrix and shift."""
        away = self.points - centre
        places = (away @ matrix.T + centre + shift - self.moving.origin) / self.moving.scale
        values = sampled(self.moving.values, places)
        cost, each = self.metric(self.fixed, values, self.lattice)
        force = np.stack([sampled(slope, places) for slope in self.slopes], 1) * each[:, None]
        return cost, force.T @ away, force.sum(0)


def smoothed(scan: Scan, shrink: int) -> Scan:
    """Means over `shrink` voxels, a little smoothed: values from 0 to about 1."""
    from scipy.ndimage import gaussian_filter

    from .resampling import along_axes, cells, means

    values = scan.values
    if shrink > 1:
        matrices = []
        for n in values.shape:
            _, matrix = means(n, slice(0, cells(n, shrink)), shrink)
            matrices.append(matrix)
        values = along_axes(values, matrices)
    values = gaussian_filter(values.astype(np.float32), 0.7)
    top = float(np.percentile(values, 99.5)) or 1.0
    return Scan(np.clip(values / top, 0, 1.2), scan.scale * shrink, scan.origin + scan.scale * (shrink - 1) / 2)


def sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear between voxels; 0 outside."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(values, places.T, order=1, mode="grid-constant", output=np.float64)


def squares(f: np.ndarray, m: np.ndarray, lattice: Sequence[int]) -> tuple[float, np.ndarray]:
    """Mean squared difference, both with a standard deviation of 1 in fixed."""
    spread = f.std() or 1.0
    off = (m - f) / spread
    return float((off**2).mean()), 2 * off / spread / len(f)


def correlation(f: np.ndarray, m: np.ndarray, lattice: Sequence[int]) -> tuple[float, np.ndarray]:
    """1 - correlation."""
    a, b = f - f.mean(), m - m.mean()
    a /= np.linalg.norm(a) or 1.0
    length = float(np.linalg.norm(b)) or 1.0
    r = float(a @ b) / length
    return 1 - r, -(a - r * b / length) / length


def windows(f: np.ndarray, m: np.ndarray, lattice: Sequence[int]) -> tuple[float, np.ndarray]:
    """1 - mean squared correlation in windows of the lattice."""
    from scipy.ndimage import uniform_filter

    def mean(v: np.ndarray) -> np.ndarray:
        return uniform_filter(v, 2 * RADIUS + 1, mode="constant")

    a, b = f.reshape(lattice), m.reshape(lattice)
    one = mean(np.ones(lattice))
    fm, mm = mean(a) / one, mean(b) / one
    sff, smm, sfm = mean(a * a) / one - fm**2, mean(b * b) / one - mm**2, mean(a * b) / one - fm * mm
    seen = (sff > 1e-5) & (smm > 1e-5)
    sff, smm = np.where(seen, sff, 1), np.where(seen, smm, 1)
    cc = np.where(seen, sfm**2 / (sff * smm), 0)
    p = np.where(seen, 2 * sfm / (sff * smm), 0) / one
    q = p * sfm / smm
    slope = a * mean(p) - mean(p * fm) - b * mean(q) + mean(q * mm)
    return 1 - float(cc.mean()), -slope.ravel() / cc.size


def information(f: np.ndarray, m: np.ndarray, lattice: Sequence[int]) -> tuple[float, np.ndarray]:
    """- mutual information; the moving side of the joint histogram is spread by cubic B-splines."""
    inner = BINS - 4
    row = np.clip(f / 1.2 * (BINS - 1), 0, BINS - 1).round().astype(int)
    u = np.clip(m / 1.2, 0, 1) * inner + 2
    first = np.minimum(u.astype(int) - 1, BINS - 4)
    joint, parts = np.zeros(BINS * BINS), []
    for k in range(4):
        t = u - (first + k)
        d = abs(t)
        weight = np.where(d < 1, 2 / 3 - d * d + d**3 / 2, (2 - d).clip(0) ** 3 / 6)
        slope = np.where(d < 1, -2 * t + 1.5 * t * d, -0.5 * np.sign(t) * (2 - d).clip(0) ** 2)
        cell = row * BINS + first + k
        joint += np.bincount(cell, weight, BINS * BINS)
        parts.append((cell, slope))
    p = joint.reshape(BINS, BINS) / len(f)
    pf, pm = p.sum(1, keepdims=True), p.sum(0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(p > 1e-12, np.log(p / (pf * pm)), 0.0)
        each = np.where(p > 1e-12, np.log(p / pm), 0.0).ravel()
    inside = (m > 0) & (m < 1.2)
    total = sum(each[cell] * slope for cell, slope in parts)
    return -float((p * gain).sum()), np.where(inside, -total * inner / 1.2 / len(f), 0.0)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, Sequence[int]], tuple[float, np.ndarray]]] = {
    "MI": information, "MSE": squares, "CC": correlation, "AntsCC": windows,
}  # fmt: skip
