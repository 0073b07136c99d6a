"""Made volumes whose brightness drifts by a known gain."""

from __future__ import annotations

import numpy as np


def lit(seed: int = 20, n: int = 36, strength: float = 0.4, looks: float = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An egg of four tissues with speckle, where it is, and log of the gain that it is seen with."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:n, :n, :n] / (n - 1) * 2 - 1
    inside = (z / 0.85) ** 2 + (y / 0.75) ** 2 + (x / 0.9) ** 2 < 1
    regions = ndimage.gaussian_filter(rng.normal(size=(n, n, n)), n / 30)
    regions /= regions.std()
    values = np.select([regions < -0.6, regions < 0.3, regions < 1], [0.35, 0.5, 0.62], 0.8)
    a, b, c, d = rng.normal(size=4) * strength / 2
    log = a * z + b * y + c * (x * x - 0.33) + d * y * x + 0.6 * strength * np.cos(1.5 * y + x)
    speckle = rng.gamma(looks, 1 / looks, (n, n, n))
    return np.where(inside, values * np.exp(log), 0.02) * speckle, inside, log
