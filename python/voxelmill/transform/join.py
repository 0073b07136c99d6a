"""Join: the blocks of one volume into one store, by hard links."""

from __future__ import annotations

from ..core import blocks
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out


class Parameters(Params):
    """Joining has nothing to choose."""


def run(p: Parameters, task: Task, *, stores: list[In], name: str = "", output: Out) -> None:
    """`name` says which of the run's volumes it is."""
    known = blocks.join(sorted(stores, key=lambda s: int("".join(filter(str.isdigit, s.parent.name)) or 0)), output)
    task.carry(output, known)
    task.report(blocks=len(stores), files=len(known))
