"""How well a slice goes with its neighbours: 0 (nothing in common) to 1.

    quality = 0.5 SSIM + 0.3 correlation of edges + 0.2 ratio of variances

of means over a few planes of the same tissue: what slice n shows below its thickness, slice n + 1 shows at its surface.
Means, since single planes of OCT are speckle.
"""

from __future__ import annotations

import numpy as np

SMOOTH = 2.0  # px: sigma before anything is compared
WINDOW = 3.5  # px: sigma of the window of SSIM (Wang et al. 2004, twice theirs for speckle)
LEAST_SHARED = 0.05


def quality(one: np.ndarray, other: np.ndarray) -> float:
    """Of two pictures (ny, nx), 0 to 1, that show the same tissue at the same place; 0 is where nothing was acquired."""
    import cv2

    shared = (one > 0) & (other > 0)
    if shared.mean() < LEAST_SHARED:
        return 0.0
    a, b = (cv2.GaussianBlur(v.astype(np.float32), (0, 0), SMOOTH) for v in (one, other))
    spread = float(a[shared].var()), float(b[shared].var())
    ratio = min(spread) / max(spread) if max(spread) > 0 else 0.0
    edges = max(0.0, _correlation(_edges(a)[shared], _edges(b)[shared]))
    return float(np.clip(0.5 * max(0.0, _ssim(a, b, shared)) + 0.3 * edges + 0.2 * ratio, 0, 1))


def _ssim(a: np.ndarray, b: np.ndarray, shared: np.ndarray) -> float:
    """Mean structural similarity, with the range of both as the dynamic range."""
    import cv2

    def mean(v: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(v, (0, 0), WINDOW)

    reach = float(np.ptp(np.concatenate([a[shared], b[shared]]))) or 1.0
    c1, c2 = (0.01 * reach) ** 2, (0.03 * reach) ** 2
    ma, mb = mean(a), mean(b)
    va, vb, vab = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    index = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return float(index[shared].mean())


def _edges(v: np.ndarray) -> np.ndarray:
    gy, gx = np.gradient(v)
    return np.hypot(gy, gx)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0
