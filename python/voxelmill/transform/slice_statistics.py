"""What is known of a slice as a whole, gathered region by region: grey levels by plane, agarose, the surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..core.params import Params, param
from .slice_volume import SliceVolume

DARKEST, BRIGHTEST = 2.0**-32, 2.0**40  # grey values between which levels are told apart
SHIFT = 16  # bits of a float32 that are left out: 128 levels an octave
EDGE = 2.0  # planes: sigma of the derivative that finds the surface
CLEARANCE = 3  # planes above the surface that are not yet without light
SEEN = 0.5  # of the brightness below the surface: where it is brighter above, no surface is seen
PART, MOST_PARTS = 32, 2**22  # px a side of the parts of a slice whose A-lines are compared; and planes times parts, about
WIDEST = 256  # px a side, of such a part
BRIGHT = 8.0  # times as bright as most: no tissue
APART, FAR = 1.0, 4.0  # planes by which the surface of all may lie off that of most; and from which on that is said


class Clipped(Params):
    """Grey values."""

    clip_percentile_upper: float = param(
        99.9, "Percentile of the grey values that counts as the brightest", unit="%", gt=50, le=100
    )


class Levels:
    """How often each grey value above 0 occurs in each plane, to 0.8 % of the value; percentiles from it.

    The bits of a positive float32 are in the order of its value, the first ones its logarithm, about."""

    def __init__(self, planes: int):
        self.first = int(np.float32(DARKEST).view(np.int32)) >> SHIFT
        self.bins = (int(np.float32(BRIGHTEST).view(np.int32)) >> SHIFT) - self.first + 1
        self.counts = np.zeros((planes, self.bins), np.int64)

    def add(self, values: np.ndarray, first: int = 0) -> None:
        """values (planes, ...) from plane `first` on; what is not above 0 does not count."""
        for plane, of in enumerate(np.ascontiguousarray(values, np.float32), first):
            seen = of[of > 0]
            at = np.clip((seen.view(np.int32) >> SHIFT) - self.first, 0, self.bins - 1)
            self.counts[plane] += np.bincount(at, minlength=self.bins)

    def percentile(self, q: float, whole: bool = False) -> np.ndarray:
        """(planes,), or one for all of them; 0 where nothing was counted."""
        counts = self.counts.sum(0, keepdims=True) if whole else self.counts
        edges = (np.arange(self.first, self.first + self.bins + 1, dtype=np.int32) << SHIFT).view(np.float32)
        out = np.zeros(len(counts))
        for n, of in enumerate(counts):
            below = np.concatenate([[0], np.cumsum(of)])
            if below[-1]:
                rank = q / 100 * below[-1]
                bin = min(max(int(np.searchsorted(below, rank, "left")) - 1, 0), self.bins - 1)
                part = (rank - below[bin]) / max(int(of[bin]), 1)
                out[n] = edges[bin] + part * (edges[bin + 1] - edges[bin])
        return out


class OfColumns(Protocol):
    """A value a column of a slice, by region: an array (ny, nx), or what is as good."""

    def __getitem__(self, region: tuple[slice, slice], /) -> np.ndarray: ...


def usual_profile(volume: SliceVolume) -> tuple[np.ndarray, str]:
    """(nz,) A-line that tells the surface, and what is to be said of it: the mean, without parts of the slice that are far
    brighter than most (a saturated tile) where they put it elsewhere."""
    nz, ny, nx = volume.shape
    side = PART
    while nz * (ny // side + 1) * (nx // side + 1) > MOST_PARTS and side < WIDEST:
        side *= 2
    box, total, seen = (1, side, side), np.zeros(nz), np.zeros(nz)
    parts = np.full((nz, -(-ny // side), -(-nx // side)), np.nan, np.float32)
    for region, values in volume.parts():
        acquired = summed(values != 0, box)
        parts[places(region, box)] = np.where(acquired, summed(values, box) / np.maximum(acquired, 1), np.nan)
        total[region[0]] += values.reshape(len(values), -1).sum(1, dtype=np.float64)
        seen[region[0]] += acquired.sum((1, 2), dtype=np.float64)
    return agreed(total / np.maximum(seen, 1), parts.reshape(nz, -1))


def places(region: Sequence[slice], box: Sequence[int]) -> tuple[slice, ...]:
    """Which boxes a region lies in."""
    return tuple(slice(r.start // s, -(-r.stop // s)) for r, s in zip(region, box, strict=True))


def summed(values: np.ndarray, box: Sequence[int]) -> np.ndarray:
    """float32, over boxes of that size; the last ones may be smaller."""
    out = values.astype(np.float32, copy=False)
    for axis, (n, side) in enumerate(zip(values.shape, box, strict=True)):
        out = out if side == 1 else np.add.reduceat(out, np.arange(0, n, side), axis)
    return out


def far_brighter(level: np.ndarray) -> np.ndarray:
    """Which of these (n,) are far brighter than most: glare, or saturated."""
    usual = float(np.median(level)) if level.size else 0.0
    return level > BRIGHT * usual if usual > 0 else np.zeros(level.shape, bool)


def agreed(mean: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, str]:
    """As `usual_profile`: a mean A-line (nz,), and those of parts (nz, n), NaN where nothing was acquired."""
    seen = ~np.isnan(parts)
    shown = seen.any(0)
    seen, known = seen[:, shown], np.where(seen, parts, 0)[:, shown]
    dim = ~far_brighter(known.sum(0) / seen.sum(0))
    if dim.all():
        return mean, ""
    usual = known[:, dim].sum(1) / np.maximum(seen[:, dim].sum(1), 1)
    found, most = surface(mean), surface(usual)
    if most is None or (found is not None and abs(found - most) <= APART):
        return mean, ""
    if found is not None and abs(found - most) <= FAR:
        return usual, ""
    where = "no surface" if found is None else f"the surface at plane {found:.1f}"
    return usual, f"few bright parts of the slice show {where}, most of it at plane {most:.1f}, which is taken"


def levels_of(volume: SliceVolume, down: OfColumns | None = None) -> Levels:
    """Levels of the planes, everywhere, or down to plane `down` of each column."""
    return gathered(volume, [down])[0]


def gathered(volume: SliceVolume, downs: Sequence[OfColumns | None]) -> list[Levels]:
    """As `levels_of`, several in one pass."""
    found = [Levels(volume.shape[0]) for _ in downs]
    for (z, y, x), values in volume.parts():
        for levels, down in zip(found, downs, strict=True):
            if down is None:
                levels.add(values, z.start)
                continue
            ends = down[y, x]
            for n, plane in enumerate(values, z.start):
                levels.add(plane[ends > n][None], n)
    return found


def otsu(values: np.ndarray) -> float:
    """The threshold that parts values best into two classes (Otsu 1979)."""
    counts, edges = np.histogram(values.astype(float), 256)  # as float32 nearly equal ones cannot be told apart
    centres = (edges[1:] + edges[:-1]) / 2
    n, total = np.cumsum(counts), np.cumsum(counts * centres)
    low, high = n[:-1], n[-1] - n[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = low * high * (total[:-1] / low - (total[-1] - total[:-1]) / high) ** 2
    return float(edges[1:-1][np.nanargmax(between)]) if np.isfinite(between).any() else float(edges[-1])


def surface(profile: np.ndarray) -> float | None:
    """Depth, in planes, at which a mean A-line (nz,) rises most: the surface of the block; None where it lies above.

    Derivative of a Gaussian, its maximum to a fraction of a plane by a parabola through three."""
    from scipy.ndimage import gaussian_filter1d

    if len(profile) < 8:
        return None
    rise = gaussian_filter1d(np.asarray(profile, float), EDGE, order=1, mode="nearest")
    k = int(rise.argmax())
    above, below = profile[: max(k - 1, 1)].mean(), profile[k + 2 : k + 10]
    if not len(below) or k == 0 or above > SEEN * below.mean():
        return None
    if k == len(rise) - 1:
        return float(k)
    a, b, c = rise[k - 1 : k + 2]
    return k + float(0.5 * (a - c) / min(a - 2 * b + c, -1e-12))


def without_light(profile: np.ndarray, depth: float | None) -> float:
    """What is read without light: the mean of the planes of an A-line (nz,) above the surface; 0 where none are."""
    planes = 0 if depth is None else int(depth) - CLEARANCE + 1
    return float(profile[:planes].mean()) if planes > 0 else 0.0
