"""Detect rehoming: steps of the stage between slices that are none of the tissue are taken out of the shifts.

Round trips (a glitch of the encoder: there and back) become two equal steps, so that all other slices stay where they
are. A long step that is not taken back may be real: it is kept and said. See `rehoming.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core import shifts, slice_config, slices
from ..core.params import Params, param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.shifts import Shift
from ..core.stage import In, Out
from .rehoming import round_trips, smoothed_out, without_tiles

Found = list[dict[str, Any]]


class Parameters(Params):
    """Rehoming of the stage."""

    rehoming_return_fraction: float = param(
        0.4, "Of a long step, what may be left after the next one takes it back; less finds fewer", gt=0, lt=1
    )
    rehoming_max_shift_mm: float = param(0.5, "Steps below this are no glitches", unit="mm", gt=0)
    tile_fov_mm: float | None = param(
        None, "Field of view of a tile, for tables in which the stage jumped by whole tiles", unit="mm", gt=0
    )
    tile_fov_tolerance: float = param(0.05, "Of a tile that such a jump may differ from whole tiles", ge=0, lt=0.5)
    rehoming_diagnostics: bool = param(False, "Write rehoming_report.json and rehoming_plot.png")


def run(
    p: Parameters,
    task: Task,
    *,
    shifts_xy: In,
    config: In,
    clean: Out,
    stamped: Out,
    report: Out | None = None,
    plot: Out | None = None,
) -> None:
    table = shifts.read(shifts_xy)
    shifts.places(table)  # rows must follow each other
    table.sort(key=lambda row: row.fixed)
    made, found = corrected(p, table)
    shifts.write(clean, made, shifts.pixel_of(shifts_xy))
    known = slice_config.read(config)
    stamps: dict[int, dict[str, Any]] = {n: {"rehomed": False, "rehoming_reliable": True} for n in known.rows}
    for event in found:
        if event["slice"] in stamps:
            stamps[event["slice"]] = {
                "rehomed": event["kind"] != "long step",
                "rehoming_reliable": event["kind"] != "long step",
            }
    slice_config.write(stamped, known.stamped(stamps))
    notes = [f"{slices.name_of(e['slice'])}: {e['kind']} of {e['step_mm']:.3g} mm" for e in found]
    task.report(rehomed=sum(e["kind"] != "long step" for e in found), **({"notes": notes} if notes else {}))
    if p.rehoming_diagnostics and report and plot:
        report.write_text(json.dumps({"parameters": p.model_dump(), "events": found}, indent=1))
        draw(plot, table, made, found)


def corrected(p: Parameters, table: list[Shift]) -> tuple[list[Shift], Found]:
    """The table with true steps, and the events: slice, kind, step_mm."""
    steps = np.array([(row.x, row.y) for row in table]).reshape(-1, 2)
    found: Found = []
    after = steps
    if p.tile_fov_mm:
        after, jumped = without_tiles(steps, p.tile_fov_mm, p.tile_fov_tolerance)
        found += [event(table[i].moving, "jump by whole tiles", steps[i] - after[i]) for i in np.flatnonzero(jumped.any(1))]
    trips = round_trips(after, p.rehoming_max_shift_mm, p.rehoming_return_fraction)
    found += [event(table[i].moving, "round trip", after[i] - (after[i] + after[i + 1]) / 2) for i in trips]
    made = smoothed_out(after, trips)
    left = np.linalg.norm(made, axis=1) > p.rehoming_max_shift_mm
    known = {e["slice"] for e in found}
    found += [event(table[i].moving, "long step", made[i]) for i in np.flatnonzero(left) if table[i].moving not in known]
    rows = [row._replace(x=float(x), y=float(y)) for row, (x, y) in zip(table, made, strict=True)]
    return rows, sorted(found, key=lambda e: e["slice"])


def event(slice: int, kind: str, step: np.ndarray) -> dict[str, Any]:
    return {"slice": slice, "kind": kind, "step_mm": round(float(np.linalg.norm(step)), 6)}


def draw(path: Path, before: list[Shift], after: list[Shift], found: Found) -> None:
    """Places by the stage, before and after."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, parts = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
    old, new = shifts.places(before), shifts.places(after)
    for axis, (ax, name) in enumerate(zip(parts, ("x (dim 1)", "y (dim 2)"), strict=True)):
        ax.plot(list(old), [at[axis] for at in old.values()], "o-", color="0.65", ms=4, lw=1, label="as the stage says")
        ax.plot(list(new), [at[axis] for at in new.values()], "o-", color="tab:blue", ms=3, lw=1, label="corrected")
        for e in found:
            ax.axvline(e["slice"], color="tab:red" if e["kind"] != "long step" else "tab:orange", lw=0.8, ls=":")
        ax.set_ylabel(f"{name}, mm")
        ax.spines[["top", "right"]].set_visible(False)
    parts[0].set_title(f"Places of the slices by the stage, {len(found)} events")
    parts[0].legend(frameon=False, fontsize=8)
    parts[1].set_xlabel("slice")
    parts[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    save_png(figure, path)
