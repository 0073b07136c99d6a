"""An atlas of a made block of serial sections: the block itself, coarser, turned and stretched in a way that is known.

atlas, mm (S, A, R)  --TO_BLOCK-->  block, mm from its middle (S, A, R)  --ORIENTATION-->  voxels of the block
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.orientation import affine
from ..core.space import NM_PER_MM
from ..core.volume import Image
from ..transform.affine_registration import Affine, Scan, rotation, sampled
from . import brain
from .oct import Acquisition

ORIENTATION = "PIR"  # of the slices: dim 0 to posterior, dim 1 (stage x) to inferior, dim 2 (stage y) to right
TO_BLOCK = Affine(rotation(np.deg2rad([4.0, -6.0, 5.0])) @ np.diag([1.04, 0.97, 1.02]), np.array([0.06, -0.04, 0.05]))
SIDE = 0.025  # mm, of the atlas's voxels
CUBE = 16  # voxels of the atlas along each side of what is compared


def template(made: Acquisition) -> Scan:
    """The atlas: as deep as the block, as wide as a slice; it shows 0 beyond the block."""
    from scipy.ndimage import gaussian_filter

    block, scale = made.block, np.array([made.voxel_um[0], made.voxel_um[1], made.voxel_um[1]]) / 1000
    to_ras = affine(ORIENTATION, scale.tolist(), (0, 0, 0))[:3, :3]  # of steps along the block's dims
    size = abs(to_ras @ (len(block), *made.canvas))[::-1]
    shape = np.ceil(size / SIDE).astype(int)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    points = TO_BLOCK((places - (shape - 1) / 2) * SIDE)
    at = points[:, ::-1] @ np.linalg.inv(to_ras).T + (np.array(block.shape) - 1) / 2
    values = sampled(gaussian_filter(block, 0.5 * SIDE / scale), at).reshape(shape)
    return Scan(values.astype(np.float32), np.full(3, SIDE), -(shape - 1) / 2 * SIDE)


def write(folder: Path, made: Acquisition) -> None:
    brain.nifti(folder / "atlas.nii.gz", template(made))


def truth() -> dict[str, Any]:
    """How the atlas lies, as JSON has it."""
    return {
        "orientation": ORIENTATION,
        "voxel_mm": SIDE,
        "to_block": {"matrix": TO_BLOCK.matrix.tolist(), "shift_mm": TO_BLOCK.shift.tolist()},
    }


def off(made: Acquisition, aligned: Image) -> np.ndarray:
    """(cubes, 3) voxels of the atlas by which cubes of the volume in its frame lie beside those of the atlas, along S, A, R.

    Raises DataError where no level of the volume has the atlas's grid."""
    atlas = template(made)
    levels = [n for n in range(aligned.levels) if np.allclose(np.array(aligned.at_level(n).scale) / NM_PER_MM, SIDE)]
    if not levels or aligned.level(levels[0]).shape != atlas.values.shape:
        raise DataError(f"{aligned.root}: expected a level of {SIDE} mm and {atlas.values.shape} voxels, as the atlas has")
    seen = aligned.read(level=levels[0])
    window = np.hanning(CUBE + 2)[1:-1]
    window = window[:, None, None] * window[:, None] * window
    found = []
    for corner in np.ndindex(*(n // (CUBE // 2) - 1 for n in seen.shape)):
        cube = tuple(slice(c * CUBE // 2, c * CUBE // 2 + CUBE) for c in corner)
        one, other = atlas.values[cube], seen[cube]
        if (other > 0).mean() > 0.9 and one.mean() > 0.5:  # tissue in both
            both = [(v - v.mean()) * window for v in (one, other)]
            found.append(shift(*both))
    return np.array(found)


def shift(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Voxels by which `other` is to be moved to lie on `one`: where they correlate best, by a parabola through three.

    Not where its absolute value is: of weak correlations the inverse may be the stronger one."""
    likeness = np.fft.ifftn(np.fft.fftn(one) * np.fft.fftn(other).conj()).real
    size = np.array(likeness.shape)
    best = np.array(np.unravel_index(likeness.argmax(), likeness.shape))
    steps = np.eye(len(size), dtype=int)
    before, after = (np.array([likeness[tuple((best + sign * step) % size)] for step in steps]) for sign in (-1, 1))
    part = (before - after) / 2 / (before + after - 2 * likeness.max())
    return (best + size // 2) % size - size // 2 + part
