"""Attenuation: tissue takes light from what lies below it; what it took is known from what it scattered back.

    light at plane z, 1 at the surface:  E(z) = 1 - alpha * sum of signal over the planes above z
    corrected = signal / E(z)

A-line by A-line, the sum smoothed across by a pixel against speckle (Vermeer et al. 2014, from the surface down, so that the
last plane needs no guess). alpha is one number a slice: the one with which tissue is as bright below as above. Beam and dark
level are taken out before.

Where nothing tells the beam, tissue alone tells alpha: a voxel is as like those above it as those below it, but shadows fall
downwards only. With the right alpha nothing is left that tells up from down (`taken_by_plane`); what is then left of the
brightness of the planes is the beam.

Whatever tells it, no column can lose more than all of its light: that bounds alpha (`within_light`).
"""

from __future__ import annotations

import numpy as np

from ..core.volume import Region
from .slice_statistics import OfColumns, far_brighter
from .slice_volume import SliceVolume

ACROSS = 1.0  # px: sigma of the sums
HALO = 4  # px beside a region that they read
SQUARE = 8  # px: alpha is found on means of so many px a side
MOST_SQUARES = 2**14  # of a slice: of more, some do
FEWEST = 16  # squares of tissue by which it can be found
ACQUIRED = 0.9  # of the planes of a column: one that lacks no more is tissue all the same
LEAST_LIGHT = 0.05  # of that of the first planes: where less is left there is noise, which tells nothing
DEEPEST = 99.5  # percentile of the shadows of columns that counts as the deepest: glare may lie in the rest
FEW = 0.05  # of the squares: more that are so bright may be tissue, in whose shadow others lie
TOP = 3  # planes below the surface in which nothing lies in a shadow yet
MOST_TAKEN = 3.2  # exponent of the light that is lost down to the last plane, by which alpha is looked for
STEPS = 32  # of that search
BANDS = 64  # of depth that it looks at
CERTAIN = 3.0  # standard errors by which up must be told from down


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

    Where nothing else tells how much light comes there: its own shadow is known from what lies above, plane by plane.
    A plane that is too faint to tell has the factor of the plane above."""
    factor, above = np.ones(len(tissue)), np.zeros(tissue.shape[1])
    usual = np.zeros(len(tissue))
    if told < 1 or tissue.shape[1] < FEWEST:
        return factor
    for z, signal in enumerate(tissue):
        lit = float(_lit(signal, alpha * above, most_gain).mean())
        usual[z] = lit
        if z >= told:
            first = float(usual[:told].mean())
            factor[z] = first / lit if lit > LEAST_LIGHT * first > 0 else factor[z - 1]
        above += signal * factor[z]
    return factor


def within_light(tissue: np.ndarray, alpha: float, told: int, most_gain: float) -> float:
    """alpha, or as much of it as takes no more than all light, in the deepest shadow.

    tissue, told: as in `gain_below`, which says how bright it is farther down. Where usual tissue has less light than
    `most_gain` makes up for, what is made brighter is noise: only planes above that count, and, as such planes take much of
    it, as trapezoids: sums of them, each as bright as at its top, can be more than all light."""

    def left(taken: float) -> float:
        signal = tissue * gain_below(tissue, taken, told, most_gain)[:, None]
        dim = 1 - taken * (np.cumsum(signal, 0) - signal).mean(1) < max(LEAST_LIGHT, 1 / most_gain)
        if dim.any():
            lit = signal[: int(dim.argmax())]
            signal = (lit[1:] + lit[:-1]) / 2
        return 1 - taken * float(np.percentile(signal.sum(0), DEEPEST))

    if alpha <= 0 or left(alpha) >= 0:
        return alpha
    low, high = 0.0, alpha
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= 0 else (low, middle)
    return low


def alpha_of_tissue(tissue: np.ndarray) -> float:
    """As `alpha_of`, of tissue under a beam that is not known, in the units of the first planes.

    Planes count down to where it is too faint to tell."""
    level = tissue.mean(1) if tissue.size else np.zeros(1)
    top = float(level[:TOP].mean())
    faint = level <= LEAST_LIGHT * top
    seen = int(faint.argmax()) if faint.any() else len(level)
    return taken_by_plane(tissue[:seen]) / top if top > 0 else 0.0


def taken_by_plane(tissue: np.ndarray) -> float:
    """The part of its light that a plane of usual tissue takes, by signal (planes below the surface, squares) of tissue.

    The beam may be any. 0 where up and down cannot be told apart, or too little is seen."""
    if tissue.shape[0] < 8 or tissue.shape[1] < FEWEST:
        return 0.0
    band = -(-len(tissue) // BANDS)
    whole = len(tissue) // band * band
    tissue = tissue[:whole].reshape(-1, band, tissue.shape[1]).mean(1)
    tried = np.linspace(0, MOST_TAKEN, STEPS + 1) / len(tissue)
    each = _up_from_down(_revealed(tissue, 0.0))
    if each.mean() <= CERTAIN * each.std() / np.sqrt(len(each)):
        return 0.0
    skew = np.array([_up_from_down(_revealed(tissue, taken)).mean() for taken in tried])
    falls = np.flatnonzero(skew[1:] <= 0)
    if not len(falls):
        return float(tried[skew.argmin()]) / band
    k = int(falls[0])
    return float(tried[k] + (tried[k + 1] - tried[k]) * skew[k] / (skew[k] - skew[k + 1])) / band


def _revealed(tissue: np.ndarray, taken: float) -> np.ndarray:
    """(planes, squares), mean 1 in each plane: what scatters, if a plane of usual tissue takes so much."""
    light, found = np.ones(tissue.shape[1]), np.empty(tissue.shape)
    for z, signal in enumerate(tissue):
        scatter = signal / light
        usual = max(float(scatter.mean()), 1e-9)
        found[z] = scatter / usual
        light = np.maximum(light - taken * signal / usual, LEAST_LIGHT)
    return found


def _up_from_down(scatter: np.ndarray) -> np.ndarray:
    """(squares,) what tells a pile of planes from the same upside down: 0 in the mean where nothing does."""
    log = np.log(np.maximum(scatter, LEAST_LIGHT))
    log -= log.mean(1, keepdims=True)
    above = np.cumsum(scatter - 1, 0) - (scatter - 1)
    below = (scatter - 1).sum(0) - above - (scatter - 1)
    found: np.ndarray = (log * (above - below)).mean(0)
    return found


def without_glare(tissue: np.ndarray, most: float = 1.0) -> np.ndarray:
    """Without squares (planes, squares) that are far too bright for tissue, where these are no more than `most` of all: few
    of them would be most of the mean."""
    bright = far_brighter(tissue.sum(0))
    return tissue[:, ~bright] if bright.any() and bright.mean() <= most else tissue


def squares(volume: SliceVolume, mask: OfColumns) -> np.ndarray:
    """(planes, squares) means over squares of columns that all are in a mask and were acquired, but for scattered voxels;
    about MOST_SQUARES of a large slice, evenly."""
    found, column = [], []
    step = -(-(volume.shape[1] * volume.shape[2]) // SQUARE**2 // MOST_SQUARES) or 1
    for (z, y, x), values in volume.parts():
        ny, nx = (n // SQUARE for n in values.shape[1:])
        parts = (len(values), ny, SQUARE, nx, SQUARE)  # ny or nx may be 0, at the rim
        values, inside = values[:, : ny * SQUARE, : nx * SQUARE], mask[y, x][: ny * SQUARE, : nx * SQUARE]
        seen = values > 0
        use = inside.reshape(parts[1:]).all((1, 3))
        count = np.count_nonzero(seen.reshape(parts), axis=(2, 4)).astype(np.float32)
        use &= (count >= SQUARE**2 / 2).all(0)
        use &= (y.start // SQUARE + np.arange(ny)[:, None] + x.start // SQUARE + np.arange(nx)) % step == 0
        column.append((values.reshape(parts).sum((2, 4)) / np.maximum(count, 1), use, np.count_nonzero(seen, 0)))
        if z.stop == volume.shape[0]:
            means, uses, planes = zip(*column, strict=True)
            whole = (sum(planes) >= ACQUIRED * volume.shape[0]).reshape(parts[1:]).all((1, 3))
            found.append(np.concatenate(means)[:, np.logical_and.reduce(uses) & whole])
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
