"""Point -> supervoxel -> neurite: single points and batches, grouped by chunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.volume import Image
from . import limits
from .index import Index

BATCH = 10_000  # points that one request may ask for


def lookup(image: Image, index: Index, points: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Supervoxels and roots of points (z, y, x) in nm (voxels, where no size is known), and which lie in the volume."""
    where = np.asarray(points, np.float64).reshape(-1, 3)
    voxel = np.floor((where - image.origin) / image.scale + 0.5)
    inside = np.isfinite(voxel).all(1) & (voxel >= 0).all(1) & (voxel < image.shape).all(1)
    found = np.zeros(len(where), np.uint64)
    chunk = np.array(image.layout().chunk)
    own = voxel[inside].astype(np.int64)
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, key in enumerate(map(tuple, (own // chunk).tolist())):
        groups.setdefault(key, []).append(n)
    values = np.zeros(len(own), np.uint64)
    for key, members in groups.items():
        limits.check()
        if len(members) == 1:
            (z, y, x) = own[members[0]].tolist()
            values[members] = image.read((slice(z, z + 1), slice(y, y + 1), slice(x, x + 1))).ravel()
            continue
        corner = np.array(key) * chunk
        region = tuple(slice(int(c), int(min(c + s, n))) for c, s, n in zip(corner, chunk, image.shape, strict=True))
        values[members] = image.read(region)[tuple((own[members] - corner).T)]
    found[inside] = values
    return found, index.root_of(found), np.asarray(inside)
