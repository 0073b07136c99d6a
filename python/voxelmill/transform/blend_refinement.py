"""Blend refinement: what two slices, laid where the solution has them, are still apart where they are mixed.

Slabs from the middle of what both show are laid on each other, and their shift is measured; all shifts are solved together,
as those of pairs were. A shift beyond the bound is no rest but a mistake, and is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..core.volume import Image
from .offsets import Offsets
from .pairs import Laid
from .register_pairwise import SLAB, slab
from .registration import estimate_pair
from .warp import compose, invert

FLOOR = 0.1  # px that a right shift may be off by


def rests(images: Mapping[int, Image], laid: Sequence[Laid], most: float) -> np.ndarray:
    """(slices, 2) px to be added to the content of each slice, mean 0."""
    found = {}
    for k, (one, other) in enumerate(pairwise(laid)):
        shift = rest(images, one, other)
        if shift is not None and np.hypot(*shift) <= most:
            found[k, k + 1] = shift
    n = len(laid)
    links = list(found)
    solver = Offsets(links, [1.0] * len(links), np.arange(n), pairwise(range(n)), n)
    return solver.solve(np.array(list(found.values())).reshape(-1, 2), FLOOR)


def rest(images: Mapping[int, Image], one: Laid, other: Laid) -> np.ndarray | None:
    """px to be added to the content of the second slice of a pair; None where nothing is seen by both."""
    first, stop = max(one.z, other.z), min(one.z + one.planes, other.z + other.planes)
    if stop - first < 2:
        return None
    planes = min(SLAB, stop - first)
    z = (first + stop - planes) // 2
    fixed, moving = (seen_by(images[s.number], s, z, planes) for s in (one, other))
    found = estimate_pair(fixed, moving, level="translation", max_size=1024)
    return np.array(found.correction[:2]) if found.trusted else None


def seen_by(image: Image, s: Laid, z: int, planes: int) -> np.ndarray:
    """Mean of planes of the volume, as one slice shows them, (dim 1, dim 2) of the volume."""
    from .registration import _warped

    flat = slab(image, z - s.z, planes)
    return _warped(flat, np.array(s.matrix), flat.shape)


def moved(s: Laid, by: np.ndarray) -> Laid:
    """With its content moved by (dim 1, dim 2) px of the volume."""
    there = np.array([[1.0, 0, by[0]], [0, 1, by[1]]])
    return s.model_copy(update={"matrix": compose(np.array(s.matrix), invert(there)).tolist()})
