"""Align to RAS: a block of a level of the subject's volume in the atlas's frame, each voxel resampled once (linear).

Tiles are as large as chunks: what a turned tile reaches in the subject's volume stays small.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..core import levels
from ..core.metadata import attributes
from ..core.provenance import Task
from ..core.released import same_level
from ..core.shared import Oriented
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from .register_to_atlas import stored_affine, to_voxels

TILE = 96  # voxels along each axis that are made at a time


class Parameters(Oriented):
    """Alignment to RAS."""


def run(p: Parameters, task: Task, *, volume: In, template: In, block: str, output: Out) -> None:
    """`block` is a level and shards of it: `1.0-3`."""
    source, grid = open_image(volume), open_image(template)
    n, target, regions = same_level(grid, block, output)
    matrix = to_voxels(source, n, p.ras_input_orientation, stored_affine(attributes(template)), grid.at_level(n))
    task.do(partial(write, source, target, n, matrix), list(regions), f"shards of level {n} aligned")


def write(source: Image, target: Image, n: int, matrix: np.ndarray, region: Region) -> None:
    """Write a region. matrix: (3, 4) from its voxels to those of the source."""
    made = np.zeros([r.stop - r.start for r in region], np.float32)
    for tile in levels.tiles(region, (TILE,) * 3):
        made[tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(tile, region))] = pulled(
            source, n, matrix, tile
        )
    target.write(region, made, n)


def pulled(source: Image, n: int, matrix: np.ndarray, tile: Region) -> np.ndarray:
    """What the source has where a tile lies; 0 outside."""
    from scipy.ndimage import affine_transform

    size = [t.stop - t.start for t in tile]
    ends = np.array([[tile[k].start if bit >> k & 1 else tile[k].stop - 1 for k in range(3)] for bit in range(8)])
    reached = ends @ matrix[:, :3].T + matrix[:, 3]
    low = np.maximum(np.floor(reached.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(reached.max(0)).astype(int) + 1, source.level(n).shape)
    if (high <= low).any():
        return np.zeros(size, np.float32)
    crop = source.read(tuple(slice(a, b) for a, b in zip(low, high)), n)
    offset = matrix[:, :3] @ [t.start for t in tile] + matrix[:, 3] - low
    return affine_transform(crop, matrix[:, :3], offset, tuple(size), np.float32, order=1, mode="grid-constant")
