"""Check inputs: small files and names that only late stages need, before any work is done.

A sample that is no file name, or a feature that nobody knows, would else end a run after all of it. Of given cells, the key
of the files that each batch of fields of view is read from: what changes in others repeats nothing.
"""

from __future__ import annotations

from pathlib import Path

from ..core import plans
from ..core.errors import ParameterError
from ..core.plugins import Plugin, find, load_plugins
from ..core.provenance import Task
from ..core.stage import In, Out
from ..ingest import read_detections
from ..postprocess.extract_traces import Parameters as Traces
from ..postprocess.extract_traces import named
from ..postprocess.features import feature_names
from ..timelapse.store import Facts
from ..transform.estimate_background import Parameters as Background
from .fit_traces import Fitting, check_fits
from .merge_samples import Parameters as Samples
from .samples import read_samples


class Parameters(Samples, Background, Traces, Fitting, read_detections.Given):
    """What late stages are given."""


def run(
    p: Parameters,
    task: Task,
    *,
    facts: In,
    batches: In | None = None,
    sheet: In | None = None,
    plugins: In | None = None,
    cells: Path | None = None,
    checked: Out,
    keys: Out | None = None,
) -> None:
    known = Facts.read(facts)
    added = load_plugins(plugins) if plugins else []
    said = []
    if sheet is not None:
        samples = read_samples(sheet, len(known.views))
        given = {fov for sample in samples for fov in sample.fovs}
        if not given & set(known.chosen):
            raise ParameterError(f"{p.samples}: no sample has one of the fields of view {known.chosen} that --fovs chooses")
        said.append(f"{len(samples)} samples")
    if known.phase is not None:
        refuse_unknown("pc_features", named(p.pc_features), "phase", added)
    if known.fluorescence:
        refuse_unknown("fl_features", named(p.fl_features), "fluorescence", added)
    check_fits(p, named(p.fl_features), known.fluorescence, added)
    if p.background_method == "plugin" and find(added, "background", p.background_plugin) is None:
        raise ParameterError(f"--background_plugin {p.background_plugin!r}: no such plug-in in the folder of --plugins")
    if cells and keys and batches:
        name = p.detections or str(cells)
        with read_detections.open_labels(cells.resolve(), name) as (shapes, _):
            read_detections.require_one_each(shapes, known, name)
        rows = plans.read(batches)
        found = read_detections.keys_of(cells.resolve(), [known.batch(row["block"]) for row in rows])
        plans.write(keys, [{"id": row["id"], "files": key} for row, key in zip(rows, found, strict=True)])
        said.append("given cells")
    if added:
        said.append(f"{len(added)} plug-ins")
    checked.write_text("".join(f"{line}\n" for line in said))


def refuse_unknown(parameter: str, names: list[str], kind: str, added: list[Plugin]) -> None:
    """Raise ParameterError for a feature that is not known for its kind of channel."""
    known = feature_names(kind, added)
    for name in names:
        if name not in known:
            raise ParameterError(f"--{parameter} {name!r} is not known; there are {', '.join(known)}")
