"""Movies between stages: a folder per field of view, an OME-Zarr image (t, y, x) per channel.

    STORE/fov_000/images.zarr/pc_ch_0/0           counts of a phase-contrast channel
                             /fl_ch_1/0           counts of a fluorescence channel
                             /seg_labeled_ch_0/0  cells, numbered frame by frame
                             /seg_tracked_ch_0/0  cells, one id for life
                             /fl_background_ch_1/0

Every store of the workflow has this layout, so that publishing is laying them over one another. Frames are
written one by one and read one by one: memory does not depend on the length of a movie.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..core import plans
from ..core.errors import DataError
from ..core.metadata import multiscales
from ..core.provenance import Task
from ..core.space import Axis, Space
from ..core.volume import Image, Layout, create_array, open_image

SHARD_BYTES = 16 << 20  # frames are gathered into files of about this size
CHUNK = 512  # px a side at most


def fov_name(fov: int) -> str:
    """Folder of a field of view."""
    return f"fov_{fov:03d}"


def channel_path(store: Path, fov: int, channel: str) -> Path:
    """The image of one channel of one field of view."""
    return store / fov_name(fov) / "images.zarr" / channel


def fovs_in(*stores: Path | None) -> list[int]:
    """Fields of view that are in all stores, ascending; a store that is None has no say."""
    held = [{path.name for path in store.glob("fov_*") if path.is_dir()} for store in stores if store]
    return sorted(int(name.removeprefix("fov_")) for name in set.intersection(*held))


@dataclass(frozen=True)
class View:
    """One field of view: what stages need to know without opening the movie. times: minutes, one per frame.
    pixel_size_um: None where the file does not say. origin_um: of the centre of pixel 0 (y, x), where the file says it.
    stage_um: where the stage was (y, x), by its own axes."""

    name: str
    height: int
    width: int
    n_frames: int
    n_planes: int
    times: list[float]
    pixel_size_um: float | None = None
    origin_um: Sequence[float] = (0.0, 0.0)
    stage_um: Sequence[float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, y, x)."""
        return self.n_frames, self.height, self.width

    @property
    def interval(self) -> float:
        """Median minutes between frames; 1 where there is no second frame."""
        step = float(np.median(np.diff(self.times))) if self.n_frames > 1 else 0.0
        return step if step > 0 else 1.0

    @property
    def space(self) -> Space:
        """Where its pixels lie (t, y, x): minutes, and micrometers where the size of a pixel is known."""
        unit, size = ("micrometer", self.pixel_size_um) if self.pixel_size_um else (None, 1.0)
        axes = Axis("t", "time", "minute"), Axis("y", "space", unit), Axis("x", "space", unit)
        return Space.of(axes, (self.interval, size, size), (0, *self.origin_um) if unit else None)


@dataclass(frozen=True)
class Facts:
    """What `inspect_movie` found out and settled.

    base: first part of the names of tables. chosen: fields of view to process. phase: channel that cells are
    found in, None without one. fluorescence: channels that are measured. known: everything else, as
    `Movie.describe` says it.
    """

    base: str
    views: list[View]
    chosen: list[int]
    phase: int | None
    fluorescence: list[int]
    known: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From `movie.json`."""
        found = json.loads(path.read_text())
        return cls(
            found["base_name"],
            [View(**v) for v in found["fovs"]],
            found["chosen"],
            found["pc_channel"],
            found["fl_channels"],
            found,
        )

    @property
    def phase_id(self) -> int:
        """Number in the names of label images: of the phase channel, or 0."""
        return self.phase or 0

    def batch(self, text: str) -> list[int]:
        """The chosen fields of view from the first to the last of `"4-7"`."""
        return plans.within(text, self.chosen)

    def images(self) -> dict[str, int]:
        """Name of each image of counts -> channel in the file."""
        # one that is both phase contrast and measured stands there twice
        phase = {} if self.phase is None else {f"pc_ch_{self.phase}": self.phase}
        return phase | {f"fl_ch_{c}": c for c in self.fluorescence}

    def labeled(self) -> str:
        return f"seg_labeled_ch_{self.phase_id}"

    def tracked(self) -> str:
        return f"seg_tracked_ch_{self.phase_id}"


def each_fov(task: Task, facts: Facts, fovs: list[int], work: Callable[[int], dict[str, Any]], *, output: Path) -> None:
    """Do `work(fov)` for each; one that raises DataError is left out, and harms no other.

    What it has written is removed; the figures that `work` returns stand in the record as `per_fov`.
    Raises DataError under `--strict`, or where nothing of the whole run would be left.
    """

    def undo(fov: int) -> None:
        shutil.rmtree(output / fov_name(fov), ignore_errors=True)

    sound = task.each_sound(work, fovs, "fields of view done", name=fov_name, undo=undo)
    task.report(per_fov={str(fov): figures for fov, figures in sound})
    if len(task.left_out) == len(facts.chosen):
        raise DataError(next(iter(task.left_out.values())))
    output.mkdir(exist_ok=True)


def layout_of(shape: tuple[int, int, int], dtype: Any) -> Layout:
    """Chunks of one frame, at most `CHUNK` px a side; files of a few whole frames."""
    t, height, width = shape
    chunk = (1, min(CHUNK, height), min(CHUNK, width))
    whole = tuple(-(-n // c) * c for n, c in zip((height, width), chunk[1:]))
    frames = int(np.clip(SHARD_BYTES // (whole[0] * whole[1] * np.dtype(dtype).itemsize), 1, t))
    return Layout(shape, np.dtype(dtype).name, chunk, (frames, *whole))


def describe_movie(root: Path, space: Space, *, label_of: str | None = None, **attributes: Any) -> None:
    """Make the group of an image (t, y, x) that has level 0, with the metadata that viewers need.

    Args:
        space: where its pixels lie.
        label_of: of a label image, the name of the image beside it that it belongs to.
        attributes: further facts, kept under `voxelmill`.
    """
    entry = multiscales([space], root.name)
    ome: dict = {"version": "0.5", "multiscales": [entry]}
    if label_of:
        ome["image-label"] = {"source": {"image": f"../{label_of}"}}
    root.mkdir(parents=True, exist_ok=True)
    # in one line: there are thousands of these, and indenting takes ten times as long
    (root / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "voxelmill": attributes}})
    )


def annotate(root: Path, **facts: Any) -> None:
    """Add facts to the own attributes of an image's group, under `voxelmill`."""
    meta = json.loads((root / "zarr.json").read_text())
    meta["attributes"]["voxelmill"].update(facts)
    (root / "zarr.json").write_text(json.dumps(meta))


class FrameWriter:
    """Writes a channel frame by frame, a whole file at a time; a context manager.

    Labels begin as uint16 and become uint32 from the first id on that needs it: ids never wrap.
    """

    def __init__(self, store: Path, fov: int, channel: str, facts: Facts, dtype: Any, *, label: bool = False):
        self.root, self.view = channel_path(store, fov, channel), facts.views[fov]
        self.label = label
        self.label_of = next(iter(facts.images())) if label else None
        self._create(dtype)
        self.done = 0

    def _create(self, dtype: Any) -> None:
        self.lay = layout_of(self.view.shape, dtype)
        stage = {"stage_um": self.view.stage_um} if self.view.stage_um else {}
        describe_movie(self.root, self.view.space, label_of=self.label_of, times_min=self.view.times, **stage)
        create_array(self.root / "0", self.lay, names="tyx")
        self.image = Image(self.root, self.view.space)
        self.held = np.zeros((self.lay.shard[0], *self.view.shape[1:]), dtype)

    def add(self, frame: NDArray) -> None:
        """Append a frame (y, x)."""
        if frame.shape != self.view.shape[1:]:
            raise DataError(f"{self.root.name}: frame {self.done} is {frame.shape}, expected {self.view.shape[1:]}")
        if self.label and self.held.dtype == np.uint16 and frame.size and int(frame.max()) > 65535:
            self._widen()
        at = self.done % len(self.held)
        self.held[at] = frame
        self.done += 1
        if at + 1 == len(self.held) or self.done == self.view.n_frames:
            self.image.write((slice(self.done - at - 1, self.done),), self.held[: at + 1])

    def _widen(self) -> None:
        """Begin again as uint32, with the frames that are there already."""
        flushed = self.done - self.done % len(self.held)
        pending, old = self.held[: self.done - flushed].copy(), self.root.with_name(self.root.name + ".narrow")
        self.root.rename(old)
        narrow = open_image(old)
        self._create(np.uint32)
        done, self.done = flushed, 0
        for t in range(done):
            self.add(narrow.read(t))
        for frame in pending:
            self.add(frame)
        shutil.rmtree(old)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self.done != self.view.n_frames:
            raise DataError(f"{self.root.name}: {self.done} frames were written, expected {self.view.n_frames}")


def saturated_at(root: Path) -> int:
    """The value of saturated pixels of a channel: what `copy_movie` found, else the highest of uint16."""
    attributes = json.loads((root / "zarr.json").read_text())["attributes"]
    return int(attributes.get("voxelmill", {}).get("saturated_at", 65535))


def acquired_path(store: Path, fov: int, channel: int) -> Path:
    """The mask (t, y, x) of what was acquired of a channel, 1 and 0; it is there only where something was not."""
    return channel_path(store, fov, f"acquired_ch_{channel}")


def acquired_in(store: Path, fov: int, channel: int | None) -> Callable[[int], NDArray[np.bool_] | None]:
    """A function from a frame t to the mask (y, x) of what was acquired of it, or to None: all of it."""
    if channel is None or not acquired_path(store, fov, channel).exists():
        return lambda t: None
    mask = open_image(acquired_path(store, fov, channel))

    def of(t: int) -> NDArray[np.bool_] | None:
        seen = mask.read(t) > 0
        return None if seen.all() else seen

    return of


def open_channel(store: Path, fov: int, channel: str) -> Image:
    """The image of a channel; `.read(t)` gives frame t (y, x)."""
    return open_image(channel_path(store, fov, channel))
