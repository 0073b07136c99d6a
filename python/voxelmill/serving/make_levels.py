"""Make levels: shards of one level of the subject's volume, from the stack."""

from __future__ import annotations

from functools import partial

from ..core import blocks
from ..core.provenance import Task
from ..core.released import create_level
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .resolutions import Resolutions, plan, write_shard


class Parameters(Resolutions):
    """Levels made block by block."""


def run(p: Parameters, task: Task, *, volume: In, block: str, output: Out) -> None:
    """`block` is a level and shards of it: `1.0-3`."""
    image = open_image(volume)
    n, shards = block.split(".")
    level = plan(p, image)[int(n)]
    create_level(output, int(n), level.lay, p.ome_zarr_version)
    write = partial(write_shard, Image(output, level.space), int(n), image, level.steps)
    task.do(write, list(blocks.regions(level.lay, shards)), f"shards of level {n}")
