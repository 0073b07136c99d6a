"""Copy movie: the chosen channels of a batch of fields of view, frame by frame, as uint16 OME-Zarr.

What the file does not hold (a frame of a channel, a tile of a mosaic) is 0; where there is such, a mask
`acquired_ch_N` stands beside the channel, by which later stages leave it out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core import pool
from ..core.errors import DataError
from ..core.metadata import write_group
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..timelapse.store import Facts, FrameWriter, acquired_path, each_fov, fov_name
from .inspect_movie import Reading, open_as
from .movies.movie import Movie
from .movies.ranges import listed


class Parameters(Reading, Strict):
    """Copying."""


def run(p: Parameters, task: Task, *, source: Path, facts: In, batch: str, output: Out) -> None:
    """`source` is no `In`: its digest, which would cost a reading of the whole file, is in the record of `inspect_movie`."""
    known = Facts.read(facts)
    each_fov(task, known, known.batch(batch), partial(copy, p, known, source, output), output=output)
    notes = [note for figures in task.quality["per_fov"].values() for note in figures.pop("notes")]
    if notes:
        task.report(notes=notes)


def copy(p: Parameters, known: Facts, source: Path, output: Path, fov: int) -> dict[str, Any]:
    """Copy a field of view; how many of its frames are doubtful, and notes that name them."""
    if 0 in known.views[fov].shape:
        raise DataError(
            f"{known.known['file_path']}: field of view {fov} has no frames (a stopped acquisition); leave it out with --fovs"
        )
    movie = pool.opened("movie", partial(open_as, source, p))
    movie.choose(known.chosen)
    write_group(output / fov_name(fov) / "images.zarr")
    found: dict[str, list[int]] = {"blank": [], "saturated": []}
    for name, channel in known.images().items():
        for frames, more in zip(found.values(), copy_channel(movie, output, fov, name, channel, known), strict=True):
            frames += more
    notes = [movie.named([fov], f"frame {listed(sorted(set(at)))} is {what}.") for what, at in found.items() if at]
    return {"notes": notes, **{f"{what}_frames": len(at) for what, at in found.items()}}


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
