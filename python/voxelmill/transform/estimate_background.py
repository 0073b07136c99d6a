"""Estimate background: what a fluorescence channel would show without its cells, frame by frame.

One movie at a time; two passes over it, with a few dozen numbers per frame held in between.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.errors import DataError, ParameterError
from ..core.params import param
from ..core.plugins import find, load_plugins
from ..core.provenance import Task
from ..core.shared import Extensions, Strict
from ..core.stage import In, Out
from ..timelapse.store import Facts, FrameWriter, acquired_in, each_fov, fovs_in, open_channel
from .background import BackgroundOptions, estimate_movie


class Parameters(Extensions, Strict):
    """Background of fluorescence."""

    background_method: Literal["tiles", "plugin"] = param("tiles", "Tiled interpolation, or a plug-in")
    background_plugin: str = param("", "Name of the background plug-in, with --background_method plugin")
    tile_size: int = param(64, "Side of a tile; tiles overlap by half", unit="px", ge=8, le=4096)
    dilation_radius: int = param(
        10, "Radius of the disk by which cells are widened before they are left out", unit="px", ge=0, le=200
    )
    min_background: float = param(0.05, "Share of a tile that must be background for the tile to count", ge=0, le=1)
    knot_spacing: float = param(1.5, "Distance between knots of the surface; larger is smoother", unit="tile", ge=0.5, le=64)


def run(
    p: Parameters,
    task: Task,
    *,
    movie: In,
    labels: In | None = None,
    facts: In,
    batch: str,
    plugins: In | None = None,
    output: Out,
) -> None:
    """Without `labels` every pixel may be background; cells are then outliers that tiles put up with."""
    known = Facts.read(facts)
    plugin_of(p, plugins)  # what is not there is said before any work
    fovs = fovs_in(movie, labels)
    each_fov(task, known, fovs, partial(estimate, p, known, movie, labels, plugins, output), output=output)
    if labels is None:
        task.report(notes=["No cells were looked for: they are not left out of the background."])


def estimate(
    p: Parameters, known: Facts, movie: Path, labels: Path | None, plugins: Path | None, output: Path, fov: int
) -> dict[str, Any]:
    """Estimate the background of each channel of a field of view; what the record says of it."""
    options = BackgroundOptions(p.tile_size, p.dilation_radius, p.min_background, p.knot_spacing)
    plugin = plugin_of(p, plugins)
    seen = open_channel(labels, fov, known.labeled()) if labels else None
    n_frames, *rest = known.views[fov].shape
    shape, said = (rest[0], rest[1]), {}
    nothing = np.zeros(shape, np.uint8)
    for channel in known.fluorescence:
        image, acquired = open_channel(movie, fov, f"fl_ch_{channel}"), acquired_in(movie, fov, channel)

        def read(t: int, image: Any = image, acquired: Any = acquired) -> tuple[np.ndarray, np.ndarray]:
            cells, held = seen.read(t) if seen else nothing, acquired(t)
            # what was not acquired is no background either
            return image.read(t), cells if held is None else np.where(held, cells, 1)

        try:
            if plugin is None:
                surface, report = estimate_movie(read, n_frames, shape, options)
                said[f"ch_{channel}"] = {k: v for k, v in report.items() if v}
            with FrameWriter(output, fov, f"fl_background_ch_{channel}", known, "float32") as writer:
                for t in range(n_frames):
                    writer.add(surface(t) if plugin is None else plugin(*read(t)))
        except DataError as error:
            raise DataError(f"field of view {fov}, channel {channel}: {error}") from error
    return said


def plugin_of(p: Parameters, plugins: Path | None) -> Any:
    """The plug-in that estimates, where one was chosen. Raises ParameterError where it is not there."""
    if p.background_method != "plugin":
        return None
    plugin = find(load_plugins(plugins) if plugins else [], "background", p.background_plugin)
    if plugin is None:
        raise ParameterError(f"--background_plugin {p.background_plugin!r}: no such plug-in in the folder of --plugins")
    return plugin
