"""Export tracks: for the Cell Tracking Challenge's tools, geff, napari and TrackMate.

tracks/ctc/fov_000/         mask0000.tif ..., res_track.txt
tracks/fov_000.geff         graph exchange file format
tracks/fov_000_napari.csv   track_id,t,y,x; divisions in fov_000_napari.json
tracks/fov_000_trackmate.xml
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, OutFiles
from ..inference.track_cells import load_tracks
from ..timelapse.store import Facts, fov_name, fovs_in, open_channel
from .track_exports import write_ctc, write_geff, write_napari, write_trackmate

Format = Literal["ctc", "geff", "napari", "trackmate"]


class Parameters(Strict):
    """Exports of tracks."""

    track_formats: tuple[Format, ...] = param(
        ("ctc", "geff", "napari", "trackmate"), "Formats that tracks are written in: ctc, geff, napari, trackmate"
    )


def run(p: Parameters, task: Task, *, labels: In, tracked: In, facts: In, batch: str, output: OutFiles) -> None:
    known = Facts.read(facts)
    output.mkdir()
    task.do(partial(export, p, known, labels, tracked, output), fovs_in(tracked), "fields of view exported")


def export(p: Parameters, known: Facts, labels: Path, tracked: Path, output: Path, fov: int) -> None:
    """Write the tracks of a field of view."""
    name, view = fov_name(fov), known.views[fov]
    tracks = load_tracks(tracked / name / "tracks.npz")
    size, interval = view.pixel_size_um, view.interval if view.n_frames > 1 else None
    if "ctc" in p.track_formats:
        image = open_channel(labels, fov, known.labeled())
        write_ctc(output / "ctc" / name, tracks, (image.read(t) for t in range(view.n_frames)))
    if "geff" in p.track_formats:
        write_geff(output / f"{name}.geff", tracks, pixel_size=size, frame_interval=interval)
    if "napari" in p.track_formats:
        write_napari(output / f"{name}_napari.csv", output / f"{name}_napari.json", tracks)
    if "trackmate" in p.track_formats:
        write_trackmate(output / f"{name}_trackmate.xml", tracks, pixel_size=size, times=view.times, shape=view.shape[1:])
