"""Join segments: number the segments of all batches, from what lies on the borders between them."""

from __future__ import annotations

from itertools import pairwise

from ..core.errors import DataError
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from . import section_linking


class Parameters(Params):
    """Joining has nothing to choose."""


def run(p: Parameters, task: Task, *, borders: list[In], blocks: list[str], joined: list[Out]) -> None:
    """`blocks` are the batches of `borders` and `joined`, in the same order."""
    order = sorted(range(len(blocks)), key=lambda i: int(blocks[i].split("-")[0]))
    ends = [tuple(map(int, blocks[i].split("-"))) for i in order]
    for (_, last), (first, _) in pairwise(ends):
        if first != last + 1:
            raise DataError(f"join_segments: shards {last + 1} to {first - 1} are missing; rerun their batch")
    found = section_linking.join_borders([section_linking.load(borders[i], section_linking.Border) for i in order])
    for i, one in zip(order, found):
        section_linking.save(joined[i], one)
    task.report(segments=found[0].segments, joined=sum(len(one.merged) for one in found))
