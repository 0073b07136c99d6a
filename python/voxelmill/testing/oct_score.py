"""Scores of results against what a made acquisition really is (`testing/oct.py`). Lengths in px; common shifts left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .oct import AGAROSE, Acquisition, rotation


def tile_error(made: Acquisition, s: int, positions: np.ndarray) -> float:
    """RMS distance of tile positions (tiles, 2), (dim 1, dim 2) in the order of `made.tiles`, from the true ones."""
    off = np.asarray(positions) - made.positions(s)
    return _rms(off - off.mean(0))


def uneven_light(made: Acquisition, before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Coefficient of variation of the light over a tile, before and after a correction of a mosaic grid.

    Taken from what was done to the grid: the true light times the gain at each place of a tile."""
    gain = _folded(made, after) / np.maximum(_folded(made, before), 1e-6)
    left = gain * made.flat
    return float(made.flat.std()), float(left.std() / left.mean())


def uneven_focus(made: Acquisition, sag: np.ndarray) -> tuple[float, float]:
    """Planes RMS by which the surface of a tile is bent: as it is, and with `sag` (tile_1, tile_2) taken out."""
    return float(made.sag.std()), float((made.sag - sag).std())


def uneven_depth(made: Acquisition, gain: np.ndarray) -> tuple[float, float]:
    """Coefficient of variation over depth of the light in agarose, below its surface: as it is, and times `gain` (nz,)."""
    z = np.arange(made.tile[0])
    below = z > made.surface + 2
    light = made.beam * np.exp(-2.2 / made.tile[0] * AGAROSE * np.clip(z - made.surface, 0, None))
    before, after = light[below], (light * gain)[below]
    return float(before.std() / before.mean()), float(after.std() / after.mean())


def pair_error(made: Acquisition, fixed: int, moving: int, mapped: Callable[[np.ndarray], np.ndarray]) -> float:
    """RMS target error of a transform between two slices, over the middle of the canvas.

    `mapped` takes points (n, 2) of the fixed slice, in px of the stage, to those of the moving one."""
    points = _points(made) + made.stage[fixed]
    return _rms(mapped(points) - made.from_block(moving, made.to_block(fixed, points)))


def motor_error(made: Acquisition, fixed: int, moving: int) -> float:
    """As `pair_error`, where nothing is done but to believe the stage."""
    return pair_error(made, fixed, moving, lambda points: points)


def volume_score(made: Acquisition, volume: np.ndarray, origin: tuple[int, int, int] | None = None) -> dict[str, float]:
    """How like the block a volume (z, dim 1, dim 2) is, in tissue: correlation, NRMSE after a linear fit, SSIM, plane shifts.

    `origin` is where its voxel 0 lies in the block; searched for when not given, and one turn of all of it left out,
    which nobody can know. 0 in it means nothing there."""
    z0, *across = origin or place(made, volume)
    truth = made.block if origin else turned(made.block, volume, (z0, across[0], across[1]))
    block, part = _overlap(truth, volume, (z0, across[0], across[1]))
    use = (part > 0) & _tissue(block)
    truth, found = block[use].astype(float), part[use].astype(float)
    slope, offset = np.polyfit(found, truth, 1)
    off = _plane_shifts(block, part)
    fit = np.where(part > 0, slope * part + offset, 0)
    return {
        "z0": z0,
        "planes": len(part),
        "correlation": float(np.corrcoef(found, truth)[0, 1]),
        "nrmse": float(np.sqrt(np.mean((slope * found + offset - truth) ** 2)) / truth.std()),
        "ssim": _likeness(block, fit, use),
        "plane_shift_rms_px": _rms(off - np.median(off, 0)),
        "plane_shift_max_px": float(np.linalg.norm(off - np.median(off, 0), axis=1).max()),
    }


def place(made: Acquisition, volume: np.ndarray) -> tuple[int, int, int]:
    """Where in the block a volume lies: lateral by phase correlation of means over depth, then z by correlation."""
    block, middle = made.block, slice(len(volume) // 3, max(len(volume) // 3 + 1, 2 * len(volume) // 3))
    size = [max(a, b) for a, b in zip(block.shape[1:], volume.shape[1:])]
    seen = volume[middle].mean(0)
    best = (-2.0, 0, 0, 0)
    for z in range(0, max(1, len(block) - (middle.stop - middle.start)), 4):
        truth = block[z : z + middle.stop - middle.start].mean(0)
        a, b = _shift(_padded(truth, size), _padded(seen, size), 1).round().astype(int)
        r = _agreement(block, volume, (z - middle.start, a, b))
        best = max(best, (r, z - middle.start, int(a), int(b)))
    _, z, a, b = best
    return max((_agreement(block, volume, (k, a, b)), k, a, b) for k in range(z - 6, z + 7))[1:]


def turned(block: np.ndarray, volume: np.ndarray, origin: tuple[int, int, int]) -> np.ndarray:
    """The block as the volume has it, which lies turned and by less than a pixel beside `origin`.

    Found by the means over depth; the same for all planes."""
    from scipy import ndimage, optimize

    shared, part = _overlap(block, volume, origin)
    (z, *low), (planes, *size) = np.maximum(origin, 0), shared.shape
    whole, part = block[z : z + planes].mean(0), part.mean(0)
    window = tuple(slice(a, a + n) for a, n in zip(low, size))
    centre, seen = low + np.array(size) / 2, ndimage.minimum_filter(part, 9) > 0

    def laid(plane: np.ndarray, move: np.ndarray, order: int) -> np.ndarray:
        matrix = rotation(move[0])
        return ndimage.affine_transform(plane, matrix, centre - matrix @ centre + move[1:], order=order, mode="nearest")

    def unlike(move: np.ndarray) -> float:
        return -float(np.corrcoef(laid(whole, move, 1)[window][seen], part[seen])[0, 1])

    start = np.zeros((4, 3))
    start[1:] = np.diag((0.5, 1, 1))
    move = optimize.minimize(unlike, start[0], method="Nelder-Mead", options={"initial_simplex": start, "xatol": 0.01}).x
    return np.stack([laid(plane, move, 3) for plane in block])


def _agreement(block: np.ndarray, volume: np.ndarray, origin: tuple[int, int, int]) -> float:
    truth, part = _overlap(block, volume, origin)
    use = part > 0
    return float(np.corrcoef(truth[use], part[use])[0, 1]) if len(part) >= 4 and use.sum() > 1000 else -2.0


def _overlap(block: np.ndarray, volume: np.ndarray, origin: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What both have, where voxel 0 of `volume` is voxel `origin` of `block`."""
    low = [max(0, o) for o in origin]
    high = [max(lo, min(n, o + m)) for lo, n, m, o in zip(low, block.shape, volume.shape, origin)]
    return (block[tuple(map(slice, low, high))], volume[tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin))])


def _tissue(block: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter(block, (0, 4, 4)) > 0.4


def _likeness(truth: np.ndarray, fit: np.ndarray, use: np.ndarray) -> float:
    """Structural similarity of both, smoothed by a voxel, over `use` (Wang et al. 2004)."""
    from scipy import ndimage
    from skimage.metrics import structural_similarity

    width = float(np.ptp(np.percentile(truth, [1, 99])))
    both = [ndimage.gaussian_filter(v.astype(np.float64), 1) for v in (truth, fit)]
    return float(structural_similarity(*both, data_range=width, full=True)[1][use].mean())


def _plane_shifts(block: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(planes, 2): of every third plane that is mostly there."""
    window = np.outer(np.hanning(part.shape[1]), np.hanning(part.shape[2]))
    there = [z for z in range(0, len(part), 3) if (part[z] > 0).mean() > 0.5]
    if not there:
        return np.zeros((1, 2))
    return np.array([_shift((block[z] - block[z].mean()) * window, (part[z] - part[z].mean()) * window, 20) for z in there])


def _shift(fixed: np.ndarray, moving: np.ndarray, upsample: int) -> np.ndarray:
    from skimage.registration import phase_cross_correlation

    return np.asarray(phase_cross_correlation(fixed, moving, upsample_factor=upsample, normalization=None)[0])


def _padded(plane: np.ndarray, size: list[int]) -> np.ndarray:
    return np.pad(plane - plane.mean(), [(0, n - m) for n, m in zip(size, plane.shape)])


def _points(made: Acquisition) -> np.ndarray:
    """(81, 2) over the middle of the canvas."""
    side = np.linspace(0.2, 0.8, 9)
    return np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2) * made.canvas


def _folded(made: Acquisition, grid: np.ndarray) -> np.ndarray:
    """Sum over all tiles and over the planes below the surface: (tile_1, tile_2)."""
    (nz, t1, t2), (g1, g2) = made.tile, made.grid
    below = grid.reshape(nz, g1, t1, g2, t2)[int(made.surface + made.curvature) + 3 : nz - 4]
    return below.sum(axis=(0, 1, 3), dtype=np.float64)


def _rms(distances: np.ndarray) -> float:
    return float(np.sqrt((np.asarray(distances) ** 2).sum(1).mean()))
