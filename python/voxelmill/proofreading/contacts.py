"""Which supervoxels of a neurite touch, and over how many faces of voxels: shard by shard, kept once found."""

from __future__ import annotations

import contextlib
import secrets
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..catalog import limits
from ..catalog.regions import shards_of
from ..catalog.store import UNREADABLE
from ..core import blocks
from ..core.volume import Image, Region

Pairs = tuple[np.ndarray, np.ndarray]


def touching(labels: np.ndarray, own: tuple[int, ...]) -> Pairs:
    """Pairs (a < b) of neighbouring labels in a 3-D array, and the faces they share; faces whose first voxel lies beyond
    `own`, the part that is this shard's, are another's."""
    found = []
    for axis in range(3):
        first = labels[tuple(slice(0, min(n, labels.shape[k] - (k == axis))) for k, n in enumerate(own))]
        shifted = tuple(slice(int(k == axis), n + int(k == axis)) for k, n in enumerate(first.shape))
        second = labels[shifted]
        edge = (first != second) & (first > 0) & (second > 0)
        found.append(np.stack([first[edge], second[edge]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    if not len(pairs):
        return np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)
    unique, counts = np.unique(pairs.astype(np.uint64), axis=0, return_counts=True)
    return unique, counts.astype(np.int64)


def of_shard(image: Image, n: int, kept: Path | None = None) -> Pairs:
    """Contacts in a shard, those with the next shards among them; read from the folder `kept` if they were found before."""
    path = kept / f"{n}.npz" if kept else None
    if path and path.exists():
        with contextlib.suppress(*UNREADABLE, zipfile.BadZipFile, zlib.error), np.load(path, allow_pickle=False) as held:
            return held["pairs"], held["faces"]  # a damaged one is found again
    region = blocks.region(image.layout(), n)
    wider: Region = tuple(slice(s.start, min(s.stop + 1, e)) for s, e in zip(region, image.shape, strict=True))
    pairs, faces = touching(image.read(wider), tuple(s.stop - s.start for s in region))
    if path:
        with contextlib.suppress(OSError):  # a store that cannot be written: found again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{secrets.token_hex(4)}.npz")
            np.savez(partial, pairs=pairs, faces=faces)
            partial.rename(path)
    return pairs, faces


def among(image: Image, supervoxels: np.ndarray, kept: Path | None = None) -> Pairs:
    """Contacts among some supervoxels: places (a, b) in the ascending `supervoxels`, and faces.

    Only the shards that they may lie in are looked at."""
    total: dict[tuple[int, int], int] = {}
    for n in shards_of(image, supervoxels):
        limits.check()
        pairs, faces = of_shard(image, n, kept)
        at = np.searchsorted(supervoxels, pairs)
        good = (supervoxels[np.minimum(at, len(supervoxels) - 1)] == pairs).all(axis=1)
        for a, b, f in zip(*at[good].T.tolist(), faces[good].tolist(), strict=True):
            total[a, b] = total.get((a, b), 0) + f
    ends = np.array(list(total), np.int64).reshape(-1, 2)
    return ends, np.array(list(total.values()), np.int64)
