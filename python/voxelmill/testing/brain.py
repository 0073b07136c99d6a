"""A made brain without any symmetry, as an atlas in RAS and as a subject's volume that lies in any way in its block."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.orientation import RAS, affine
from ..serving.export_nifti import header
from ..transform.affine_registration import Affine, Scan, sampled

SIDE = 0.05  # mm, of voxels


def brain(shape: tuple[int, int, int] = (44, 52, 60), seed: int = 0) -> Scan:
    """Axes S, A, R: an egg, slanted, with tissues, and a bright body in front, below, to the left."""
    from scipy import ndimage

    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    regions = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    inside = (z / 0.7 + 0.1 * y) ** 2 + (y / 0.8) ** 2 + (x / 0.75 - 0.1 * y) ** 2 < 1
    values = np.where(inside, 0.5 + 0.2 * np.tanh(regions / regions.std()), 0)
    values += 0.4 * ((z + 0.15) ** 2 + (y - 0.3) ** 2 + (x + 0.3) ** 2 < 0.03)
    return Scan(ndimage.gaussian_filter(values, 0.8).astype(np.float32), np.full(3, SIDE), np.array([-1.0, -2.0, -1.5]))


def as_seen(
    atlas: Scan, to_subject: Affine, code: str, shape: Sequence[int], looks: float = 20
) -> tuple[np.ndarray, np.ndarray]:
    """A block (dim 0, 1, 2) of this shape that shows the brain where the affine says, lying by the code; and its origin.

    The transform takes points of the atlas (S, A, R, mm) to points of the subject."""
    middle = to_subject(atlas.middle()[None])[0][::-1]  # R, A, S
    turn = affine(code, (SIDE,) * 3, (0, 0, 0))[:3, :3]
    origin = turn.T @ middle / SIDE - SIDE * (np.array(shape) - 1) / 2
    back = np.linalg.inv(to_subject.matrix)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    points = ((origin + grid * SIDE) @ (turn.T / SIDE))[:, ::-1]  # S, A, R of the subject
    places = ((points - to_subject.shift) @ back.T - atlas.origin) / atlas.scale
    values = sampled(atlas.values, places) * np.random.default_rng(1).gamma(looks, 1 / looks, len(grid))
    return values.reshape(tuple(shape)), origin


def nifti(path: Path, scan: Scan) -> Path:
    """The atlas as a file."""
    to_ras = affine(RAS, scan.scale.tolist(), scan.origin.tolist())
    with gzip.open(path, "wb", 1) as file:
        file.write(header(scan.values.shape, to_ras, "made") + np.ascontiguousarray(scan.values, "<f4").tobytes())
    return path
