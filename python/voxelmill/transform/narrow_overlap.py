"""The offset of two tiles from an overlap that is too narrow for a band-pass: by its slopes.

A band-pass mixes what lies 20 px apart; of an overlap of 16 px it leaves rim. Slopes are local, and blind to shading.

1. Every shift within reach: correlation of slopes over what both strips show at that shift, all looks together
   (gradient correlation, Argyriou and Vlachos 2003; overlaps as Padfield 2012). Of a small overlap much is chance, so
   the shift that stands out most is taken, correlation times the root of the overlap, not the one that correlates best.
2. Gauss-Newton steps there (Lucas and Kanade 1981), to a fraction of a pixel.

Shifts are those of `tile_positions`: what a shows at p, b shows at p - shift; of strips, counted from their corners.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIGMA = 1.0  # px: pixel noise is what is finer
LEAST = 5  # px of overlap, both ways
CHANCE = 6.5  # correlation times root of the px of overlap that the best of many unlike parts stays below
RIM = 2  # px at a strip's rim whose slopes are not its own
STEPS = 8


class Found(NamedTuple):
    """shift (2,) px; correlation of the slopes there; pixels that it rests on, all looks counted."""

    shift: np.ndarray
    correlation: float
    pixels: int


def find(a: np.ndarray, b: np.ndarray, first: np.ndarray, last: np.ndarray) -> Found | None:
    """The shift between strips a and b (looks, y, x), looked for from `first` to `last` (2,), whole px.

    None where no shift stands out."""
    a, b = slopes(a), slopes(b)
    start = _search(a, b, first, last)
    found = None if start is None else _refined(a, b, start)
    if found is None:
        return None
    area = found.pixels / (len(a) // 2)
    return found if found.correlation * area**0.5 >= CHANCE else None


def slopes(looks: np.ndarray) -> np.ndarray:
    """(2 * looks, y, x) float32: the change per px along y, then along x, of each look in its own deviations."""
    import cv2

    smooth = [cv2.GaussianBlur(v.astype(np.float32), (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE) for v in looks]
    out = np.concatenate([np.gradient(smooth, axis=1), np.gradient(smooth, axis=2)])
    out -= out.mean((1, 2), keepdims=True)
    power = (out[: len(looks)] ** 2 + out[len(looks) :] ** 2).mean((1, 2), keepdims=True)
    return out / np.sqrt(np.maximum(np.tile(power, (2, 1, 1)), 1e-12))


def _search(a: np.ndarray, b: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray | None:
    """The whole shift that stands out."""
    import cv2

    size = [cv2.getOptimalDFTSize(m + n) for m, n in zip(a.shape[1:], b.shape[1:])]

    def products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Sums of one(p) * other(p - shift) over looks and p, for all shifts asked for."""
        spectra = (np.fft.rfft2(one, size) * np.conj(np.fft.rfft2(other, size))).sum(0)
        return np.fft.irfft2(spectra, size)[np.ix_(*(np.arange(lo, hi + 1) % n for lo, hi, n in zip(first, last, size)))]

    sides = [
        np.minimum(m, n + k) - np.maximum(0, k)
        for m, n, k in zip(a.shape[1:], b.shape[1:], (np.arange(lo, hi + 1) for lo, hi in zip(first, last)))
    ]
    allowed = (sides[0] >= LEAST)[:, None] & (sides[1] >= LEAST)
    if not allowed.any():
        return None
    power = products((a**2).sum(0)[None], np.ones((1, *b.shape[1:]))) * products(
        np.ones((1, *a.shape[1:])), (b**2).sum(0)[None]
    )
    area = np.outer(*sides)
    score = np.where(allowed, products(a, b) * np.sqrt(np.maximum(area, 1) / np.maximum(power, 1e-6)), 0)
    return first + np.unravel_index(int(score.argmax()), score.shape)


def _refined(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> Found | None:
    """Gauss-Newton steps from `start`, as a predicts b; None where they lead nowhere."""
    by_y, by_x = np.gradient(a, axis=1), np.gradient(a, axis=2)
    shift, step = start.astype(float), np.ones(2)
    for _ in range(STEPS):
        first, last = _window(a, b, shift)
        if (last - first < 2).any():
            return None
        one, other = _cut(a, first, last), _moved(b, shift, first, last)
        along = float((one * other).sum()) / max(float((one * one).sum()), 1e-9)
        if along <= 0.02:
            return None
        moves = np.stack([_cut(v, first, last).ravel() for v in (by_y, by_x)])
        normal = np.einsum("ki,li->kl", moves, moves).astype(float)  # unlike BLAS the same for any threads
        pull = np.einsum("ki,i->k", moves, (other / along - one).ravel()).astype(float)
        step = np.linalg.solve(normal + (1e-6 * np.trace(normal) + 1e-12) * np.eye(2), pull)
        shift = shift + step
        if np.abs(shift - start).max() > 2:
            return None
        if np.abs(step).max() < 0.01:
            break
    return _compared(a, b, shift)


def _compared(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> Found | None:
    """A shift with its correlation."""
    first, last = _window(a, b, shift)
    if (last - first < 2).any():
        return None
    one, other = _cut(a, first, last), _moved(b, shift, first, last)
    power = float((one * one).sum()) * float((other * other).sum())
    correlation = float((one * other).sum()) / power**0.5 if power > 0 else 0.0
    return Found(np.asarray(shift, float), correlation, one.size // 2)


def _window(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a, from corner to corner, that b shows too."""
    first = np.ceil(np.maximum(0, shift)) + RIM
    last = np.floor(np.minimum(a.shape[1:], np.array(b.shape[1:]) + shift)) - RIM
    return first.astype(int), last.astype(int)


def _cut(v: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Between two corners, less the mean of each look: what shading leaves of a slope is even."""
    part = v[:, first[0] : last[0], first[1] : last[1]]
    return part - part.mean((1, 2), keepdims=True)


def _moved(b: np.ndarray, shift: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """b as a would show it, between two corners of a; less its mean."""
    import cv2

    matrix = np.array([[1, 0, first[1] - shift[1]], [0, 1, first[0] - shift[0]]], np.float32)
    size = (int(last[1] - first[1]), int(last[0] - first[0]))
    how = {"flags": cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
    seen = np.stack([cv2.warpAffine(v, matrix, size, **how) for v in b])
    return seen - seen.mean((1, 2), keepdims=True)
