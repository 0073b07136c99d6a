"""Merge samples: the traces of fields of view that belong together, one table per feature.

    merged/{sample}_{feature}_ch_{channel}.csv

Fields of view without traces (left out by an earlier stage, or not chosen) are missing from their sample, and
listed.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import DataError, ParameterError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, InFiles, OutFiles
from ..timelapse.store import Facts
from .samples import find_traces, merge, read_samples


class Parameters(Strict):
    """Samples."""

    samples: str = param("", "YAML file that says which fields of view form a sample; their traces are merged", path=True)


def run(
    p: Parameters, task: Task, *, traces: InFiles, inspected: list[In] | None = None, sheet: In, facts: In, output: OutFiles
) -> None:
    known = Facts.read(facts)
    wanted, found = read_samples(sheet, len(known.views)), find_traces(traces, inspected or ())
    missing = {s.name: [fov for fov in s.fovs if fov not in found] for s in wanted}
    missing = {name: fovs for name, fovs in missing.items() if fovs}
    if missing and p.strict:
        raise DataError(f"{p.samples}: no traces for fields of view {missing}; leave them out of the samples")
    present = [replace(s, fovs=tuple(fov for fov in s.fovs if fov in found)) for s in wanted]
    present = [s for s in present if s.fovs]
    if not present:
        raise ParameterError(
            f"{p.samples}: no sample has a field of view with traces; there are traces for "
            f"{', '.join(map(str, found)) or 'none'}"
        )
    paths = merge(present, found, output)
    task.report(samples=len(present), tables=len(paths), left_out_of_samples=missing)
