"""LOG-STD: cells of a phase-contrast frame by the logarithm of the local standard deviation.

1. L = log of the standard deviation in a window round each pixel: cells are rough, background is smooth.
2. A threshold on the histogram of L.
3. Closing, holes filled, opening (which is what takes specks out).
4. The halo, which is rough too, is taken off: the outline moves in to where the halo falls into the cell.
5. Touching cells are taken apart by a watershed on the distance to the outline.

Steps 1-3 are the method of PyAMA (seed `004`); 4 and 5 make areas true and ids single.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError, ParameterError
from voxelmill.inference.cell_basins import basins, components, fill_holes, keep_sizes

_BINS = 200
_EVERY = 4  # statistics of a frame come from every fourth row: 256 rows of 1024 say as much as all
_STRIP = 64  # rows worked on at a time: float64 sums that stay in the cache are twice as fast
_NECK = 0.75  # a neck narrower than this share of the wider cell beside it parts two cells


def check_frame(frame: NDArray) -> NDArray:
    """The frame as an array OpenCV takes: (y, x), uint8, uint16 or float32.

    Raises DataError for another number of axes, no pixels, complex numbers, or values that are not finite.
    """
    frame = np.asarray(frame)
    if frame.ndim != 2 or 0 in frame.shape:
        raise DataError(f"the frame has shape {frame.shape}; expected two axes (y, x) with pixels in them")
    if frame.dtype.kind not in "buif":
        raise DataError(f"the frame holds {frame.dtype}; expected whole or floating-point numbers")
    if frame.dtype.kind == "f" and not np.isfinite(frame).all():
        bad = int(np.count_nonzero(~np.isfinite(frame)))
        raise DataError(f"{bad} of {frame.size} pixels are NaN or infinite; mask or replace them first")
    if frame.dtype not in (np.uint8, np.uint16):
        frame = frame.astype(np.float32)
    return np.ascontiguousarray(frame)


def local_variance(frame: NDArray, window: int = 3) -> NDArray[np.float32]:
    """Variance in a window of `window` px a side, mirrored at the border.

    Squares and sums are float64, exact for 8 and 16 bits: noise of 1 count on a mean of 50,000 is measured.

    frame: (y, x), uint8, uint16 or float32. Returns float32 (y, x), in squared counts.
    """
    import cv2

    if window == 3:
        return _variance_of_nine(frame)
    # BORDER_REFLECT repeats the border pixel, as scipy's uniform_filter does
    half, n, height = window // 2, window * window, frame.shape[0]
    framed = cv2.copyMakeBorder(frame, half, half, half, half, cv2.BORDER_REFLECT)
    out = np.empty(frame.shape, np.float32)
    # running sums of floats round; what that leaves is no variation
    floor = 1e-14 * (n * float(np.abs(frame).max())) ** 2 if frame.dtype == np.float32 else 0.0
    for y in range(0, height, _STRIP):
        rows = slice(half, half + min(_STRIP, height - y)), slice(half, -half)
        strip = framed[y : y + _STRIP + 2 * half]
        total = cv2.boxFilter(strip, cv2.CV_64F, (window, window), normalize=False)[rows]
        squares = cv2.sqrBoxFilter(strip, cv2.CV_64F, (window, window), normalize=False)[rows]
        np.multiply(total, total, out=total)
        variance = cv2.addWeighted(squares, n, total, -1, 0)  # in place of three passes, and exact still
        if floor:
            variance[variance < floor] = 0
        np.multiply(variance, 1 / (n * n), out=out[y : y + _STRIP], casting="same_kind")
    return out


def _variance_of_nine(frame: NDArray) -> NDArray[np.float32]:
    """`local_variance` for a window of 3, from differences of neighbours: nothing cancels, so float32 will do.

    Of three numbers with differences d, e the sum of squares about their mean is 2/3 (d^2 + d e + e^2): so within
    each row of the window, and between its rows by their sums.
    """
    import cv2

    def squares(d: NDArray, e: NDArray) -> NDArray:
        out = d + e
        out *= e
        out += d * d
        return out

    height = frame.shape[0]
    framed = cv2.copyMakeBorder(frame, 1, 1, 1, 1, cv2.BORDER_REFLECT)
    out = np.empty(frame.shape, np.float32)
    for y in range(0, height, _STRIP):
        x = framed[y : y + _STRIP + 2].astype(np.float32)
        d = x[:, 1:] - x[:, :-1]
        within = squares(d[:, :-1], d[:, 1:])
        total = x[:, :-2] + x[:, 1:-1]
        total += x[:, 2:]
        d = total[1:] - total[:-1]
        variance = squares(d[:-1], d[1:])
        variance *= np.float32(1 / 3)
        for row in range(3):
            variance += within[row : len(within) - 2 + row]
        np.multiply(variance, np.float32(2 / 27), out=out[y : y + _STRIP])
    return out


def texture_threshold(variance: NDArray[np.float32], method: str = "mode3sigma") -> float:
    """The value of L = log(standard deviation) that parts background from cells; inf when nothing varies.

    variance: (y, x) from `local_variance`; windows without variation, as in saturated areas, are left out.
    method: "mode3sigma": mode + 3 standard deviations of the values up to the mode (PyAMA's code).
        "valley": the lowest point of the smoothed histogram between the background's mode and that of the
        cells (the seed's text); where there is no second mode, as in "mode3sigma".
    Raises ParameterError for another method.
    """
    import cv2

    if method not in ("mode3sigma", "valley"):
        raise ParameterError(f"threshold is {method!r}; expected 'mode3sigma', 'valley' or a number")
    variance = variance[:: _EVERY if variance.size > 1 << 18 else 1]
    values = 0.5 * np.log(variance[variance > 0])
    if not values.size:
        return float("inf")
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return float("inf")
    edges = np.linspace(low, high, _BINS + 1)
    counts = cv2.calcHist([values], [0], None, [_BINS], [low, float(np.nextafter(np.float32(high), np.inf))])
    counts = counts.ravel().astype(np.float64)
    centres = (edges[:-1] + edges[1:]) / 2
    top = int(np.argmax(counts))
    mode = centres[top]
    below = counts[: top + 1]
    spread = float(np.sqrt(np.average((centres[: top + 1] - mode) ** 2, weights=below)))
    cut = mode + 3 * max(spread, edges[1] - edges[0])
    if method == "valley":
        smooth = np.convolve(np.pad(counts, 4, mode="edge"), np.ones(9) / 9, mode="valid")
        start = int(np.searchsorted(centres, mode + max(spread, edges[1] - edges[0])))
        tail = smooth[start:]
        if tail.size > 2:
            # the second mode stands highest over the lowest point before it
            rise = tail - np.minimum.accumulate(tail)
            peak = int(np.argmax(rise))
            if rise[peak] > 0.02 * smooth.max():
                cut = centres[start + int(np.argmin(tail[: peak + 1]))]
    return float(cut)


def _reshape(mask: NDArray[np.uint8], opening: bool, size: int, iterations: int) -> NDArray[np.uint8]:
    """Opening or closing by a disk that is `size` px wide in all, made of `iterations` steps."""
    import cv2

    radius = size // 2
    steps = [radius // iterations + (i < radius % iterations) for i in range(iterations)]
    kernels = [cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)) for r in steps if r > 0]
    first, second = (cv2.erode, cv2.dilate) if opening else (cv2.dilate, cv2.erode)
    # nothing beyond the border: neither cell nor background may grow in from there
    for kernel in kernels:
        mask = first(mask, kernel)
    for kernel in kernels:
        mask = second(mask, kernel)
    return mask


def _halo_width(frame: NDArray, depth: NDArray[np.float32], window: int, reach: int) -> float:
    """How far inside the rough area the cells begin, in px.

    The mean brightness at each depth inside the rough area climbs to the halo's crest and falls into the
    cell: the outline lies where it falls most steeply. Without a crest only the window's own reach is taken.
    """
    bins = reach + 3
    every = _EVERY * (2 if depth.size > 1 << 18 else 1)
    at = np.minimum(depth[::every], bins).astype(np.intp).ravel()  # the last bin is all that is deeper
    n = np.bincount(at, minlength=bins + 1)[:bins]
    base = float(window // 2)
    if n[1:].min() < 8:
        return base
    profile = np.bincount(at, frame[::every].ravel(), minlength=bins + 1)[:bins] / n
    crest = 1 + int(np.argmax(profile[1 : reach + 1]))
    fall = np.diff(profile[crest:])
    if profile[crest] <= profile[0] or not fall.size or fall.min() >= 0:
        return base
    return max(base, crest + int(np.argmin(fall)) + 1.0)  # bin d holds depths from d to d + 1


def part(mask: NDArray[np.uint8], depth: NDArray[np.float32], min_object_size: float) -> NDArray[np.int32]:
    """Number the objects of a mask (y, x), touching ones taken apart at their necks: int32 (y, x), 1..n.

    Necks are looked for on a coarser grid, four pixels to a cell's radius; the outline stays the mask's.
    depth: float32 (y, x), distance to the outline in px, > 0 inside.
    """
    import cv2

    sample = depth[:: _EVERY + 1, ::_EVERY]  # rows and columns out of step, so that no grid hides
    if not (sample > 0).any():
        return components(mask)[1]
    widest = float(np.quantile(sample[sample > 0], 0.95))
    step = int(np.clip(round(widest / 4), 1, 4))
    height = cv2.GaussianBlur(np.ascontiguousarray(depth[::step, ::step]), (3, 3), 0)
    small = (height > 0).astype(np.uint8)
    reach = 2 * round(0.8 * widest / step) + 1
    crest = cv2.dilate(height, np.ones((reach, reach), np.uint8))
    enough = np.sqrt(min_object_size / np.pi) / 2
    _, markers = components((height >= _NECK * crest) & (height >= enough))
    parts = basins(height, markers, small)
    full = cv2.resize(parts, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return full * mask


def segment(
    frame: NDArray,
    *,
    logstd_window_size: int = 3,
    threshold: str | float = "mode3sigma",
    morph_size: int = 7,
    morph_iterations: int = 3,
    min_object_size: int = 50,
    max_object_size: int = 10_000,
    halo_width: float = -1.0,
    split: bool = True,
) -> NDArray[np.int32]:
    """Label the cells of one phase-contrast frame by LOG-STD.

    frame: (y, x), any whole or floating-point dtype, at least 1 x 1 px.
    logstd_window_size: side of the window of the standard deviation, px, odd.
    threshold: "mode3sigma", "valley" (see `texture_threshold`) or a value of L itself.
    morph_size: width in px of the disk that closes and opens, whatever the number of iterations. (The seed's
        `disk(7)` three times over is 43 px wide and leaves no cell smaller than that; three steps of a
        3 px element make the 7 px that its `morph_size` names.)
    morph_iterations: steps that the disk is made of; more is rounder.
    min_object_size, max_object_size: areas in px that are kept, both inclusive.
    halo_width: px to take off the outline; negative finds it in the frame, 0 takes nothing off.
    split: take touching cells apart.

    Returns int32 (y, x): 0 = background, cells 1..n of this frame; none in a blank or saturated frame.
    Raises ParameterError for values out of bounds, DataError for a frame that is no image.
    """
    import cv2

    if logstd_window_size < 3 or logstd_window_size % 2 == 0:
        raise ParameterError(f"logstd_window_size is {logstd_window_size}; expected an odd number from 3 px")
    if morph_size < 1 or morph_iterations < 1:
        raise ParameterError(f"morph_size {morph_size} and morph_iterations {morph_iterations} must be from 1")
    if not 0 <= min_object_size <= max_object_size:
        raise ParameterError(
            f"min_object_size {min_object_size}, max_object_size {max_object_size}: expected 0 <= min <= max"
        )
    frame = check_frame(frame)
    variance = local_variance(frame, logstd_window_size)
    cut = texture_threshold(variance, threshold) if isinstance(threshold, str) else float(threshold)
    mask = (variance > np.exp(2 * min(cut, 40.0))).view(np.uint8)
    mask = _reshape(mask, False, morph_size, morph_iterations)
    mask = fill_holes(mask)
    mask = _reshape(mask, True, morph_size, morph_iterations)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    if halo_width < 0:
        halo_width = _halo_width(frame, depth, logstd_window_size, morph_size + 2)
    depth -= np.float32(halo_width)
    np.maximum(depth, 0, out=depth)
    mask = (depth > 0).view(np.uint8)
    labels = part(mask, depth, min_object_size) if split else components(mask)[1]
    return keep_sizes(labels, min_object_size, max_object_size)


def threshold_of_movie(frames: Iterable[NDArray], *, logstd_window_size: int = 3, threshold: str = "mode3sigma") -> float:
    """The median of the frames' thresholds: one for a movie does not flicker. inf when no frame varies."""
    each = [texture_threshold(local_variance(check_frame(f), logstd_window_size), threshold) for f in frames]
    each = [value for value in each if np.isfinite(value)]
    return float(np.median(each)) if each else float("inf")
