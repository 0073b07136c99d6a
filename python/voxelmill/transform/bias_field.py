"""Bias field: a smooth gain that makes the same tissue brighter in one place than in another.

    log image = log tissue + log gain          rounds, until the gain hardly changes:
                                                 1. sharpen: the histogram of what is left, without the blur that a gain
    histogram   _/\\_/\\_   sharpened  _|_|_         gives it, says which value a voxel should have had
                                                 2. fit a stiff spline to what the voxels are off: the gain

N4 (Tustison 2010, doi:10.1109/TMI.2010.2046908) with the sharpening of N3 (Sled 1998, doi:10.1109/42.668698). The spline is
a penalised least-squares fit of a tensor-product cubic B-spline in place of N4's scattered-data approximation: the mask
stays, so its equations are solved once a scale, and a gain is a few hundred numbers that any block evaluates by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import along_axes

PIECES = (1, 2)  # of the spline along the longest axis, from coarse to fine
ROUNDS = 40  # at each scale
SPECKLE = 1.0  # voxels over which values are smoothed, within the mask
STILL = 1e-3  # coefficient of variation of the change of the gain
BINS = 200
BLUR = 0.15  # full width at half maximum that a gain gives a peak, of log values
NOISE = 0.01  # of the Wiener filter
STIFF = 1e-2  # penalty on second differences of coefficients, of the mean weight of one
RIDGE = 1e-6
LEAST = 200  # voxels of tissue that a gain is fitted to


@dataclass(frozen=True)
class Gain:
    """log gain: coefficients (kz, ky, kx) of cubic B-splines over a box from `start` to `stop` (z, y, x), in mm."""

    coefficients: np.ndarray
    start: tuple[float, float, float]
    stop: tuple[float, float, float]

    def log_at(self, positions: Sequence[np.ndarray]) -> np.ndarray:
        """On the grid of these positions along each axis, float32; outside the box as at its side."""
        axes = zip(positions, self.start, self.stop, self.coefficients.shape)
        return along_axes(self.coefficients, [basis(at, a, b, k - 3).astype(np.float32) for at, a, b, k in axes])


def estimate(values: np.ndarray, mask: np.ndarray, scale: Sequence[float], origin: Sequence[float]) -> Gain | None:
    """The gain of an image.

    Args:
        values: (z, y, x), positive where the mask is.
        mask: tissue.
        scale, origin: of its voxels, in mm.
    Returns:
        A gain whose log has mean 0 over the mask; None where there is too little tissue.
    """
    if mask.sum() < LEAST:
        return None
    start = np.array(origin) - np.array(scale) / 2
    stop = start + np.array(scale) * values.shape
    log = np.log(within(values, mask)[mask])
    gain, found = np.zeros_like(log), None
    for pieces in PIECES:
        count = [max(1, round(pieces * side / max(stop - start))) for side in stop - start]
        places = [o + s * np.arange(n) for o, s, n in zip(origin, scale, mask.shape)]
        fit = Fit([basis(at, a, b, k) for at, a, b, k in zip(places, start, stop, count)], mask)
        for _ in range(ROUNDS):
            whole = fit.of(log - sharpened(log - gain))
            now = fit.at(whole)
            ratio = np.exp(now - gain)
            gain = now
            if ratio.std() / ratio.mean() < STILL:
                break
        found = whole
    assert found is not None
    found = found - gain.mean()  # B-splines add up to 1
    z, y, x = (float(v) for v in start)
    c, b, a = (float(v) for v in stop)
    return Gain(found, (z, y, x), (c, b, a))


def within(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Means over SPECKLE voxels of the mask: the log of speckle is no noise around the log of tissue."""
    from scipy.ndimage import gaussian_filter

    there = gaussian_filter(mask.astype(np.float32), SPECKLE)
    return gaussian_filter(np.where(mask, values, 0).astype(np.float32), SPECKLE) / np.maximum(there, 1e-6)


def basis(at: np.ndarray, start: float, stop: float, pieces: int) -> np.ndarray:
    """(points, pieces + 3) uniform cubic B-splines from start to stop."""
    t = (np.clip((at - start) / (stop - start), 0, 1) * pieces)[:, None] - np.arange(-3, pieces) - 2
    d = abs(t)
    return np.where(d < 1, 2 / 3 - d * d + d**3 / 2, (2 - d).clip(0) ** 3 / 6)


class Fit:
    """Least squares of a tensor-product spline over the voxels of a mask, with its equations solved once."""

    def __init__(self, bases: Sequence[np.ndarray], mask: np.ndarray):
        from scipy.linalg import cho_factor

        self.bases, self.mask = [b.astype(np.float32) for b in bases], mask
        self.size = [b.shape[1] for b in bases]
        # Equations on a grid without the matrix of all voxels: products of pairs of splines along each axis.
        pairs = [np.einsum("ni,nj->nij", b, b).reshape(len(b), -1).T.astype(np.float32) for b in bases]
        made = along_axes(mask.astype(np.float32), pairs).astype(float)
        k, m, n = self.size
        made = made.reshape(k, k, m, m, n, n).transpose(0, 2, 4, 1, 3, 5).reshape(k * m * n, -1)
        self.factor = cho_factor(made + made.trace() / len(made) * self.penalty())

    def penalty(self) -> np.ndarray:
        made = RIDGE * np.eye(int(np.prod(self.size)))
        for axis, k in enumerate(self.size):
            second = np.diff(np.eye(k), 2, axis=0)
            parts = [second.T @ second if a == axis else np.eye(n) for a, n in enumerate(self.size)]
            made += STIFF * np.kron(np.kron(parts[0], parts[1]), parts[2])
        return made

    def of(self, values: np.ndarray) -> np.ndarray:
        """Coefficients for values of the voxels of the mask."""
        from scipy.linalg import cho_solve

        held = np.zeros(self.mask.shape, np.float32)
        held[self.mask] = values
        right = along_axes(held, [b.T for b in self.bases]).astype(float)
        return cho_solve(self.factor, right.ravel()).reshape(self.size)

    def at(self, coefficients: np.ndarray) -> np.ndarray:
        """Values at the voxels of the mask."""
        return along_axes(coefficients.astype(np.float32), self.bases)[self.mask]


def sharpened(log: np.ndarray) -> np.ndarray:
    """For each log value the one to be expected without the blur that a gain gives the histogram."""
    low, high = float(log.min()), float(log.max())
    step = (high - low) / (BINS - 1) or 1.0
    place = (log - low) / step
    left = np.minimum(place.astype(int), BINS - 2)
    part = place - left
    histogram = np.bincount(left, 1 - part, BINS) + np.bincount(left + 1, part, BINS)
    size = 4 * BINS  # the histogram has room on both sides
    padded = np.zeros(size)
    first = (size - BINS) // 2
    padded[first : first + BINS] = histogram
    width = BLUR / step
    away = np.minimum(np.arange(size), size - np.arange(size))
    blur = np.exp(-4 * np.log(2) * (away / width) ** 2)
    blur = np.fft.rfft(blur / blur.sum()).real
    sharp = np.fft.irfft(np.fft.rfft(padded) * blur / (blur**2 + NOISE), size).clip(0)
    at = low + (np.arange(size) - first) * step
    above, below = (np.fft.irfft(np.fft.rfft(v) * blur, size) for v in (sharp * at, sharp))
    expected = np.where(below > 1e-9 * below.max(), above / np.where(below > 0, below, 1), at)
    return np.interp(log, at, expected)


def tissue(values: np.ndarray) -> np.ndarray:
    """Where an image shows tissue: brighter than Otsu's threshold, smoothed by a voxel."""
    import cv2
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(values, 1)
    top = float(np.percentile(smooth, 99.9))
    if top <= 0:
        return np.zeros(values.shape, bool)
    grey = (smooth / top * 255).clip(0, 255).astype(np.uint8)
    least, _ = cv2.threshold(grey.reshape(len(grey), -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (grey > least) & (values > 0)
