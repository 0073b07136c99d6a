"""Presynaptic densities in 3-D: dark compact spots, and of each what a network says (`--synapses learned`).

A spot is a maximum of the difference of two Gaussians (Lindeberg 1998) whose widths are in nm, so that sections may be thick.
The network sees a cube of SIDE samples, STEP apart, around it; whatever the voxel size:

    voxels      |   |   |   |   |          cube sample i lies (i - (SIDE - 1) / 2) * STEP from the spot, and is the mean of
    samples      . . . . * . . . .         voxels by a tent as wide as the larger of STEP and the voxel

Nothing depends on how a volume is divided into blocks: a spot is looked at by itself, and gives way to any better one
nearby, whether that one stays or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core import blocks
from ..core.volume import Region

STEP, SIDE = 16.0, 24  # nm; the cube is 384 nm wide
FINE, AROUND = 20.0, 70.0  # nm, sigma of a spot and of what is around it
APART = 40.0  # nm: spots nearer than this along every axis are one; each thicker section has its own, and the best stays
CONTRAST = 40.0  # grey levels that a spot is darker than what is around it; synapses of FIB-25 z 0-99 are by 53 or more
USUAL = 128  # grey level in place of 0, no data: neither darker nor brighter than what is there
RIVALS = 120.0  # nm: of synapses nearer than this the best stays
CUT = 3.0  # sigmas of a Gaussian that count
WIDEST = 150.0  # nm from its spot that a density may extend
FINEST = 6.0  # nm, sigma of the smoothing before a density is outlined
NECK = 12.0  # nm: what hangs on a density by less than twice this is membrane

Scale = Sequence[float]  # nm a voxel, (z, y, x)
Network = Callable[[NDArray[np.float32]], float]  # cube (SIDE, SIDE, SIDE) -> logit


def reach(scale: Scale) -> tuple[int, ...]:
    """Voxels around a region on which its synapses depend, z, y, x."""
    spot = [int(CUT * AROUND / s + 0.5) + int(APART / s) + 1 for s in scale]
    seen = [max(a, len(t[0]) // 2, int(WIDEST / s) + 1) for s, a, t in zip(scale, spot, taps(scale))]
    return tuple(int(RIVALS / s) + a + 1 for s, a in zip(scale, seen))


def spots(sections: NDArray[np.uint8], scale: Scale) -> NDArray[np.int64]:
    """Dark spots of a volume (z, y, x): voxels int64 (n, 3), in raster order."""
    from scipy import ndimage

    fine, dark = (
        ndimage.gaussian_filter(sections, [w / s for s in scale], output=np.float32, truncate=CUT) for w in (FINE, AROUND)
    )
    dark -= fine
    dark *= 64
    np.rint(dark, out=dark)  # steps, so that equal places are equal in any block
    highest = ndimage.maximum_filter(dark, size=[2 * int(APART / s) + 1 for s in scale], output=fine)
    return np.argwhere((dark == highest) & (dark >= CONTRAST * 64))


def taps(scale: Scale, side: int = SIDE) -> list[NDArray[np.float32]]:
    """What each sample of a cube takes of the voxels around its centre, along each axis: float32 (side, 2 * half + 1)."""
    at = (np.arange(side) - (side - 1) / 2) * STEP
    made = []
    for size in scale:
        width = max(STEP, size)
        half = int(np.ceil((at[-1] + width) / size))
        away = np.abs(at[:, None] - np.arange(-half, half + 1) * size)
        weight = np.maximum(1 - away / width, 0)
        made.append((weight / weight.sum(1, keepdims=True)).astype(np.float32))
    return made


def cube(sections: NDArray[np.uint8], at: Sequence[int], weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The samples around a voxel, grey levels, float32 (side, side, side); beyond the volume its last voxels go on."""
    near = [
        np.clip(np.arange(p - w.shape[1] // 2, p + w.shape[1] // 2 + 1), 0, n - 1)
        for p, w, n in zip(at, weights, sections.shape, strict=True)
    ]
    found = sections[np.ix_(*near)].astype(np.float32)
    for w in weights:  # each takes the first axis away and puts its own last
        found = np.tensordot(found, w, (0, 1))
    return found


def normalised(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """A cube of mean 0 and standard deviation 1: what the network is given."""
    return (found - found.mean()) / max(float(found.std()), 1e-3)


def best(points: NDArray[np.int64], score: NDArray[np.float32], scale: Scale) -> NDArray[np.bool_]:
    """Which points have no better one within RIVALS; of equals the first in raster order stays."""
    from scipy.spatial import cKDTree

    kept = np.ones(len(points), bool)
    if len(points) > 1:
        pairs = cKDTree(points * np.asarray(scale, float)).query_pairs(RIVALS, output_type="ndarray")
        first = np.minimum(*pairs.T), np.maximum(*pairs.T)
        later = score[first[1]] > score[first[0]]
        kept[np.where(later, *first)] = False
    return kept


def detect(
    network: Network, sections: NDArray[np.uint8], scale: Scale, least: float, core: Region | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Synapses of a volume (z, y, x), or of its `core`: voxels of their densities (n, 3) and scores, `least` to 1.

    Those nearer than `reach` to a face that is not the volume's depend on what lies beyond it. 0 is no data."""
    sections = np.where(sections > 0, sections, np.uint8(USUAL))
    at = spots(sections, scale)
    core = core or tuple(slice(0, n) for n in sections.shape)
    at = at[inside(at, blocks.widen(core, tuple(int(RIVALS / s) + 1 for s in scale), sections.shape)[0])]
    weights = taps(scale)
    logit = np.array([network(normalised(cube(sections, p, weights))) for p in at], np.float64)
    score = np.round(1 / (1 + np.exp(-logit)), 4).astype(np.float32)
    kept = score >= least
    at, score = at[kept], score[kept]
    kept = best(at, score, scale) & inside(at, core)
    return at[kept], score[kept]


def inside(points: NDArray[np.int64], region: Region) -> NDArray[np.bool_]:
    """Which voxels (n, 3) lie in a region."""
    return np.all([(a >= s.start) & (a < s.stop) for a, s in zip(points.T, region, strict=True)], 0)


def extent(sections: NDArray[np.uint8], at: Sequence[int], scale: Scale) -> int:
    """Voxels of the density whose spot is at a voxel of a volume (z, y, x); at least 1.

    They hang together with the spot and are darker than halfway from it to the median around. Membranes that run into
    the density are as dark: an opening by a ball of radius NECK, which is wider than they are, takes them off."""
    from scipy import ndimage

    box = tuple(slice(max(p - int(WIDEST / s), 0), p + int(WIDEST / s) + 1) for p, s in zip(at, scale, strict=True))
    smooth = ndimage.gaussian_filter(sections[box].astype(np.float32), [FINEST / s for s in scale], truncate=CUT)
    middle = tuple(p - b.start for p, b in zip(at, box, strict=True))
    away = [(np.arange(n) - m) * s for n, m, s in zip(smooth.shape, middle, scale, strict=True)]
    near = sum(a**2 for a in np.ix_(*away)) <= WIDEST**2
    dark = near & (smooth <= (smooth[middle] + np.median(smooth[near])) / 2)
    inside = ndimage.distance_transform_edt(dark, sampling=scale) > NECK
    if inside.any():
        apart = ndimage.distance_transform_edt(~inside, sampling=scale, return_distances=False, return_indices=True)
        core, _ = ndimage.label(inside)
        core = core == core[tuple(apart[(slice(None), *middle)])]
        dark &= ndimage.distance_transform_edt(~core, sampling=scale) <= 1.5 * NECK
    else:
        parts, _ = ndimage.label(dark)
        dark = parts == parts[middle]
    return max(int(dark.sum()), 1)
