"""Finalise interpolation: what became of each missing slice, stamped into the slice configuration; and which slices were
lost on the way from the common space to the stack."""

from __future__ import annotations

from typing import Any

from ..core import slice_config, slices, tables
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from .plan_common_space import LOST
from .plan_stack import in_column


class Parameters(Params):
    """Stamping."""


def run(
    p: Parameters,
    task: Task,
    *,
    config: In,
    manifests: list[In] | None = None,
    placed: In | None = None,
    stacked: list[In] | None = None,
    output: Out,
) -> None:
    known = slice_config.read(config)
    found: dict[int, dict[str, Any]] = {}
    for path in manifests or []:
        for row in tables.rows(path, ("slice_id",)):
            found[slices.number_of(row.pop("slice_id"), path.name)] = row
    matches = [path for path in stacked or [] if path.name == "z_matches.csv"]
    if placed and matches:
        lost = in_column(placed) - in_column(matches[0])
        found |= {n: {"use": False, "exclude_reason": LOST} for n in lost if n in known.used}
    slice_config.write(output, known.stamped(found))
    task.report(
        interpolated=sum(row.get("interpolated") == "true" for row in found.values()),
        gaps=sum("interpolated" in row for row in found.values()),
    )
