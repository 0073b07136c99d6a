"""Render: every section through its composed transform, interpolated once, into the aligned volume.

The aligned volume keeps the shape and grid of the input. Values are grey levels / 255, 0 to 1.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..core import blocks
from ..core.provenance import Task
from ..core.shared import Precision
from ..core.stage import In, Out
from ..core.volume import Image, Layout, Region, create_image, open_image
from .rendering import render_region
from .transforms import load
from .warp import SectionTransform


class Parameters(Precision):
    """Rendering."""


def run(p: Parameters, task: Task, *, volume: In, transforms: In, block: str, output: Out) -> None:
    source = open_image(volume)
    lay = source.layout()
    moves = load(transforms)
    target = create_image(output, Layout(lay.shape, p.aligned_dtype, lay.chunk, lay.shard), source.space)
    table = (np.arange(256) / 255.0).astype(p.aligned_dtype)
    shards = [(region, moves[region[0]]) for region in blocks.regions(lay, block)]
    task.do(partial(move, source, target, table), shards, "shards rendered")


def move(source: Image, target: Image, table: np.ndarray, one: tuple[Region, list[SectionTransform]]) -> None:
    """Write a region with its sections moved, grey levels through the table."""
    target.write(one[0], table[render_region(source, one[1], one[0])])
