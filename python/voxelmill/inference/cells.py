"""Cell segmentation by name: the methods, the place to add one, and the default, a small network.

A method is functions of arrays. `prepare(frames, params)` looks at some frames of a movie, in order, and
returns what all of its frames should share, such as the width of the cells; it may be missing, and so may
`doubts(frames, params)`, which says of some frames why their labels are not to be trusted.
`segment(frame, params)` labels one frame (y, x) and returns int32 (y, x), 0 = background, cells 1..n.

    method = METHODS["cells"]
    shared = method.prepare(frames, params)
    labels = [method.segment(frame, {**params, **shared}) for frame in frames]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.core import models
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.inference import cell_doubt, cell_flows, logstd
from voxelmill.inference.cell_basins import components, keep_sizes
from voxelmill.inference.logstd import check_frame

Params = Mapping[str, Any]
Maps = NDArray[np.float32]
MODEL = Path(__file__).with_name("cells_model")
_WIDTHS = (5.0, 8.0, 13.0, 20.0, 32.0, 50.0, 80.0)  # px, between which the cells' width is looked for
_SAMPLE = 960  # widths are estimated on a window this many shrunk px a side
_ROOMY = 2.0  # frames shrunk this much cost so little that each is looked at in four mirror images
_FINE = 0.7  # times the width: how these are shown once more, for where their outlines lie
_OUTLINE, _FINE_OUTLINE = -0.25, -0.5  # logit of the foreground at a cell's outline; where there was a finer look
_HOLE = 0.25  # holes smaller than this share of a cell's disk are filled


@cache
def _network() -> Callable[[NDArray[np.float32]], tuple[Maps, Maps]]:
    """Maps (5, y, x) and scale (y / 2, x / 2) of a shrunk frame. Raises DataError where model and card do not match."""
    session = models.load(MODEL).session
    fold = cell_flows.FOLD

    def look(small: NDArray[np.float32]) -> tuple[Maps, Maps]:
        height, width = small.shape
        x = np.pad(cell_flows.normalise(small), [(0, -n % fold) for n in small.shape], mode="symmetric")
        maps, scale = session.run(None, {"x": x[None, None]})
        return maps[0, :, :height, :width], scale[0, 0, : (height + 1) // 2, : (width + 1) // 2]

    return look


def _shrunk(frame: NDArray, diameter: float) -> NDArray[np.float32]:
    """The frame brought to the size at which cells are as wide as the network expects."""
    import cv2

    scale = diameter / cell_flows.WIDTH
    size = tuple(max(8, round(n / scale)) for n in frame.shape[::-1])
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(frame, size, interpolation=how).astype(np.float32)


def _maps(small: NDArray[np.float32], mirrored: bool) -> Maps:
    """Maps (5, y, x) of a shrunk frame; mirrored: the mean of those of its four mirror images, turned back."""
    looked = []
    for y, x in ((1, 1), (-1, 1), (1, -1), (-1, -1)) if mirrored else ((1, 1),):
        maps = _network()(np.ascontiguousarray(small[::y, ::x]))[0][:, ::y, ::x]
        looked.append(maps * np.array([1, 1, 1, y, x], np.float32)[:, None, None])  # flow_y, flow_x turn round
    return np.mean(looked, axis=0) if mirrored else looked[0]


def _sigmoid(x: NDArray[np.float32]) -> NDArray:
    return 1 / (1 + np.exp(-x))


def _fill_small_holes(cell: NDArray[np.float32]) -> None:
    """Make small holes of a shrunk likelihood map part of the cell, in place. Gaps in a colony stay."""
    _, outside = components(cell <= 0)
    area = np.bincount(outside.ravel())
    small = area < _HOLE * np.pi / 4 * cell_flows.WIDTH**2
    small[0] = False
    np.maximum(cell, 2 * cell_flows.INSIDE, out=cell, where=small[outside])


def segment(
    frame: NDArray, *, cell_diameter: float = 0.0, min_object_size: int = 50, max_object_size: int = 10_000
) -> NDArray[np.int32]:
    """Label the cells of one phase-contrast frame with the network of `cells_model`.

    frame: (y, x), any whole or floating-point dtype.
    cell_diameter: width of a typical cell, px: of the largest circle that fits inside it, so of a rod its
        thickness. 0 estimates it from this frame; a movie should share one (`cell_diameter_of`).
    min_object_size, max_object_size: areas in px that are kept, both inclusive.

    Returns int32 (y, x): 0 = background, cells 1..n of this frame; none in a blank frame.
    Raises ParameterError for values out of bounds, DataError for a frame that is no image.
    """
    if cell_diameter != 0 and not 2 <= cell_diameter <= 500:
        raise ParameterError(f"cell_diameter is {cell_diameter}; expected 2 to 500 px, or 0 to estimate it")
    if not 0 <= min_object_size <= max_object_size:
        raise ParameterError(
            f"min_object_size {min_object_size}, max_object_size {max_object_size}: expected 0 <= min <= max"
        )
    frame = check_frame(frame)
    diameter = cell_diameter or cell_diameter_of([frame])
    labels = _outlined(frame, diameter, roomy=diameter >= _ROOMY * cell_flows.WIDTH)
    return keep_sizes(labels, min_object_size, max_object_size)


def _outlined(frame: NDArray, diameter: float, roomy: bool) -> NDArray[np.int32]:
    """Cells of any size, on the frame's own grid. roomy: look at mirror images, and once more at finer pixels."""
    import cv2

    maps = _maps(_shrunk(frame, diameter), roomy)
    _fill_small_holes(maps[0])
    parts = cell_flows.decode(maps)
    # the outline is found on the frame's own grid, between the shrunk pixels, so parts must reach past it
    rim = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8))
    size = frame.shape[::-1]
    # float32: OpenCV's exact nearest neighbour takes no int32
    near = cv2.resize(np.where(parts > 0, parts, rim).astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    likely = cv2.resize(maps[0], size, interpolation=cv2.INTER_LINEAR)
    if not roomy:
        return near.astype(np.int32) * (likely > _OUTLINE)
    finer = np.ascontiguousarray(_maps(_shrunk(frame, _FINE * diameter), False)[0])
    _fill_small_holes(finer)
    likely += cv2.resize(finer, size, interpolation=cv2.INTER_LINEAR)
    return near.astype(np.int32) * (likely > 2 * _FINE_OUTLINE)


def _window(frame: NDArray, diameter: float) -> NDArray:
    """The middle of a frame, _SAMPLE px a side where cells of this diameter are shrunk."""
    side = round(_SAMPLE * diameter / cell_flows.WIDTH)
    return frame[tuple(slice(max(0, (n - side) // 2), max(0, (n - side) // 2) + side) for n in frame.shape)]


def _seen_at(frame: NDArray, diameter: float) -> tuple[float, float]:
    """Shown cells as if `diameter` px wide: log2 of how much wider they look, and how sure their centres are.

    Sureness is 0 where there are no cells to see.
    """
    maps, scale = _network()(_shrunk(_window(frame, diameter), diameter))
    cell, centre = maps[0], maps[2]
    inside = cell[::2, ::2] > 0
    if np.count_nonzero(inside) < cell_flows.WIDTH:
        return 0.0, 0.0
    return float(np.median(scale[inside])), float(np.quantile(_sigmoid(centre[cell > 0]), 0.9))


def _width(frame: NDArray) -> float | None:
    seen = [(np.log2(d), *_seen_at(frame, d)) for d in _WIDTHS]
    seen = [s for s in seen if s[2] > 0]
    # where "wider" turns into "narrower" lies the width; of several turns the one with the surest centres
    turns = [
        (s0 + s1, x0 + (x1 - x0) * up / (up - down)) for (x0, up, s0), (x1, down, s1) in pairwise(seen) if up > 0 >= down
    ]
    smallest, up, sure = seen[0] if seen else (0.0, 1.0, 0.0)
    if smallest == np.log2(_WIDTHS[0]) and up <= 0:  # the turn lies before the ladder begins
        turns.append((2 * sure, smallest))
    if turns:
        return float(2 ** max(turns)[1])
    return float(2 ** (max(seen, key=lambda s: s[2])[0])) if seen else None


def cell_diameter_of(frames: Iterable[NDArray]) -> float:
    """Estimate the width of the cells, px, from some frames (y, x) of a movie; 0 frames raise DataError.

    The network is shown the frame at a ladder of sizes and says at each whether the cells look wider or
    narrower than it expects; the width is where the one turns into the other. The median over frames; where
    no frame shows a cell, the middle of the ladder.
    """
    found = [_width(check_frame(frame)) for frame in frames]
    if not found:
        raise DataError("no frames to estimate the cells' width from; give at least one")
    seen = [width for width in found if width is not None]
    return float(np.median(seen)) if seen else _WIDTHS[len(_WIDTHS) // 2]


def doubts_of(frames: Iterable[NDArray], cell_diameter: float) -> list[str]:
    """What is doubtful about outlines of this width in some frames (y, x) of a movie, blank ones aside: see `cell_doubt`."""
    looks = []
    for frame in frames:
        frame = _window(check_frame(frame), cell_diameter)
        if frame.min() == frame.max():  # blank, or saturated throughout
            continue
        small = _shrunk(frame, cell_diameter)
        maps, scale = _network()(small)
        seen = maps[0] > 0
        parts = cell_flows.decode(np.ascontiguousarray(maps))
        widths = [float(np.clip(cell_diameter * f, 2, 500)) for f in (1, *cell_doubt.OTHER_WIDTHS)]
        # one look each, at all widths alike
        labels, *others = [keep_sizes(_outlined(frame, w, roomy=False), 1, frame.size) for w in widths]
        wider = scale[seen[::2, ::2]]
        dark, below = cell_doubt.dark_of(small, parts > 0)
        looks.append(
            cell_doubt.Look(
                int(np.count_nonzero(seen)),
                int(np.count_nonzero(parts)),
                float(np.median(wider)) if wider.size else 0.0,
                cell_doubt.flow_of(maps, seen),
                cell_doubt.halo_of(small, parts > 0),
                tuple(cell_doubt.matched(labels, other) for other in others),
                tuple(int(labels.max() + other.max()) for other in others),
                dark,
                cell_doubt.lit_of(small),
                below,
            )
        )
    return cell_doubt.doubts(looks, cell_diameter)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to segment. All functions get all parameters of the run and use the ones they know."""

    segment: Callable[[NDArray, Params], NDArray[np.int32]]
    prepare: Callable[[Iterable[NDArray], Params], Params] = lambda frames, params: {}
    model: Path | None = None  # what it runs, if it runs a network
    doubts: Callable[[Iterable[NDArray], Params], list[str]] = lambda frames, params: []  # about these frames, for people


def _known(function: Callable, params: Params) -> dict[str, Any]:
    """The parameters that the function takes by name."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in params.items() if name in names}


def _prepare_cells(frames: Iterable[NDArray], params: Params) -> Params:
    return {"cell_diameter": params.get("cell_diameter") or cell_diameter_of(frames)}


def _prepare_logstd(frames: Iterable[NDArray], params: Params) -> Params:
    threshold = params.get("threshold", "mode3sigma")
    if isinstance(threshold, str):
        threshold = logstd.threshold_of_movie(frames, **_known(logstd.threshold_of_movie, params))
    # where the sample is blank, each frame is left to find its own
    return {"threshold": threshold} if np.isfinite(threshold) else {}


DEFAULT = "cells"
METHODS: dict[str, Method] = {
    "cells": Method(
        lambda frame, params: segment(frame, **_known(segment, params)),
        _prepare_cells,
        MODEL,
        lambda frames, params: doubts_of(frames, params["cell_diameter"]),
    ),
    "logstd": Method(lambda frame, params: logstd.segment(frame, **_known(logstd.segment, params)), _prepare_logstd),
}


def register(name: str, method: Method) -> None:
    """Add a method under a name of its own. Raises ParameterError where the name is taken."""
    if name in METHODS:
        raise ParameterError(f"segmentation method {name!r} is there already; choose another name")
    METHODS[name] = method


def method_named(name: str) -> Method:
    """The method of that name. Raises ParameterError that lists the names there are."""
    if name not in METHODS:
        raise ParameterError(f"segmentation method {name!r} is unknown; expected one of {', '.join(METHODS)}")
    return METHODS[name]
