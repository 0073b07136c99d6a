"""Join slabs: the parts of a volume that was read by several tasks, by hard links, and the facts about it."""

from __future__ import annotations

import json
from pathlib import Path

from ..core import blocks
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from .volumes.reading import Plan, Slab, attest, finish


class Parameters(Strict):
    """Joining has nothing else to choose."""


def run(
    p: Parameters,
    task: Task,
    *,
    plan: In,
    source: Path | None = None,
    stores: list[In],
    figures: list[In],
    role: str = "",
    output: Out,
    facts: Out,
) -> None:
    planned = Plan.load(plan)
    parts = [json.loads(path.read_text()) for path in figures]
    read = Slab.joined([Slab(**{k: part[k] for k in Slab.model_fields}) for part in parts])
    where, digest = planned.where(source), None
    if where and planned.listing:
        planned.listing.check(where)  # a file read by one task may have changed after another took its digest
        digest = planned.listing.whole({name: entry for part in parts for name, entry in part["files"].items()})
    attest(planned, read, where, digest, task)
    task.report(**finish(planned, read, digest, p.strict, facts), slabs=len(stores))
    task.carry(output, blocks.join(stores, output))
