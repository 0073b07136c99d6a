"""Segment cells: label the cells of every frame of the phase-contrast channel, field of view by field of view.

`cells`, the default, is a small network; `logstd` is the method of PyAMA; `plugin` is one of your own. What the
frames of a movie should share (width of the cells, threshold) is settled on a few of them first. Preprocessors
in the plug-in folder are applied to each frame before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, ParameterError
from ..core.params import Methods, param
from ..core.plugins import Plugin, load_plugins, the_plugin
from ..core.provenance import Task
from ..core.shared import Extensions, Strict
from ..core.stage import In, Out
from ..ingest.movies.ranges import listed
from ..timelapse.store import Facts, FrameWriter, acquired_in, each_fov, fovs_in, open_channel
from . import cells
from .cell_basins import apart, keep_sizes

MANY_LOST = 0.2  # share of the outlines of a frame that are of a wrong size, above which it is said
ANY_SIZE = {"max_object_size": 2**31}
SAMPLE = 3  # frames on which the shared values of a movie are settled


class Sized(Extensions, Strict):
    """Sizes of cells."""

    min_object_size: int = param(50, "Smallest area of a cell", unit="px", ge=0)
    max_object_size: int = param(10_000, "Largest area of a cell", unit="px", ge=1)


class Cells(Sized):
    """Segmentation by a small network."""

    segmentation_method: Literal["cells"] = param("cells", "How cells are found in phase contrast")
    cell_diameter: float = param(
        0.0, "Width of a typical cell (of a rod its thickness); 0: found in the movie", unit="px", ge=0, le=500
    )


class LogStd(Sized):
    """Segmentation by the logarithm of the local standard deviation."""

    segmentation_method: Literal["logstd"] = param("logstd", "How cells are found in phase contrast")
    logstd_window_size: int = param(3, "Side of the window of the standard deviation; odd", unit="px", ge=3, le=101)
    logstd_threshold: Literal["mode3sigma", "valley"] = param(
        "mode3sigma", "Threshold: 3 sigma above the background's mode, or the valley before the cells' mode"
    )
    morph_size: int = param(7, "Width of the disk that closes and opens", unit="px", ge=1, le=101)
    morph_iterations: int = param(3, "Steps that the disk is made of", ge=1, le=50)
    halo_width: float = param(-1.0, "Halo to take off the outline; -1: found in the frame", unit="px", ge=-1, le=50)
    split: bool = param(True, "Take touching cells apart")


class ByPlugin(Sized):
    """Segmentation by a plug-in."""

    segmentation_method: Literal["plugin"] = param("plugin", "How cells are found in phase contrast")
    segmentation_plugin: str = param("", "Name of the plug-in; may be missing where the folder holds only one")


Parameters = Methods("segmentation_method", Cells, LogStd, ByPlugin)


def run(p: Sized, task: Task, *, movie: In, facts: In, batch: str, plugins: In | None = None, output: Out) -> None:
    known = Facts.read(facts)
    added = load_plugins(plugins) if plugins else []
    preprocessors = [plugin for plugin in added if plugin.kind == "preprocessor"]
    method, _ = method_of(p, added)  # what is not there is said before any work
    if method.model:
        task.model(method.model)
    task.report(method=p.segmentation_method, preprocessors=[plugin.name for plugin in preprocessors])  # type: ignore[attr-defined]

    each_fov(task, known, fovs_in(movie), partial(label, p, known, movie, plugins, output), output=output)
    rows = task.quality["per_fov"]
    said = {fov: figures.pop("says") for fov, figures in rows.items()}
    if any(said.values()):
        task.report(notes=[f"Field of view {fov}: {note}" for fov, notes in said.items() for note in notes])
    empty = {f"field of view {f}": f"frame {which}" for f, n in rows.items() if (which := n.pop("empty"))}
    if empty:
        task.report(empty_frames=empty)


def label(p: Sized, known: Facts, movie: Path, plugins: Path | None, output: Path, fov: int) -> dict[str, Any]:
    """Segment a field of view; figures for the record."""
    added = load_plugins(plugins) if plugins else []
    preprocessors = [plugin for plugin in added if plugin.kind == "preprocessor"]
    method, values = method_of(p, added)
    image = open_channel(movie, fov, f"pc_ch_{known.phase}")
    n_frames, acquired = image.shape[0], acquired_in(movie, fov, known.phase)
    masks = [acquired(t) for t in range(n_frames)]
    recorded = [t for t, mask in enumerate(masks) if mask is None or mask.any()]

    def frame(t: int) -> NDArray:
        found, mask = image.read(t), masks[t]
        if mask is not None:
            found = filled(found, mask)
        for plugin in preprocessors:
            found = plugin(found)
        return found

    sample = sorted({recorded[round(k)] for k in np.linspace(0, len(recorded) - 1, min(len(recorded), SAMPLE))})
    shared = dict(method.prepare((frame(t) for t in sample), values))
    said = method.doubts((frame(t) for t in sample), {**values, **shared})
    if sample and not isinstance(p, ByPlugin):
        any_size = ANY_SIZE | ({"min_object_size": 1} if isinstance(p, Cells) else {})  # `logstd` parts cells by it
        said += left_out_by_size(p, method.segment(frame(sample[len(sample) // 2]), {**values, **shared, **any_size}))
    count: dict[int, int] = {}
    with FrameWriter(output, fov, known.labeled(), known, "uint16", label=True) as writer:
        for t, mask in enumerate(masks):
            if mask is not None and not mask.any():
                writer.add(np.zeros(image.shape[1:], np.uint16))
                continue
            try:
                labels = method.segment(frame(t), {**values, **shared})
            except DataError as error:
                raise DataError(f"field of view {fov}, frame {t}: {error}") from error
            if mask is not None or not isinstance(p, ByPlugin):  # no two cells that are visibly apart share a label
                whole = labels if mask is None else np.where(mask, labels, 0).astype(np.int32)
                parts = apart(whole)
                if parts is not labels:
                    labels = keep_sizes(parts, p.min_object_size, p.max_object_size)
            count[t] = int(labels.max())
            writer.add(labels)
    empty = [t for t, seen in count.items() if not seen]
    mean = round(float(np.mean(list(count.values()))), 2) if count else 0.0
    return {"cells_per_frame": mean, "empty_frames": len(empty), "empty": listed(empty), "says": said, **shared}


def left_out_by_size(p: Sized, labels: NDArray) -> list[str]:
    """A remark where many of the outlines of a frame (y, x) are not of a size that is kept: cells that are lost."""
    area = np.bincount(labels.ravel())[1:]
    area = area[area > 0]
    said = []
    for name, wrong in (("max_object_size", area > p.max_object_size), ("min_object_size", area < p.min_object_size)):
        if wrong.sum() > MANY_LOST * len(area):
            limit, way = getattr(p, name), ("larger", "more") if name.startswith("max") else ("smaller", "less")
            said.append(
                f"{wrong.sum()} of {len(area)} outlines in a frame are {way[0]} than --{name} {limit} px and left out (their "
                f"median is {np.median(area[wrong]):.0f} px): give {way[1]} if these are cells."
            )
    return said


def filled(frame: NDArray, mask: NDArray) -> NDArray:
    """A frame (y, x) in which what was not acquired has the value of the nearest pixel that was: no edge is made."""
    from scipy.ndimage import distance_transform_edt

    at = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return frame[tuple(at)]


def method_of(p: Sized, added: list[Plugin]) -> tuple[cells.Method, dict[str, Any]]:
    """The method and its parameters, by the names that it knows them by.

    Raises ParameterError for a plug-in that is not there."""
    values = p.model_dump()
    if isinstance(p, ByPlugin):
        plugin = the_plugin(added, "segmentation", p.segmentation_plugin)
        return cells.Method(lambda frame, _: numbered(plugin(frame), p)), values
    if isinstance(p, LogStd):
        values["threshold"] = values.pop("logstd_threshold")
    if p.min_object_size > p.max_object_size:
        raise ParameterError(f"--min_object_size {p.min_object_size} is above --max_object_size {p.max_object_size}")
    return cells.method_named(p.segmentation_method), values  # type: ignore[attr-defined]


def numbered(labels: NDArray, p: Sized) -> NDArray[np.int32]:
    """Labels of a plug-in as 1..n, those of a wrong size dropped."""
    found, place = np.unique(labels, return_inverse=True)
    dense = np.asarray(place.reshape(labels.shape) + (0 if 0 in found else 1), np.int32)
    return keep_sizes(dense, p.min_object_size, p.max_object_size)
