"""Copy movie: the chosen channels of a batch of fields of view, frame by frame, as uint16 OME-Zarr.

What the file does not hold (a frame of a channel, a tile of a mosaic) is 0; where there is such, a mask
`acquired_ch_N` stands beside the channel, by which later stages leave it out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import write_group
from ..timelapse.store import Facts, FrameWriter, acquired_path, each_fov, fov_name
from .inspect_movie import Reading, open_as
from .movies.movie import Movie
from .movies.times import listed


class Parameters(Reading, Strict):
    """Copying."""


def run(p: Parameters, task: Task, *, source: Path, facts: In, batch: str, output: Out) -> None:
    """`source` is no `In`: its digest, which would cost a reading of the whole file, stands in the facts."""
    known = Facts.read(facts)
    notes: list[str] = []
    with open_as(source, p) as movie:
        movie.choose(known.chosen)

        def copy(fov: int) -> dict[str, Any]:
            if 0 in known.views[fov].shape:
                raise DataError(
                    f"{known.known['file_path']}: field of view {fov} has no frames (a stopped "
                    "acquisition); leave it out with --fovs"
                )
            write_group(output / fov_name(fov) / "images.zarr")
            blank: set[int] = set()
            full: set[int] = set()
            count = {"blank_frames": 0, "saturated_frames": 0}
            for name, channel in known.images().items():
                dark, bright = copy_channel(movie, output, fov, name, channel, known)
                blank, full = blank | set(dark), full | set(bright)
                count["blank_frames"] += len(dark)
                count["saturated_frames"] += len(bright)
            for what, frames in (("blank", blank), ("saturated", full)):
                if frames:
                    notes.append(movie.named([fov], f"frame {listed(sorted(frames))} is {what}."))
            return count

        each_fov(task, known, known.batch(batch), copy, output=output)
    if notes:
        task.report(notes=notes)


def copy_channel(movie: Movie, output: Path, fov: int, name: str, channel: int, known: Facts) -> tuple[list[int], list[int]]:
    """One channel, and its mask where something was not acquired; the frames that are all of one value, and those
    that are saturated throughout."""
    dark, bright, mask = [], [], None
    view = known.views[fov]
    with FrameWriter(output, fov, name, known, "uint16") as writer:
        for t in range(view.n_frames):
            seen = movie.acquired(fov, t, channel)
            frame = (
                movie.read_frame(fov, t, channel) if movie.recorded(fov, t, channel) else np.zeros(view.shape[1:], np.uint16)
            )
            if seen is not None:
                frame[~seen] = 0
                if mask is None and not acquired_path(output, fov, channel).exists():
                    mask = FrameWriter(output, fov, acquired_path(output, fov, channel).name, known, "uint8")
                    for _ in range(t):
                        mask.add(np.ones(view.shape[1:], np.uint8))
            if mask is not None:
                mask.add(np.ones(view.shape[1:], np.uint8) if seen is None else seen.astype(np.uint8))
            values = frame if seen is None else frame[seen]
            if values.size:
                dark += [t] * bool(values.min() == values.max())
                bright += [t] * bool(values.min() == 65535)
            writer.add(frame)
    return dark, bright
