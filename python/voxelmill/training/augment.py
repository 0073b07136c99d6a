"""How images are changed before a network learns from them, so that it knows more than the data it was given.

Cells: frames in units of background noise, float32 (y, x). EM: blocks of grey values about 0-255, float32
(z, y, x). Every function takes a random generator and returns a new array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..transform import contrast

Image = NDArray[np.float32]
Rng = np.random.Generator


def blur(x: Image, sigma: float) -> Image:
    import cv2

    return cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) if sigma > 0.1 else x


def noise(rng: Rng, shape: tuple[int, ...]) -> Image:
    return rng.standard_normal(shape, np.float32)


def turn(rng: Rng, zoom: float, side: int, at: NDArray) -> NDArray:
    """Affine map (2, 3), x before y, from a patch of `side` px to the image: turned, mirrored, zoomed round `at` (y, x)."""
    angle = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    return np.c_[matrix, at[::-1] - matrix @ np.full(2, (side - 1) / 2)]


def cells(rng: Rng, x: Image, labels: NDArray[np.int32]) -> Image:
    """A frame as another microscope would show it: other phase, halo, focus, light, noise, inverted, DIC."""
    import cv2

    def chance(p: float) -> bool:
        return rng.random() < p

    inside = (labels > 0).astype(np.float32)
    if chance(0.06):  # fluorescence: a bright body of its own level, little else
        level = rng.uniform(3, 20, int(labels.max()) + 1).astype(np.float32)
        level[0] = 0
        x = blur(level[labels], rng.uniform(0.6, 1.5)) + 0.2 * x
    elif chance(0.06):  # DIC: light from one side
        angle, wide = rng.uniform(0, 2 * np.pi), blur(x + rng.uniform(0, 6) * inside, rng.uniform(0.6, 1.2))
        relief = np.cos(angle) * cv2.Sobel(wide, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(wide, cv2.CV_32F, 0, 1)
        x = 0.5 * relief + rng.uniform(0, 0.4) * x
    if chance(0.3):  # halo: a ring outside of the outline
        ring = blur(inside, rng.uniform(1.0, 3.0)) * (1 - inside)
        x = x + rng.uniform(-4, 12) * ring
    if chance(0.2):  # bodies darker or brighter than they are
        x = x + rng.uniform(-5, 5) * blur(inside, 0.7)
    if chance(0.3):  # defocus to either side
        wide = blur(x, rng.uniform(1.0, 2.5))
        x = x + rng.uniform(-0.9, 0.9) * (x - wide)
    if chance(0.25):
        x = blur(x, rng.uniform(0.4, 1.2))
    if chance(0.15):
        x = -x
    if chance(0.3):  # uneven light
        side = x.shape[0]
        coarse = rng.normal(0, 1, (3, 3)).astype(np.float32)
        field = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        x = x * np.exp(0.3 * field) + rng.uniform(0, 3) * field
    x = x * np.float32(np.exp(rng.normal(0, 0.5)))
    if chance(0.5):
        x = x + rng.uniform(0, 1.2) * blur(noise(rng, x.shape), rng.choice([0.0, 0.0, 0.6]))
    return x


def displacement(rng: Rng, sections: int, side: int, strength: float, jitter: float, jumps: float) -> Image:
    """Where sections are pulled to, px: float32 (z, 2, y, x), y before x.

    A smooth field common to all (`strength`, px), one shift per section (`jitter`, px) and, once in a while, a jump of
    all sections from one on (`jumps`, px).
    """
    import cv2

    def smooth(amount: float) -> Image:
        coarse = rng.normal(0, amount, (4, 4, 2)).astype(np.float32)
        return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)

    first, last = smooth(strength), smooth(strength)
    share = np.linspace(0, 1, sections, dtype=np.float32)[:, None, None, None]
    field = (1 - share) * first + share * last
    field += rng.normal(0, jitter, (sections, 2, 1, 1)).astype(np.float32)
    if jumps:
        field[rng.integers(1, sections) :] += rng.uniform(-jumps, jumps, (2, 1, 1)).astype(np.float32)
    return field


def em_contrast(rng: Rng, x: Image, labels: NDArray[np.int32], sections: bool) -> Image:
    """Grey values as another stain, detector or section gives them; `sections`: as sections that were cut apart."""
    import cv2

    def chance(p: float) -> bool:
        return rng.random() < p

    x = x.copy()
    if chance(0.5 if sections else 0.15):  # membranes stained more strongly than they are
        dark, wide = rng.uniform(10, 60), rng.uniform(0.8, 2.0)
        for z in range(len(x)):
            ids = labels[z].astype(np.float32)
            away = cv2.distanceTransform((cv2.dilate(ids, np.ones((3, 3))) == ids).astype(np.uint8), cv2.DIST_L2, 3)
            x[z] -= dark * np.exp(-0.5 * np.minimum(away / wide, 9) ** 2)
    if chance(0.3):  # organelles and cytoplasm: grain of some px
        grain = np.stack([blur(n, rng.uniform(1.0, 3.0)) for n in noise(rng, x.shape)])
        x += rng.uniform(0, 12) * grain / max(float(grain.std()), 1e-3)
    if chance(0.4):
        low, high = 20.0, 235.0
        share = np.clip((x - low) / (high - low), 0, 1)
        x = low + (high - low) * share ** np.float32(np.exp(rng.normal(0, 0.35)))
    for z in range(len(x)):
        if chance(0.3):  # one focus for a section
            x[z] = blur(x[z], rng.uniform(0.3, 1.0))
        if sections or chance(0.1):
            x[z] = 128 + (x[z] - 128) * np.exp(rng.normal(0, 0.12)) + rng.normal(0, 8)
    if chance(0.3):
        x = np.stack([blur(s, rng.uniform(0.4, 1.0)) for s in x])
    if chance(0.25):
        x = np.stack([s + rng.uniform(0.3, 1.2) * (s - blur(s, 1.5)) for s in x])
    if chance(0.6):
        x += rng.uniform(0, 14) * noise(rng, x.shape)
    if chance(0.5):  # as `preprocess` leaves it
        x = contrast.enhance(np.clip(x, 0, 255).astype(np.uint8), sigma=0.7 * rng.integers(2)).astype(np.float32)
    bad = rng.random(len(x)) < (0.05 if sections else 0.01)
    for z in np.flatnonzero(bad).tolist():  # lost, blank or out of focus
        kind = rng.integers(3)
        x[z] = 0 if kind == 0 else x[z].mean() + 3 * noise(rng, x[z].shape) if kind == 1 else blur(x[z], rng.uniform(2, 4))
    return x.astype(np.float32)
