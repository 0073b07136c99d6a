"""Copy movie: the chosen channels of a batch of fields of view, frame by frame, as uint16 OME-Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import write_group
from ..timelapse.store import Facts, FrameWriter, each_fov, fov_name
from .inspect_movie import Reading, open_as


class Parameters(Reading, Strict):
    """Copying."""


def run(p: Parameters, task: Task, *, source: Path, facts: In, batch: str, output: Out) -> None:
    """`source` is no `In`: its digest, which would cost a reading of the whole file, stands in the facts."""
    known = Facts.read(facts)
    images = known.images()
    with open_as(source, p) as movie:

        def copy(fov: int) -> dict[str, Any]:
            dark = full = 0
            if 0 in known.views[fov].shape:
                raise DataError(
                    f"{known.known['file_path']}: field of view {fov} has no frames (a stopped "
                    "acquisition); leave it out with --fovs"
                )
            write_group(output / fov_name(fov) / "images.zarr")
            for name, channel in images.items():
                with FrameWriter(output, fov, name, known, "uint16") as writer:
                    for t in range(known.views[fov].n_frames):
                        frame = movie.read_frame(fov, t, channel)
                        dark += int(frame.min() == frame.max())
                        full += int(frame.min() == 65535)
                        writer.add(frame)
            return {"blank_frames": dark, "saturated_frames": full}

        each_fov(task, known, known.batch(batch), copy, output=output)
