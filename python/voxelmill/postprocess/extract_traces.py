"""Extract traces: features of every tracked cell in every frame, as one table per field of view.

    fov_000/{base}_fov_000_traces.csv
    fov_000/{base}_fov_000_left_out.csv

Cells that are seen too briefly, or that come near the border, are left out and counted, by reason; their traces
and the reason stand in a table of their own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.params import param
from ..core.plugins import load_plugins
from ..core.provenance import Task
from ..core.shared import Extensions, Strict
from ..core.stage import In, Out
from ..timelapse.store import Facts, acquired_in, channel_path, each_fov, fov_name, fovs_in, open_channel, saturated_at
from .features import PHASE_FEATURES, TraceBuilder
from .traces import filter_traces, left_out, left_out_name, traces_name, write_csv


class Parameters(Extensions, Strict):
    """Traces."""

    pc_features: tuple[str, ...] = param(
        ("area", "aspect_ratio"), "Features of the phase-contrast channel; none: positions only"
    )
    fl_features: tuple[str, ...] = param(
        ("intensity_total", "intensity_mean"), "Features of each fluorescence channel; none: none"
    )
    background_weight: float = param(1.0, "Share of the background that is subtracted", ge=0, le=1)
    erosion_size: int = param(
        0, "Side of the square that masks are eroded with before intensities are taken", unit="px", ge=0, le=101
    )
    min_frames: int = param(
        -1, "Fewest frames a cell must be seen in to be kept; -1: 30, at most a third of the movie", unit="frame", ge=-1
    )
    border_margin: int = param(
        -1,
        "A cell that ever comes nearer to the border is left out; -1: a cell's width, at most 50 and a tenth of the frame",
        unit="px",
        ge=-1,
    )


def run(
    p: Parameters,
    task: Task,
    *,
    movie: In,
    tracked: In,
    background: In | None = None,
    facts: In,
    batch: str,
    plugins: In | None = None,
    output: Out,
) -> None:
    known = Facts.read(facts)
    fovs = fovs_in(tracked, background)
    each_fov(task, known, fovs, partial(extract, p, known, movie, tracked, background, plugins, output), output=output)
    rows = task.quality["per_fov"]
    task.report(
        left_out_cells={f"field of view {f}": n.pop("says") for f, n in rows.items() if n["kept"] < n["cells"] or n["notes"]}
    )
    for n in rows.values():
        n.pop("says", None)


def extract(
    p: Parameters,
    known: Facts,
    movie: Path,
    tracked: Path,
    background: Path | None,
    plugins: Path | None,
    output: Path,
    fov: int,
) -> dict[str, Any]:
    """Write the tables of a field of view; figures for the record."""
    added = load_plugins(plugins) if plugins else []
    wanted = {} if known.phase is None else {known.phase: named(p.pc_features)}
    for channel in known.fluorescence:
        wanted[channel] = wanted.get(channel, []) + named(p.fl_features)
    seen = {c for c, names in wanted.items() if set(names) - set(PHASE_FEATURES)}  # the others are shapes
    view = known.views[fov]
    labels = open_channel(tracked, fov, known.tracked())
    images = {channel: open_channel(movie, fov, name) for name, channel in known.images().items()}
    surfaces = (
        {} if background is None else {c: open_channel(background, fov, f"fl_background_ch_{c}") for c in known.fluorescence}
    )
    builder = TraceBuilder(
        fov,
        np.array(view.times),
        wanted,
        known.phase,
        fluorescence=known.fluorescence,
        background_weight=p.background_weight,
        erosion_size=p.erosion_size,
        plugins=added,
    )
    builder.tops = {c: saturated_at(channel_path(movie, fov, name)) for name, c in known.images().items() if c in seen}
    masks = {c: acquired_in(movie, fov, c) for c in seen}
    try:
        for t in range(view.n_frames):
            held = {c: mask for c, of in masks.items() if (mask := of(t)) is not None}
            frames = {c: image.read(t) for c, image in images.items() if c in seen}
            # a frame that is blank or saturated throughout shows no cell
            held |= {c: np.zeros(frame.shape, bool) for c, frame in frames.items() if frame.min() == frame.max()}
            builder.add(t, labels.read(t), frames, {c: image.read(t) for c, image in surfaces.items() if c in seen}, held)
    except DataError as error:
        raise DataError(f"field of view {fov}, frame {t}: {error}") from error
    table = builder.table()
    kept, report = filter_traces(table, view.shape[1:], view.n_frames, p.min_frames, p.border_margin)
    folder = output / fov_name(fov)
    folder.mkdir(parents=True)
    write_csv(folder / traces_name(known.base, fov), kept)
    write_csv(folder / left_out_name(known.base, fov), left_out(table, report))
    return {
        "cells": report.cells,
        "kept": report.kept,
        "short": len(report.short),
        "border": len(report.border),
        "min_frames": report.min_frames,
        "border_margin": report.border_margin,
        "saturated_pixels": builder.saturated,
        "empty_after_erosion": builder.empty_after_erosion,
        "notes": report.notes,
        "says": str(report),
    }


def named(features: tuple[str, ...]) -> list[str]:
    """The features of a list, of which `none` is empty."""
    return [name for name in features if name not in ("", "none")]
