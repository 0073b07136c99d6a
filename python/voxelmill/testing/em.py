"""Made EM-like volumes with exact truth, for tests and benchmarks."""

from __future__ import annotations

import numpy as np


def neurites(
    shape: tuple[int, int, int] = (24, 96, 96), spacing: int = 32, seed: int = 0, noise: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Bright tubes along z between dark membranes: (raw uint8, labels uint32), both (z, y, x).

    Cells of a Voronoi diagram whose centres wander from section to section, brightest in their middle; the
    membranes are five px wide and carry label 0. Some hold a darker spot, as a synapse would.
    """
    depth, height, width = shape
    rng = np.random.default_rng(seed)
    grid = (
        np.stack(
            np.meshgrid(np.arange(spacing // 2, height, spacing), np.arange(spacing // 2, width, spacing), indexing="ij"), -1
        )
        .reshape(-1, 2)
        .astype(float)
    )
    centres = grid + rng.uniform(-0.25, 0.25, grid.shape) * spacing
    drift = rng.normal(0, 0.15, (depth, *grid.shape)).cumsum(0)
    yy, xx = np.mgrid[:height, :width]
    raw, labels = np.empty(shape, np.uint8), np.empty(shape, np.uint32)
    for z in range(depth):
        at = centres + drift[z]
        d = np.hypot(yy[..., None] - at[:, 0], xx[..., None] - at[:, 1])
        two = np.partition(d, 1, axis=-1)[..., :2]
        depth_in = two[..., 1] - two[..., 0]  # twice the distance to the membrane, about
        edge = depth_in < 5
        labels[z] = np.where(edge, 0, d.argmin(-1) + 1)
        grey = 40 + 150 * (1 - np.exp(-np.maximum(depth_in - 4, 0) / 8)) + rng.normal(0, noise, (height, width))
        spots = edge & (np.hypot((yy - 5) % 31 - 15, (xx + 7 + z // 4) % 37 - 18) < 4)
        raw[z] = np.clip(np.where(spots, 15, grey), 0, 255)
    return raw, labels
