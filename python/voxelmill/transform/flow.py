"""Smooth displacement fields between two sections, by dense Lucas-Kanade steps.

The products of slopes and differences (Lucas and Kanade 1981) are averaged over Gaussian windows that shrink
from four times to once `smoothness`, so a field is as smooth as its window. A little of windows three times as
wide is added: where a window holds next to no structure, they decide, and the field is carried on smoothly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .bandpass import Layer, Prepared
from .warp import sample_grid

NODE = 8  # px of a layer between nodes of its field
PRIOR = 0.03  # weight of the wider windows; its square is that of the whole section


def displacement(matrix: np.ndarray, a: Prepared, b: Prepared, smoothness: float) -> tuple[np.ndarray, int]:
    """The field that, added to `matrix` (2x3, fixed -> moving), lays prepared section `b` on `a`.

    Returns (2, gy, gx) float32 in section px (y, x), node [i, j] at (i, j) * spacing of fixed, and the spacing.
    Windows: 4 to 1.5 times `smoothness` (px, sigma) on half, 1.5 to 1 times on full resolution.
    """
    plan: list[tuple[int, Sequence[float]]] = [(-2, (4, 4, 2, 2, 1.5, 1.5)), (-1, (1.5, 1, 1, 1))]
    if len(a.layers) == 1:
        plan = [(-1, (4, 4, 2, 2, 1, 1))]
    finest = a.layers[-1]
    sigma = max(smoothness, 2 * NODE * finest.scale)  # smaller windows would follow the noise
    field = np.zeros((2, 2, 2), np.float32)
    for index, windows in plan:
        field = _flow(matrix, a.layers[index], b.layers[index], field, [sigma * w for w in windows])
    spacing = int(2 * NODE * finest.scale)
    y, x = (
        (finest.positions(np.arange(-(-(n - 1) // spacing) + 1) * float(spacing)) + 0.5) * g / k - 0.5
        for n, g, k in zip(a.shape, field.shape[1:], finest.image.shape)
    )
    return sample_grid(field, *np.meshgrid(y, x, indexing="ij")).astype(np.float32), spacing


def _flow(matrix: np.ndarray, fixed: Layer, moving: Layer, field: np.ndarray, windows: Iterable[float]) -> np.ndarray:
    """Lucas-Kanade steps, one a window sigma (px); fields are (2, gy, gx) over the layer, in section px."""
    import cv2

    scale, image = np.float32(fixed.scale), fixed.image
    ny, nx = image.shape
    grid = (-(-nx // NODE), -(-ny // NODE))
    m = on_layer(matrix, fixed).astype(np.float32)
    y, x = np.arange(ny, dtype=np.float32)[:, None], np.arange(nx, dtype=np.float32)
    base = [m[k, 0] * y + m[k, 1] * x + m[k, 2] for k in (0, 1)]
    gy, gx = fixed.slopes
    field = np.stack([cv2.resize(f, grid, interpolation=cv2.INTER_CUBIC) for f in field])
    for window in windows:
        at = [p + cv2.resize(f, (nx, ny), interpolation=cv2.INTER_CUBIC) / scale for p, f in zip(base, field)]
        seen, both = remapped(at, moving, fixed)
        ff, fm = float((image * image * both).sum()), float((image * seen * both).sum())
        if fm <= 0.02 * ff:
            break
        rest = image - seen * np.float32(ff / fm)
        wy, wx = gy * both, gx * both
        yy, yx, xx, yr, xr = (
            _averaged(p, grid, window / fixed.scale / NODE) for p in (wy * gy, wy * gx, wx * gx, wy * rest, wx * rest)
        )
        size = np.maximum(yy * xx - yx * yx, 1e-12)
        step = np.stack([xx * yr - yx * xr, yy * xr - yx * yr]) / size
        # A step of more than a fraction of its window is not supported by it.
        step *= np.minimum(1, window / scale / 4 / np.maximum(np.hypot(*step), 1e-6)).astype(np.float32)
        field = field + step * scale
    return field


def _averaged(product: np.ndarray, grid: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussian mean (sigma in nodes) on the grid, with a little of wider ones for where it is empty."""
    import cv2

    nodes = cv2.resize(product, grid, interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(nodes, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    wide = cv2.GaussianBlur(nodes, (0, 0), 3 * sigma, borderType=cv2.BORDER_REFLECT)
    return near + np.float32(PRIOR) * wide + np.float32(PRIOR**2 * float(nodes.mean()))


def on_layer(matrix: np.ndarray, layer: Layer) -> np.ndarray:
    """A matrix between section positions as one between positions on a layer."""
    out, half = matrix.copy(), (layer.scale - 1) / 2
    out[:, 2] = (matrix[:, 2] + (matrix[:, 0] + matrix[:, 1] - 1) * half) / layer.scale
    return out


def remapped(at: Sequence[np.ndarray], moving: Layer, fixed: Layer) -> tuple[np.ndarray, np.ndarray]:
    """`moving` at positions (y, x), and 1 where both sections have signal there."""
    import cv2

    def pick(image: np.ndarray) -> np.ndarray:
        return cv2.remap(image, at[1], at[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    both = pick(moving.signal) > 0.999
    if fixed.mask is not None:
        both &= fixed.mask > 0.999
    return pick(moving.image), both.astype(np.float32)
