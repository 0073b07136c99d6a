"""Inspect movie: what a time-lapse file holds, and what of it is to be processed; no pixels are read.

Checks channels, fields of view and z before any work begins. Writes `movie.json`, on which all later stages
rely, and the batches of fields of view that tasks work on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..core import plans
from ..core.errors import ParameterError
from ..core.manifest import digest_of
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.shared import Given, Strict
from ..core.stage import In, Out
from ..timelapse.parameters import Copying
from .movies.formats import open_movie
from .movies.movie import Movie, ZChoice, base_name

Channel = Annotated[int, Field(ge=0)]
ASSUMED_INTERVAL = 10.0  # minutes, where neither the file nor the user says


class Reading(Params):
    """How frames are read from a movie."""

    z_plane: str = param(
        "", "z plane to read, or max for the maximum of all; needed where there are several", pattern=r"^(max|\d+)?$"
    )
    convert: bool = param(False, "Accept other pixels than uint8 and uint16, rounded to whole counts, never clipped")


class Parameters(Given, Reading, Copying, Strict):
    """What of a movie is processed."""

    pc_channel: Channel | None = param(
        None, "Phase-contrast channel, in which cells are found; without one, cells are not looked for"
    )
    fl_channels: tuple[Channel, ...] = param((), "Fluorescence channels to measure: 1,2")
    fovs: str = param("all", "Fields of view: 0-3, 2, 0-1,4 or all")
    batch_size: int = param(2, "Fields of view that one task works on, one after the other", ge=1, le=1000)
    frame_interval: float | None = param(
        None, "Minutes between frames, in place of the file's own times (10 where there are none)", unit="min", gt=0
    )
    frame_times: tuple[float, ...] | None = param(None, "Minutes of each frame, in place of the file's own times", unit="min")


def run(p: Parameters, task: Task, *, source: In, facts: Out, batch_list: Out) -> None:
    location = p.input or str(source)
    with open_as(source, p, p.frame_interval, p.frame_times) as movie:
        chosen = movie.parse_fovs(p.fovs)
        wanted = [c for c in (p.pc_channel, *p.fl_channels) if c is not None]
        if not wanted:
            raise ParameterError(
                f"{location}: no channel was chosen; give --pc_channel, --fl_channels or both. "
                f"The file has {', '.join(f'{i} {n}' for i, n in enumerate(movie.channel_names))}"
            )
        movie.require(wanted, chosen)
        if p.pc_channel in p.fl_channels:
            raise ParameterError(
                f"channel {p.pc_channel} is given as --pc_channel and among --fl_channels; take it out of one"
            )
        found: dict[str, Any] = movie.describe() | {
            "file_path": location,
            "base_name": base_name(location),
            "digest": digest_of(source),
            "chosen": chosen,
            "pc_channel": p.pc_channel,
            "fl_channels": sorted(set(p.fl_channels)),
        }
    facts.write_text(json.dumps(found, indent=1, allow_nan=False))
    plans.write(batch_list, plans.by_items(chosen, p.batch_size))
    frames = sum(found["fovs"][fov]["n_frames"] for fov in chosen)
    task.report(
        fovs=len(chosen),
        frames=frames,
        channels=found["channel_names"],
        times_from=found["time_source"],
        pixel_size_um=found["pixel_size_um"],
        notes=found["notes"],
    )


def open_as(source: Path, reading: Reading, interval: float | None = None, times: tuple[float, ...] | None = None) -> Movie:
    """Open a movie as the parameters say; a link is followed, so that files beside the movie are found."""
    z: ZChoice | None = None if not reading.z_plane else "max" if reading.z_plane == "max" else int(reading.z_plane)
    mapping = dict(enumerate(times)) if times else None
    if times and interval:
        raise ParameterError("--frame_interval and --frame_times both give times; leave one out")
    if interval:
        with open_movie(source.resolve(), z_plane=z) as movie:
            mapping = {t: t * interval for t in range(max(f.n_frames for f in movie.fovs))}
    opened = open_movie(
        source.resolve(), z_plane=z, convert=reading.convert, frame_interval=ASSUMED_INTERVAL, time_mapping=mapping
    )
    if mapping:
        opened.time_source = "--frame_times" if times else "--frame_interval"
    return opened
