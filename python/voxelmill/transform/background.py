"""Fluorescence background of each frame: tiled interpolation.

    1. foreground = labels > 0, dilated by a disk;
    2. overlapping tiles: a robust level of the background pixels of each;
    3. a smooth surface through the levels, by weighted least squares;
    4. frames without background take the surface of their neighbours in time.

Steps 1 and 2 follow the seed's tiled interpolation. Step 3 replaces its interpolating spline by a penalised
tensor-product cubic B-spline (P-spline; Eilers and Marx 1996, doi:10.1214/ss/1038425655; the weighted normal
equations on a grid after Currie, Durban and Eilers 2006): the knots reach the image border, so nothing is
clamped outside the outermost tile centres; a tile without background has weight 0, and the penalty carries
the surface over it; any image size has enough knots. A tile that cells without a label have brightened is
given less weight by Tukey's bisquare.

A frame is reduced to a few dozen spline coefficients, so a movie is fitted frame by frame in flat memory,
gaps are filled in the coefficients, and a full surface is only made when it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError

SAMPLES = 12  # samples a half tile and axis: 576 a tile, whatever its size
MOST_PIECES = 24  # of the spline along an axis: bounds the equations of a very large frame
# on differences of the coefficients, against tile weights of mean 1: third (vignettes are close to parabolas,
# which
# cost nothing), second (far from any background a plane), first (makes two tiles, or one, a solvable problem)
PENALTIES = {3: 1e-2, 2: 1e-5, 1: 1e-7}
ROUNDS = 3  # fits, each with the tile levels and weights that the one before suggests
CLIP = 3.5  # standard deviations


@dataclass(frozen=True, slots=True)
class BackgroundOptions:
    """How the background is estimated.

    tile_size: side of a tile in px; tiles overlap by half (seed: 50-100).
    dilation_radius: radius of the disk by which labels are dilated, px (seed: 10).
    min_background: part of a tile that has to be background for the tile to count, 0-1.
    knot_spacing: distance between knots of the surface, in tiles; larger is smoother.
    """

    tile_size: int = 64
    dilation_radius: int = 10
    min_background: float = 0.05
    knot_spacing: float = 1.5

    def __post_init__(self) -> None:
        for name, low, high in (
            ("tile_size", 8, 4096),
            ("dilation_radius", 0, 200),
            ("min_background", 0.0, 1.0),
            ("knot_spacing", 0.5, 64.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParameterError(f"background: {name} = {value}, expected {low} to {high}; change --{name}")


@dataclass(frozen=True, slots=True)
class Fit:
    """The background of one frame, reduced.

    coefficients: float64 (ky, kx) of the spline basis. Without any background in the frame they are all its
        1st percentile, a constant surface.
    background_fraction: part of the sampled pixels that are background, 0-1.
    tiles, tiles_used: tiles in the frame, and those with enough background.
    """

    coefficients: NDArray[np.float64]
    background_fraction: float
    tiles: int
    tiles_used: int


def estimate_movie(
    read: Callable[[int], tuple[NDArray, NDArray]],
    n_frames: int,
    shape: tuple[int, int],
    options: BackgroundOptions = BackgroundOptions(),
) -> tuple[Callable[[int], NDArray[np.float32]], dict[str, Any]]:
    """Fit every frame of a movie, one frame in memory at a time.

    Args:
        read: `read(t)` gives the frame (y, x) in counts and its labels (y, x), 0 = background.
        n_frames: T.
        shape: (height, width).

    Returns:
        `surface(t)`, the background (y, x) float32 in counts of frame t, and a report: `frames_borrowed`
        (their background comes from neighbours in time), `frames_guessed` (no frame has any: 1st percentile
        of the frame), `background_fraction` (mean).

    Raises:
        DataError: a frame is not finite, or its shape differs.
    """
    fits = []
    for t in range(n_frames):
        image, labels = read(t)
        if image.shape != shape:
            raise DataError(f"background: frame {t} is {image.shape}, the movie {shape}; frames must be of equal size")
        fits.append(fit_frame(image, labels, options))
    coefficients, report = fill_gaps(fits)

    return lambda t: evaluate(coefficients[t], shape, options), report


def estimate_frame(image: NDArray, labels: NDArray, options: BackgroundOptions = BackgroundOptions()) -> NDArray[np.float32]:
    """The background of one frame on its own.

    Args:
        image: (y, x) counts.
        labels: (y, x) integers or bool, 0 = background.

    Returns:
        (y, x) float32, counts, never NaN. A frame without background gets its 1st percentile everywhere.
    """
    return estimate_movie(lambda t: (image, labels), 1, image.shape, options)[0](0)


def fit_frame(image: NDArray, labels: NDArray, options: BackgroundOptions = BackgroundOptions()) -> Fit:
    """Tile levels and the surface through them.

    Args:
        image: (y, x) counts, finite.
        labels: (y, x) integers or bool, 0 = background.

    Raises:
        DataError: the shapes differ, an axis is empty, or a value is not finite.
    """
    if image.ndim != 2 or image.shape != labels.shape or 0 in image.shape:
        raise DataError(
            f"background: image {image.shape} and labels {labels.shape}, expected two equal non-empty shapes (y, x)"
        )
    sample, inside = _samples(image, labels, options)
    if sample.dtype.kind == "f" and not np.isfinite(sample).all():
        raise DataError("background: the frame holds NaN or infinite values; mask or replace them first")
    count = _tile_sums(inside)
    area = (2 * SAMPLES) ** 2
    used = count >= max(1, options.min_background * area)
    fraction = float(inside.mean())
    if used.any():
        coefficients = _fit_surface(sample, inside, np.where(used, count, 0), image.shape, options)
    else:
        size = [_basis(n, options, "tiles").shape[1] for n in image.shape]
        coefficients = np.full(size, np.percentile(sample, 1), np.float64)
    return Fit(coefficients, fraction, used.size, int(np.count_nonzero(used)))


def fill_gaps(fits: Sequence[Fit]) -> tuple[list[NDArray[np.float64]], dict[str, Any]]:
    """Coefficients (ky, kx) for every frame, and the report described at `estimate_movie`.

    A frame without background gets what is linear in time between the nearest frames that have some, beyond
    the first and the last of those their own. If no frame has any, each keeps its 1st percentile.
    """
    good = [t for t, fit in enumerate(fits) if fit.tiles_used]
    missing = [t for t, fit in enumerate(fits) if not fit.tiles_used]
    fraction = np.mean([fit.background_fraction for fit in fits]) if fits else 0.0
    report = {
        "frames_borrowed": missing if good else [],
        "frames_guessed": [] if good else missing,
        "background_fraction": float(fraction),
    }
    filled = [fit.coefficients for fit in fits]
    for t in missing if good else ():
        k = int(np.searchsorted(good, t))
        before, after = good[max(k - 1, 0)], good[min(k, len(good) - 1)]
        part = 0.0 if k in (0, len(good)) else (t - before) / (after - before)
        filled[t] = (1 - part) * fits[before].coefficients + part * fits[after].coefficients
    return filled, report


def evaluate(
    coefficients: NDArray[np.float64], shape: tuple[int, int], options: BackgroundOptions = BackgroundOptions()
) -> NDArray[np.float32]:
    """The surface (y, x) float32 of `coefficients` (ky, kx), on every pixel of a frame of `shape`."""
    by, bx = (_basis(n, options, "pixels") for n in shape)
    return by @ (coefficients @ bx.T.astype(np.float64)).astype(np.float32)


def _half_tiles(n: int, options: BackgroundOptions) -> int:
    """How many half tiles an axis of n pixels is cut into: at least 8, so that a small image has 7 tiles."""
    return max(2 * -(-n // options.tile_size), 8)


@lru_cache(maxsize=16)
def _sample_positions(n: int, half_tiles: int) -> NDArray[np.intp]:
    """Pixel indices, `SAMPLES` evenly spread over each of the half tiles."""
    k = half_tiles * SAMPLES
    return ((np.arange(k) + 0.5) * n / k).astype(np.intp)


@lru_cache(maxsize=32)
def _basis(n: int, options: BackgroundOptions, where: str) -> NDArray:
    """Cubic B-splines (points, k) along an axis of n pixels, at its "tiles", "samples" or "pixels"."""
    half = _half_tiles(n, options)
    pieces = int(np.clip(round(half / 2 / options.knot_spacing), 1, MOST_PIECES))
    at = {
        "tiles": lambda: np.arange(1, half) / half,
        "samples": lambda: (_sample_positions(n, half) + 0.5) / n,
        "pixels": lambda: (np.arange(n) + 0.5) / n,
    }[where]()
    # of even knots each spline is the same bump, two pieces wide on either side (scipy takes half a second to import)
    u = np.abs(at[:, None] * pieces - np.arange(-1, pieces + 2))
    basis = np.where(u < 1, 4 - 6 * u**2 + 3 * u**3, np.maximum(2 - u, 0) ** 3) / 6
    return basis if where == "tiles" else basis.astype(np.float32)


def _samples(image: NDArray, labels: NDArray, options: BackgroundOptions) -> tuple[NDArray, NDArray[np.bool_]]:
    """Pixels on the sampling grid, and which of them are background."""
    import cv2

    foreground = (labels != 0).view(np.uint8)
    r = options.dilation_radius
    if r:
        d = np.arange(-r, r + 1)
        disk = (d[:, None] ** 2 + d**2 <= r * r).astype(np.uint8)
        foreground = cv2.dilate(foreground, disk)
    ys, xs = (_sample_positions(n, _half_tiles(n, options)) for n in image.shape)
    return image[ys][:, xs], foreground[ys][:, xs] == 0


def _windows(a: NDArray) -> NDArray:
    """The samples of each tile: (rows, columns, samples in the tile)."""
    view = np.lib.stride_tricks.sliding_window_view(a, (2 * SAMPLES, 2 * SAMPLES))[::SAMPLES, ::SAMPLES]
    return view.reshape(*view.shape[:2], -1)


def _tile_sums(a: NDArray) -> NDArray:
    """Sum over the samples of each tile, by sums over half tiles."""
    rows, columns = (n // SAMPLES for n in a.shape)
    half = a.reshape(rows, SAMPLES, columns, SAMPLES).sum((1, 3))
    return half[1:, 1:] + half[1:, :-1] + half[:-1, 1:] + half[:-1, :-1]


def _tile_levels(sample: NDArray, inside: NDArray[np.bool_], count: NDArray) -> NDArray[np.float64]:
    """Mean of the background of each tile within `CLIP` standard deviations of its median.

    The deviation is that of the quartiles, so a quarter of the tile may be wrong. A median alone would be too
    low by 1/6 count, the skew of photon noise, which is a tenth of a dim cell's signal; and whole counts
    only.
    """
    values = np.where(inside, sample.astype(np.float32), np.inf)
    ranked = np.sort(_windows(values), axis=2)  # foreground ranks last
    rank = (count[..., None] * np.array([0.25, 0.5, 0.75])).astype(np.intp)
    quartiles = np.where(count[..., None] > 0, np.take_along_axis(ranked, rank, 2), 0)
    low, middle, high = np.moveaxis(quartiles, 2, 0)[..., None]
    near = np.abs(ranked - middle) <= CLIP * (high - low) / 1.349
    kept = np.maximum(np.count_nonzero(near, axis=2), 1)
    return np.where(near, ranked, 0).sum(2, dtype=np.float64) / kept


def _fit_surface(
    sample: NDArray, inside: NDArray[np.bool_], count: NDArray, shape: tuple[int, int], options: BackgroundOptions
) -> NDArray[np.float64]:
    """Coefficients (ky, kx) of the P-spline through the levels of the tiles with `count` > 0.

    A tile's level belongs to the mean place of its background pixels, not to its centre, and averages a
    curved
    surface: each fit after the first moves the levels to the centres, by the fit before.
    """
    (by, bx), (sy, sx) = ([_basis(n, options, where) for n in shape] for where in ("tiles", "samples"))
    used = count > 0
    level = _tile_levels(sample, inside, count)
    mean = np.average(level, weights=count)  # the ridge pulls to the mean, not to zero
    level = np.where(used, level - mean, 0.0)
    base = weight = count / count[used].mean()
    at_centre = level
    for more in range(ROUNDS - 1, -1, -1):
        c = _solve(by, bx, at_centre, weight)
        if more:
            surface = (sy @ c.astype(np.float32) @ sx.T) * inside
            fitted = by @ c @ bx.T
            at_centre = np.where(used, level - _tile_sums(surface) / np.maximum(count, 1) + fitted, 0.0)
            residual = at_centre - fitted
            scale = max(1.4826 * np.median(np.abs(residual[used])), 1e-6)
            weight = base * np.maximum(1 - (residual / (4.685 * scale)) ** 2, 0) ** 2
    return c + mean


def _solve(by: NDArray, bx: NDArray, z: NDArray, w: NDArray) -> NDArray[np.float64]:
    """Minimise sum w (z - by c bx')^2 + penalties over c (ky, kx)."""
    ky, kx = by.shape[1], bx.shape[1]
    yy = (by[:, :, None] * by[:, None]).reshape(len(by), -1)
    xx = (bx[:, :, None] * bx[:, None]).reshape(len(bx), -1)
    normal = (yy.T @ w @ xx).reshape(ky, ky, kx, kx).transpose(0, 2, 1, 3).reshape(ky * kx, ky * kx)
    right = (by.T @ (w * z) @ bx).ravel()
    return np.linalg.solve(normal + _penalty(ky, kx), right).reshape(ky, kx)


@lru_cache(maxsize=16)
def _penalty(ky: int, kx: int) -> NDArray[np.float64]:
    """Roughness (ky kx, ky kx): the `PENALTIES` on differences along y and along x."""

    def roughness(k: int) -> NDArray:
        total = np.zeros((k, k))
        for order, weight in PENALTIES.items():
            d = np.diff(np.eye(k), order, axis=0)
            total += weight * d.T @ d
        return total

    # the last term only settles the mean, which the caller has taken out, when no tile has any weight
    return np.kron(roughness(ky), np.eye(kx)) + np.kron(np.eye(ky), roughness(kx)) + 1e-12 * np.eye(ky * kx)
