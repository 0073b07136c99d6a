"""Generate the slice configuration: which slices take part; with --detect_galvo, what was found of the galvo's return.

The first slices are those with which the microscope was set up. A slice that has no mosaic grid does not take part.
"""

from __future__ import annotations

import json

from ..core import slice_config
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, InFiles, OutFiles
from .tiles.oct import read_table


class Parameters(Params):
    """Slice configuration."""

    exclude_first_slices: int = param(1, "Slices at the beginning that are marked as not to be used", ge=0)
    detect_galvo: bool = param(False, "Say in slice_config.csv how sure the galvo's return was found, and if it is cut off")


def run(p: Parameters, task: Task, *, tiles: In, galvo: InFiles | None = None, tables: OutFiles) -> None:
    found = [json.loads(path.read_text()) for path in (sorted(galvo.iterdir()) if galvo else [])]
    config = slice_config.of({tile.slice for tile in read_table(tiles)}, p.exclude_first_slices)
    lost = set(config.rows) - {one["slice"] for one in found}
    config = config.stamped({n: {"use": False, "exclude_reason": "no mosaic grid"} for n in lost})
    if p.detect_galvo:
        names = ("galvo_confidence", "galvo_fix")
        config = config.stamped({one["slice"]: {name: one[name] for name in names} for one in found})
    tables.mkdir()
    slice_config.write(tables / "slice_config.csv", config)
    task.report(slices=len(config.rows), used=len(config.used), **({"left_out": len(lost)} if lost else {}))
