"""Stitch as the volume has it, for the comparison with the stage alone; and what refinement did, as JSON."""

from __future__ import annotations

import json
from typing import Any

from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..transform.prepare_slice import Stitching, stitch
from ..transform.slice_notes import Notes, or_left_out
from ..transform.tile_grid import open_grid
from ..transform.tile_positions import Placement
from .stitch_motor_only import write


class Parameters(Stitching):
    """Stitching as in the volume."""

    save_refinement_data: bool = param(False, "Write what refinement of tiles found as JSON: positions, seams, dilation")


def run(
    p: Parameters, task: Task, *, grid: In, slice: str, output: Out, tiles: Out, seams: Out, picture: Out,
    data: Out | None = None,
) -> None:  # fmt: skip
    with or_left_out(task):
        made, placed, found = stitch(open_grid(grid), p, None, xp=task.arrays(p.use_gpu))
        write(task, made, placed, found, output, tiles, seams, picture)
        if p.save_refinement_data and data:
            data.write_text(json.dumps(refinement(p, placed, found), indent=1))


def refinement(p: Stitching, placed: Placement, found: Notes) -> dict[str, Any]:
    """Positions (dim 1, dim 2) in px. dilation: step between tiles by the images, of that by --stitch_overlap_fraction."""
    step = 1 - p.stitch_overlap_fraction
    return {
        "tiles": [
            {"tile": i, "position_px": at, "quality": q}
            for i, (at, q) in enumerate(zip(placed.positions.tolist(), placed.quality.tolist(), strict=True))
        ],
        "seams": [
            {"tiles": [s.a, s.b], "offset_px": [float(v) for v in s.offset], "quality": float(s.quality)}
            for s in placed.seams
        ],
        "rotation_deg": {"x": found["theta_deg"], "y": found["phi_deg"]},
        "dilation": {axis: (1 - found[f"overlap_{axis}"]) / step for axis in "xy"},
        "moved_px_rms": found["moved_px_rms"],
    }
