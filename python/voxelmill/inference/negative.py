"""Whether a network finds membranes in the negative of a volume only: then they are brighter than what they enclose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.volume import Image
from ..transform import contrast
from . import affinities

SAMPLE = (9, 192, 192)  # voxels in the middle of the volume that are looked at
LEAST = 64  # px a side: of pieces of FIB-25 and gala of 48 px, 3 of 27 were taken for their negatives
FEWEST = 0.05  # share of faces between objects, below which nothing was found
BETTER = 1.5  # times; of the volumes at hand the right way round is 2.3 times better or more


def found(run: affinities.Network, grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Share of faces in sections (z, y, x) that surely lie between objects, and that by how much doubt there is elsewhere."""
    counts = np.stack([np.bincount(section.ravel(), minlength=256) for section in grey])
    whole = tuple(slice(0, n) for n in grey.shape)
    likely = affinities.affinities(run, grey, whole, affinities.grey_of(counts))[1:].astype(np.float32) / 255
    parted = float((likely < 0.2).mean())
    return parted, parted / max(float((likely * (1 - likely)).mean()), 1e-6)


def better(run: affinities.Network, source: Image) -> bool:
    """Whether the negative of a uint8 volume, in whose sections 0 is no data, is understood better than the volume."""
    middle = tuple(slice((n - s) // 2, (n + s) // 2) for n, s in ((n, min(n, s)) for n, s in zip(source.shape, SAMPLE)))
    grey = source.read(middle)
    if min(grey.shape[1:]) < LEAST or not grey.any():
        return False
    (_, here), (parted, there) = (found(run, one) for one in (grey, contrast.negative(grey)))
    return parted > FEWEST and there > BETTER * here
