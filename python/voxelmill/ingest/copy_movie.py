"""Copy movie: the chosen channels of a batch of fields of view, frame by frame, as uint16 OME-Zarr.

What the file does not hold (a frame of a channel, a tile of a mosaic) is 0; where there is such, a mask
`acquired_ch_N` stands beside the channel, by which later stages leave it out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import pool
from ..core.errors import DataError
from ..core.metadata import write_group
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..timelapse.store import Facts, FrameWriter, acquired_path, annotate, channel_path, each_fov, fov_name
from .inspect_movie import Reading, open_as
from .movies.movie import Movie
from .movies.ranges import listed

FULL = (255, 1023, 4095, 16383, 65535)  # the highest values of cameras of 8 to 16 bits
LEAST_CLIPPED = 10  # px; fewer may be anything


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
    said: dict[str, None] = {}
    counts = dict.fromkeys(("blank", "saturated", "repeated"), 0)
    for name, channel in known.images().items():
        looked = copy_channel(movie, output, fov, name, channel, known)
        what = f"channel {channel} ({movie.channel_names[channel]})"
        for kind, frames in (("blank", looked.blank), ("saturated", looked.saturated)):
            counts[kind] += len(frames)
            if frames:
                said[f"{what} is {kind} at frame {listed(frames)}: not measured there."] = None
        counts["repeated"] += len(looked.repeated)
        if looked.repeated:
            said[
                f"{what} repeats an earlier frame, pixel for pixel, at frame {listed(looked.repeated)}: the camera or the "
                "recording stood still there, and cells with it."
            ] = None
        if looked.clipped and channel in known.fluorescence:
            said[
                f"{what} has pixels at the end of its range ({looked.top}) at frame {listed(looked.clipped)}: what was "
                "brighter is cut off, and intensities are too low there."
            ] = None
    notes = [movie.named([fov], note) for note in said]
    return {"notes": notes, **{f"{kind}_frames": n for kind, n in counts.items()}}


@dataclass
class Looked:
    """What was seen of a channel while it was copied: frames (t) all of one value, with it, how many pixels of
    others have the highest value that some camera has, and which of the others are an earlier one again."""

    flat: dict[int, int] = field(default_factory=dict)
    full: dict[int, tuple[int, int]] = field(default_factory=dict)  # t -> that value, and of how many pixels
    top: int = 0  # the highest value of all
    repeated: list[int] = field(default_factory=list)
    known: set[bytes] = field(default_factory=set)  # digests of frames

    def look(self, t: int, values: NDArray) -> None:
        low, high = int(values.min()), int(values.max())
        self.top = max(self.top, high)
        if low == high:
            self.flat[t] = high
            return
        if high in FULL:
            self.full[t] = high, int(np.count_nonzero(values == high))
        digest = hashlib.blake2b(values.tobytes(), digest_size=16).digest()
        if digest in self.known:
            self.repeated.append(t)
        self.known.add(digest)

    @property
    def saturated(self) -> list[int]:
        """Frames that are saturated throughout."""
        return [t for t, value in self.flat.items() if value == self.top and value in FULL]

    @property
    def blank(self) -> list[int]:
        return [t for t in self.flat if t not in self.saturated]

    @property
    def clipped(self) -> list[int]:
        """Frames of which some pixels are saturated."""
        return [t for t, (value, n) in self.full.items() if value == self.top and n >= LEAST_CLIPPED]


def copy_channel(movie: Movie, output: Path, fov: int, name: str, channel: int, known: Facts) -> Looked:
    """One channel, and its mask where something was not acquired."""
    looked, mask = Looked(), None
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
                looked.look(t, values)
            writer.add(frame)
    if looked.saturated or looked.clipped:
        annotate(channel_path(output, fov, name), saturated_at=looked.top)
    return looked
