"""Finalise interpolation: what became of each missing slice, stamped into the slice configuration."""

from __future__ import annotations

import csv

from ..core import slice_config, slices
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out


class Parameters(Params):
    """Stamping."""


def run(p: Parameters, task: Task, *, config: In, manifests: list[In] | None = None, output: Out) -> None:
    found: dict[int, dict[str, str]] = {}
    for path in manifests or []:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                found[slices.number_of(row.pop("slice_id"), path.name)] = row
    slice_config.write(output, slice_config.read(config).stamped(found))
    task.report(interpolated=sum(row["interpolated"] == "true" for row in found.values()), gaps=len(found))
