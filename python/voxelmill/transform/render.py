"""Render: every section through its composed transform, interpolated once, into the aligned volume.

The aligned volume keeps the shape, grid and grey levels of the input; `multiscale` publishes it as --aligned_dtype.
"""

from __future__ import annotations

from functools import partial

from ..core import blocks
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, create_image, open_image
from .rendering import render_region
from .transforms import load
from .warp import SectionTransform


class Parameters(Params):
    """Rendering has nothing to choose."""


def run(p: Parameters, task: Task, *, volume: In, transforms: In, block: str, output: Out) -> None:
    source = open_image(volume)
    lay = source.layout()
    moves = load(transforms)
    target = create_image(output, lay, source.space)
    shards = [(region, moves[region[0]]) for region in blocks.regions(lay, block)]
    task.do(partial(move, source, target), shards, "shards rendered")


def move(source: Image, target: Image, one: tuple[Region, list[SectionTransform]]) -> None:
    """Write a region with its sections moved."""
    target.write(one[0], render_region(source, one[1], one[0]))
