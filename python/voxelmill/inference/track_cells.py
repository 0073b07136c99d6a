"""Track cells: one id per cell for its life, field of view by field of view.

Frames are measured one by one, the tables are linked, the frames are relabelled one by one. Beside the labels
`tracks.npz` holds every region with its track, and every track with its mother.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core import manifest
from ..core.errors import DataError
from ..core.params import Methods, param
from ..core.plugins import load_plugins, the_plugin
from ..core.provenance import Task
from ..core.shared import Extensions, Strict
from ..core.stage import In, Out
from ..ingest.movies.ranges import listed
from ..timelapse.store import Facts, FrameWriter, each_fov, fov_name, fovs_in, open_channel
from .tracking import Tracks, region_table, track


class Linked(Extensions, Strict):
    """Sizes of tracked cells."""

    track_min_size: int = param(0, "Smallest area that is tracked; 0: any", unit="px", ge=0)
    track_max_size: int = param(0, "Largest area that is tracked; 0: any", unit="px", ge=0)


class Growth(Linked):
    """Tracking of cells that move, grow and divide."""

    tracking_method: Literal["growth"] = param("growth", "How cells are followed from frame to frame")
    max_gap: int = param(
        2,
        "Frames in a row that a cell may be missing and keep its id",
        unit="frame",
        ge=0,
        le=100,
        profiles={"conservative": 1, "aggressive": 4},
    )
    max_link_cost: float = param(
        2.0,
        "Greatest cost of a link; 2 is a disc moved by its own diameter",
        gt=0,
        profiles={"conservative": 1.5, "aggressive": 3.0},
    )
    division_cost: float = param(0.3, "What a division costs beyond its misfit; higher finds fewer", ge=0)
    divisions: bool = param(True, "Look for divisions")
    min_daughter: int = param(3, "Frames a daughter must live for its division to count", unit="frame", ge=0)
    max_drift: float = param(
        -1.0, "Greatest jump of the whole field between frames; -1: by half of the field, 0: none", unit="px", ge=-1
    )
    max_move: float = param(0.0, "Greatest move of a cell beyond the shared motion; 0: by its size", unit="px", ge=0)


class Iou(Linked):
    """Tracking by overlap of bounding boxes, as PyAMA does."""

    tracking_method: Literal["iou"] = param("iou", "How cells are followed from frame to frame")
    track_min_iou: float = param(0.1, "Least overlap (IoU) of the bounding boxes of a cell in two frames", gt=0, le=1)


class AsGiven(Linked):
    """Labels that are track ids already."""

    tracking_method: Literal["labels"] = param("labels", "How cells are followed from frame to frame")


class TrackPlugin(Linked):
    """Tracking by a plug-in; the label movie of a field of view is in memory then."""

    tracking_method: Literal["plugin"] = param("plugin", "How cells are followed from frame to frame")
    tracking_plugin: str = param("", "Name of the plug-in; may be missing where the folder holds only one")


Parameters = Methods("tracking_method", Growth, Iou, AsGiven, TrackPlugin)
OTHER_NAMES = {
    "track_min_size": "min_size",
    "track_max_size": "max_size",
    "max_link_cost": "max_cost",
    "track_min_iou": "min_iou",
}
MANY_TIMES = 6  # the area of the median cell; one about to divide has 2
LEAST_KIND = 20  # outlines, from which there is a usual size
NO_OPTION = {"tracking_method", "tracking_plugin", "plugins", "strict"}


def run(p: Linked, task: Task, *, labels: In, facts: In, batch: str, plugins: In | None = None, output: Out) -> None:
    known = Facts.read(facts)
    plugin_of(p, plugins)  # what is not there is said before any work
    task.report(method=p.tracking_method)  # type: ignore[attr-defined]

    each_fov(task, known, fovs_in(labels), partial(follow, p, known, labels, plugins, output), output=output)
    said = {fov: figures.pop("says") for fov, figures in task.quality["per_fov"].items()}
    if any(said.values()):
        task.report(notes=[f"Field of view {fov}: {note}" for fov, note in said.items() if note])


def follow(p: Linked, known: Facts, labels: Path, plugins: Path | None, output: Path, fov: int) -> dict[str, Any]:
    """Track the cells of a field of view; figures for the record."""
    options = {OTHER_NAMES.get(k, k): v for k, v in p.model_dump().items() if k not in NO_OPTION}
    by_plugin = plugin_of(p, plugins)
    image = open_channel(labels, fov, known.labeled())
    frame = image.read
    if by_plugin is not None:
        frame = by_plugin(image.read()).__getitem__
    tables = [region_table(frame(t)) for t in range(image.shape[0])]
    method = "labels" if by_plugin is not None else p.tracking_method  # type: ignore[attr-defined]
    try:
        tracks = track(tables, method, **options)
    except DataError as error:
        raise DataError(f"field of view {fov}: {error}") from error
    wide = tracks.tracks["track_id"].max(initial=0) > 65535
    with FrameWriter(output, fov, known.tracked(), known, "uint32" if wide else "uint16", label=True) as writer:
        for t in range(image.shape[0]):
            writer.add(tracks.relabel(t, frame(t)))
    save_tracks(output / fov_name(fov) / "tracks.npz", tracks)
    mothers = tracks.tracks["parent"]
    return {
        "tracks": len(tracks.tracks),
        "divisions": len(np.unique(mothers[mothers > 0])),
        "says": too_large([table.area for table in tables]),
    }


def too_large(areas: list[NDArray]) -> str:
    """A remark where outlines are many times larger than the movie's usual cell; areas: (n,) px of each frame."""
    every = np.concatenate([np.zeros(0), *areas])
    if len(every) < LEAST_KIND:
        return ""
    usual = float(np.median(every))
    frames = [t for t, area in enumerate(areas) if (area > MANY_TIMES * usual).any()]
    count = int((every > MANY_TIMES * usual).sum())
    if not count:
        return ""
    return (
        f"outlines more than {MANY_TIMES} times as large as the usual cell ({usual:.0f} px): {count}, in frame "
        f"{listed(frames)}. Cells that are taken for one, or debris: look at them; --track_max_size leaves them out."
    )


def plugin_of(p: Linked, plugins: Path | None) -> Callable[..., Any] | None:
    """The plug-in that tracks, where one was chosen."""
    if not isinstance(p, TrackPlugin):
        return None
    return the_plugin(load_plugins(plugins) if plugins else [], "tracking", p.tracking_plugin)


def save_tracks(path: Any, tracks: Tracks) -> None:
    """Nodes and tracks; the same bytes whenever it is written."""
    np.savez(path, nodes=tracks.nodes, tracks=tracks.tracks)


def load_tracks(path: Any) -> Tracks:
    """What `save_tracks` wrote."""
    with np.load(manifest.checked(path)) as stored:
        return Tracks(stored["tracks"], stored["nodes"])
