"""Read slab: some whole rows of shards of a planned volume, and the digests of this task's share of its files."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import create_image
from .volumes import reading


class Parameters(Params):
    """The plan has all there is to choose."""


def run(
    p: Parameters, task: Task, *, plan: In, source: Path | None = None, role: str = "", block: str, output: Out, figures: Out
) -> None:
    planned = reading.Plan.load(plan)
    image = create_image(output, planned.layout, planned.space)
    read = reading.read_slab(planned, source, block, image, task)
    where, files = planned.where(source), {}
    if where and planned.listing:
        share = planned.listing.share(planned.reads.index(block), len(planned.reads))
        files = planned.listing.digests(where, share)
    figures.write_text(json.dumps({**read.model_dump(), "files": files}))
