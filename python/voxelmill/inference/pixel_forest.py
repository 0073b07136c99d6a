"""Boundaries by decision trees on what is around a pixel (`--segmentation forest`): quick to train on a few sections.

Of a pixel the trees see, at each of SIGMAS: grey level, gradient, the two curvatures, and the sections above and below.
After Sommer et al. 2011 (ilastik). They say how likely it lies at a boundary; two voxels belong together as far as neither
does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMAS = (0.7, 1.5, 3.0, 6.0)  # px
FEATURES = 6 * len(SIGMAS)
EVEN = -2.0  # logit of the affinity where a boundary is an even chance: fits agglomeration's threshold, on FIB-25 z 100-124


def features(sections: NDArray[np.float32], z: int) -> NDArray[np.float32]:
    """What is around each pixel of section z of (z, y, x), of mean 0 and deviation 1: float32 (y * x, FEATURES)."""
    import cv2

    above, below = max(z - 1, 0), min(z + 1, len(sections) - 1)
    columns: list[NDArray[np.float32]] = []
    for sigma in SIGMAS:
        over, here, under = (cv2.GaussianBlur(sections[n], (0, 0), sigma) for n in (above, z, below))
        y, x, yy, xx, xy = (cv2.Sobel(here, cv2.CV_32F, *order) for order in ((0, 1), (1, 0), (0, 2), (2, 0), (1, 1)))
        mean, apart = (xx + yy) / 2, cv2.magnitude((xx - yy) / 2, xy)
        columns += [here, over + under - 2 * here, np.minimum(over, under), cv2.magnitude(y, x), mean + apart, mean - apart]
    return np.stack([column.ravel() for column in columns], -1)


def network(session: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The trees as a network of `affinities`: (1, z, y, x) -> logits (3, z, y, x) of a voxel and the one before it."""

    def look(x: NDArray[np.float32]) -> NDArray[np.float32]:
        sections = x[0]
        odds = np.empty_like(sections)  # log-odds of a boundary
        for z in range(len(sections)):
            odds[z] = session.run(None, {"x": features(sections, z)})[0].reshape(sections.shape[1:])
        return np.stack([EVEN - np.maximum(odds, np.roll(odds, 1, axis)) for axis in range(3)])

    return look
