"""Who is before and who behind a presynaptic density, by where it lies.

     post 1 | post 2          The density (*) is inside the presynaptic cell, at the membrane: `pre` is the segment
------------+-----------      that fills most of what is near it. `post` are those that touch `pre` on the side
      ****  cleft             of the density that is away from the middle of `pre`. Darkness plays no part.
       **
       pre
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 25.0  # nm, sigma of the weight by which segments fill the place of the density
AROUND = 100.0  # nm from the density in which the cleft is looked for
CLEFT = 30.0  # nm from `pre` up to which a segment touches it
LEAST = 0.15  # of all that touches, the share of a partner


class Partners(NamedTuple):
    """Segments, and of each the voxel nearest to the density, relative to it (z, y, x)."""

    pre: int
    pre_at: NDArray[np.int64]
    posts: list[tuple[int, NDArray[np.int64]]]


def reach(scale: Sequence[float]) -> tuple[int, ...]:
    """Voxels around a density that are looked at, z, y, x."""
    return tuple(int(AROUND / s) for s in scale)


def partners(near: NDArray[np.integer], middle: Sequence[int], scale: Sequence[float]) -> Partners | None:
    """Segments around a density; None where there are not two.

    near: labels (z, y, x) within `reach` of it, 0 = none; middle: its voxel among them; scale: nm a voxel."""
    from scipy import ndimage

    at = np.moveaxis(np.indices(near.shape), 0, -1) - np.asarray(middle)
    nm = at * np.asarray(scale, float)
    away = np.linalg.norm(nm, axis=-1)
    inside = (away <= AROUND) & (near > 0)
    ids, which = np.unique(near[inside], return_inverse=True)
    if len(ids) < 2:
        return None
    pre = ids[np.bincount(which, np.exp(-((away[inside] / NEAR) ** 2) / 2)).argmax()]
    own = inside & (near == pre)
    touching = inside & ~own & (ndimage.distance_transform_edt(~own, sampling=scale) <= CLEFT)
    out = -nm[own].mean(0)  # from the middle of `pre` to the density
    ahead = touching & (nm @ out > 0)
    touching = ahead if ahead.any() else touching
    found, many = np.unique(near[touching], return_counts=True)

    def nearest(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return at[mask][away[mask].argmin()]

    posts = [i for i, n in zip(found, many, strict=True) if n >= LEAST * many.sum()]
    if not posts:
        return None
    return Partners(int(pre), nearest(own), [(int(i), nearest(inside & (near == i))) for i in posts])
