"""Render: every section through its composed transform, interpolated once, into the aligned volume.

The aligned volume keeps the shape and grid of the input. Values are grey levels / 255, 0 to 1.
"""

from __future__ import annotations

import numpy as np

from ..core import blocks
from ..core.provenance import Task
from ..core.shared import Precision
from ..core.stage import In, Out
from ..core.volume import Layout, create_image, open_image
from .simulate_misalignment import render_region
from .transforms import load


class Parameters(Precision):
    """Rendering."""


def run(p: Parameters, task: Task, *, volume: In, transforms: In, block: str, output: Out) -> None:
    task.block = block
    source = open_image(volume)
    lay = source.layout()
    moves = load(transforms)
    target = create_image(output, Layout(lay.shape, p.aligned_dtype, lay.chunk, lay.shard), source.scale)
    table = (np.arange(256) / 255.0).astype(p.aligned_dtype)
    for region in task.progress(list(blocks.regions(lay, block)), "shards rendered"):
        target.write(region, table[render_region(source, moves, region)])
