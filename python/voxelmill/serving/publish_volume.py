"""Publish volume: the subject's volume with all its levels (`resolutions.py`).

The stack's files are linked, and so are those of levels that `make_levels` has made; the others are made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..core import blocks, levels
from ..core.metadata import multiscales, write_group
from ..core.provenance import Task
from ..core.released import create_level
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .multiscale import SAMPLED, link_level_0, omero
from .resolutions import Resolutions, plan, voxels, write_shard


class Parameters(Resolutions):
    """The subject's volume."""


def run(p: Parameters, task: Task, *, volume: In, parts: list[In] | None = None, name: str = "", output: Out) -> None:
    image = open_image(volume)
    found = plan(p, image)
    task.carry(output, blocks.join(parts or [], output))
    if found[0].linked:
        task.carry(output, link_level_0(volume, output, not parts))
    target = Image(output, found[0].space)
    for n, level in enumerate(found):
        if not target.path(n).exists():
            create_level(output, n, level.lay, p.ome_zarr_version)
            shards = list(levels.tiles(tuple(slice(0, e) for e in level.lay.shape), level.lay.shard))
            task.do(partial(write_shard, target, n, image, level.steps), shards, f"shards of level {n}")
        blocks.require(level.lay, target.path(n))
    entry = multiscales([level.space for level in found], name) | {"type": "mean"}
    write_group(
        output,
        {"multiscales": [entry], **omero(name, sample([level.lay.shape for level in found], target))},
        p.ome_zarr_version,
    )
    task.report(shapes=[list(level.lay.shape) for level in found], voxel_sizes_mm=[level.space.scale for level in found])


def sample(shapes: Sequence[Sequence[int]], target: Image) -> np.ndarray:
    """(1, value): the finest level that is small enough, or planes from all over the last."""
    n = next((n for n, shape in enumerate(shapes) if voxels(shape) <= SAMPLED), len(shapes) - 1)
    planes = shapes[n][0]
    step = max(1, int(voxels(shapes[n]) // SAMPLED))
    return np.concatenate([target.read(np.s_[z : z + 1], n).ravel() for z in range(0, planes, step)])[None]
