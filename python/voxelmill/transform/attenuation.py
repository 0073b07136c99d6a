"""Attenuation: tissue takes light from what lies below it; what it took is known from what it scattered back.

    light at plane z, 1 at the surface:  E(z) = 1 - alpha * sum of signal over the planes above z
    corrected = signal / E(z)

A-line by A-line, the sum smoothed across by a pixel against speckle (Vermeer et al. 2014, from the surface down, so that the
last plane needs no guess). alpha is one number a slice: the one with which tissue is as bright below as above. Beam and dark
level are taken out before.
"""

from __future__ import annotations

import numpy as np

from ..core.volume import Region
from .slice_statistics import OfColumns
from .slice_volume import SliceVolume

ACROSS = 1.0  # px: sigma of the sums
HALO = 4  # px beside a region that they read
SQUARE = 8  # px: alpha is found on means of so many px a side
MOST_SQUARES = 2**14  # of a slice: of more, some do
FEWEST = 16  # squares of tissue by which it can be found
LEAST_LIGHT = 0.05  # at the last plane, in the mean: alpha is not believed beyond


def alpha_of(tissue: np.ndarray, most_gain: float) -> float:
    """alpha, by signal (planes below the surface, squares) of tissue: with it the mean is even over depth.

    0 where it is not darker below, or too little is seen."""
    if tissue.shape[0] < 8 or tissue.shape[1] < FEWEST:
        return 0.0
    above = np.cumsum(tissue, 0) - tissue
    if above[-1].mean() <= 0:
        return 0.0
    z = np.arange(len(tissue)) - (len(tissue) - 1) / 2

    def rise(alpha: float) -> float:
        """Of the logarithm of the mean, by plane."""
        mean = _lit(tissue, alpha * above, most_gain).mean(1)
        return float(z @ np.log(np.maximum(mean, 1e-9)))

    low, high = 0.0, (1 - LEAST_LIGHT) / float(above[-1].mean())
    if rise(low) >= 0:
        return 0.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle) < 0 else (low, middle)
    return (low + high) / 2


def _lit(tissue: np.ndarray, taken: np.ndarray, most_gain: float) -> np.ndarray:
    return tissue / np.maximum(1 - taken, 1 / (2 * most_gain))


def gain_below(tissue: np.ndarray, alpha: float, told: int, most_gain: float) -> np.ndarray:
    """(planes,) factors, 1 for the first `told` planes, with which tissue is as bright farther down as in these.

    Where nothing else tells how much light comes there: its own shadow is known from what lies above, plane by plane."""
    factor, above = np.ones(len(tissue)), np.zeros(tissue.shape[1])
    usual = np.zeros(len(tissue))
    if told < 1 or tissue.shape[1] < FEWEST:
        return factor
    for z, signal in enumerate(tissue):
        lit = float(_lit(signal, alpha * above, most_gain).mean())
        usual[z] = lit
        if z >= told and lit > 0:
            factor[z] = float(usual[:told].mean()) / lit
        above += signal * factor[z]
    return factor


def squares(volume: SliceVolume, mask: OfColumns) -> np.ndarray:
    """(planes, squares) means over squares of columns that all are in a mask and were acquired; about MOST_SQUARES of a
    large slice, evenly."""
    found, column = [], []
    step = -(-(volume.shape[1] * volume.shape[2]) // SQUARE**2 // MOST_SQUARES) or 1
    for (z, y, x), values in volume.parts():
        ny, nx = (n // SQUARE for n in values.shape[1:])
        parts = (len(values), ny, SQUARE, nx, SQUARE)  # ny or nx may be 0, at the rim
        values, inside = values[:, : ny * SQUARE, : nx * SQUARE], mask[y, x][: ny * SQUARE, : nx * SQUARE]
        use = (inside & (values > 0).all(0)).reshape(parts[1:]).all((1, 3))
        use &= (y.start // SQUARE + np.arange(ny)[:, None] + x.start // SQUARE + np.arange(nx)) % step == 0
        column.append((values.reshape(parts).mean((2, 4)), use))
        if z.stop == volume.shape[0]:
            means, uses = zip(*column, strict=True)
            found.append(np.concatenate(means)[:, np.logical_and.reduce(uses)])
            column = []
    return np.concatenate(found, 1)


def compensated(volume: SliceVolume, alpha: float, dark: float, most_gain: float) -> SliceVolume:
    """The slice, as if all of it were lit alike; no more than `most_gain` times as bright. 0 stays what was not acquired."""
    from dataclasses import replace

    import cv2

    above: dict[tuple[int, ...], np.ndarray] = {}  # the last column, so far: who comes from the top reads a plane once

    def read(region: Region) -> np.ndarray:
        z, *yx = region
        wide = [
            slice(max(0, part.start - HALO), min(n, part.stop + HALO)) for part, n in zip(yx, volume.shape[1:], strict=True)
        ]
        inner = tuple(slice(part.start - w.start, part.stop - w.start) for part, w in zip(yx, wide, strict=True))
        column = tuple(end for w in wide for end in (w.start, w.stop))
        total = above.pop((z.start, *column), None)
        first = 0 if total is None else z.start
        values = volume.read((slice(first, z.stop), *wide))
        total = np.zeros(values.shape[1:], np.float32) if total is None else total
        out = np.empty([part.stop - part.start for part in region], np.float32)
        for n, plane in enumerate(values, first):
            signal = np.where(plane == 0, np.float32(0), plane - np.float32(dark))
            if n >= z.start:
                light = 1 - np.float32(alpha) * cv2.GaussianBlur(total, (0, 0), ACROSS)[inner]
                gain = 1 / np.maximum(light, np.float32(1 / most_gain))
                # Below what is read without light there is nothing to raise.
                out[n - z.start] = np.where(signal[inner] > 0, signal[inner] * gain + np.float32(dark), plane[inner])
            total += signal
        above.clear()
        above[z.stop, *column] = total
        return out

    return replace(volume, read=read)
