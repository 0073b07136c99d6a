"""Made stacks of sections whose geometry is known in every pixel.

Each section is a common picture (`common` of its variance; the rest is the section's own) seen through a
shift, a turn and a smooth displacement field, with contrast, brightness and noise of its own. One section is
blank, one is corrupt. section_z[p] = picture(T_z(p)), so a map M from pixels of section i to positions in
section j is wrong by |T_j(M(p)) - T_i(p)| px.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from voxelmill.testing.mosaics import texture as ridges


@dataclass(frozen=True)
class Stack:
    """sections (z, y, x) uint8; positions (z, 2, y, x) float32, T_z; numbers of the two bad sections."""

    sections: np.ndarray
    positions: np.ndarray
    blank: int
    corrupt: int


def textures(folder: Path | None) -> list[np.ndarray]:
    """Grey TIFFs of a folder as float32; none without a folder."""
    if folder is None:
        return []
    import tifffile

    return [tifffile.imread(f).astype(np.float32) / 255 for f in sorted(folder.glob("*.tif"))]


def stack(
    seed: int,
    texture: list[np.ndarray],
    n_sections: int = 9,
    size: int = 640,
    common: float = 0.7,
    shift_px: float = 6.0,
    turn_deg: float = 1.0,
    elastic_px: float = 3.0,
    elastic_sigma_px: float = 60.0,
) -> Stack:
    """A made stack: shifts and turns follow a damped random walk, fields are drawn anew for each section."""
    rng = np.random.default_rng(seed)
    margin = int(size * 0.35) + 32
    big = (size + 2 * margin,) * 2
    shared = _standardised(_canvas(big, texture, rng))
    y, x = np.mgrid[:size, :size].astype(np.float32)
    centre = (size - 1) / 2
    shift, turn = np.zeros(2), 0.0
    blank, corrupt = n_sections // 3, 2 * n_sections // 3
    sections = np.zeros((n_sections, size, size), np.uint8)
    positions = np.zeros((n_sections, 2, size, size), np.float32)
    for z in range(n_sections):
        own = _standardised(_canvas(big, texture, rng))
        picture = np.sqrt(common) * shared + np.sqrt(1 - common) * own
        if z:
            shift = shift * 0.8 + rng.normal(0, shift_px, 2)
            turn = turn * 0.8 + rng.normal(0, turn_deg)
        field = np.stack(
            [
                ndimage.gaussian_filter(rng.standard_normal((size, size)).astype(np.float32), elastic_sigma_px, mode="wrap")
                for _ in (0, 1)
            ]
        )
        field *= elastic_px / np.sqrt((field**2).sum(0).mean())
        c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        positions[z, 0] = c * (y - centre) - s * (x - centre) + centre + shift[0] + field[0]
        positions[z, 1] = s * (y - centre) + c * (x - centre) + centre + shift[1] + field[1]
        seen = ndimage.map_coordinates(picture, positions[z] + margin, order=3, mode="reflect")
        seen = 128 + 45 * seen * rng.uniform(0.85, 1.15) + rng.uniform(-8, 8) + rng.normal(0, 8, seen.shape)
        if z == corrupt:  # a band lost, heavy noise, a dark blob
            seen[size // 3 : size // 3 + size // 5] = 250
            seen += rng.normal(0, 50, seen.shape)
            seen[((y - 0.7 * size) ** 2 + (x - 0.3 * size) ** 2) < (size / 8) ** 2] = 5
        if z == blank:
            seen[:] = 0
        sections[z] = np.clip(seen, 0, 255).astype(np.uint8)
    return Stack(sections, positions, blank, corrupt)


def _standardised(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def _canvas(shape: tuple[int, int], texture: list[np.ndarray], rng: np.random.Generator, feather: int = 48) -> np.ndarray:
    """Textures quilted at random turns and flips with feathered seams; noise with ridges without any."""
    if not texture:
        return ridges(shape, rng, clouds=0.8)
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    n = texture[0].shape[0]
    ramp = np.clip(np.minimum(np.arange(n) + 1, n - np.arange(n)) / feather, 1e-3, 1).astype(np.float32)
    window = np.minimum.outer(ramp, ramp)
    for y in range(-feather, shape[0], n - feather):
        for x in range(-feather, shape[1], n - feather):
            t = np.rot90(texture[rng.integers(len(texture))], rng.integers(4))
            if rng.integers(2):
                t = t[:, ::-1]
            y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + n, shape[0]), min(x + n, shape[1])
            if y1 > y0 and x1 > x0:
                part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
                total[y0:y1, x0:x1] += t[part] * window[part]
                weight[y0:y1, x0:x1] += window[part]
    return total / weight
