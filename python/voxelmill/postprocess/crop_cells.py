"""Crop cells: every cell of a field of view as a movie of its own, raw counts, in one window for its life.

    fov_000/cells.zarr/metadata/cell_ids       (n,)
                               /bboxes         (n, t, 4)  y0, x0, y1, x1, half-open, in the frame; 0 where not seen
                               /valid_frames   (n, t)
                               /windows        (n, 4)     y0, x0, y1, x1 of the crop, in the frame
                      /pc_ch_0/{cell_id}/0     (t, y, x)  counts; so too fl_ch_1
                      /fl_background_ch_1/...  counts
                      /seg_tracked_ch_0/...    the cell's mask, 0 and 1
                      /pc_ch_0/{cell_id}/1     a view of it, as `publish_fovs` has it for whole frames

Frames before a cell's first and after its last are 0 in all its crops; whole chunks of them are not written, and
read as 0, as the Zarr standard has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.metadata import write_group
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import Image
from ..timelapse.parameters import Crops, Views
from ..timelapse.small import SmallArray
from ..timelapse.store import Facts, acquired_in, describe_movie, each_fov, fov_name, fovs_in, open_channel
from .crops import TrackBoxes, frames_per_block, iter_crops, track_boxes
from .views import Limits, all_of_it, half_shape, limits_of, view_facts, view_of

BLOCK_BYTES = 64 << 20  # of frames in memory at a time


class Parameters(Crops, Views, Strict):
    """Crops of cells."""

    crop_padding: int = param(0, "Margin around a cell's boxes, within the frame", unit="px", ge=0, le=1000)


def run(
    p: Parameters, task: Task, *, movie: In, tracked: In, background: In | None = None, facts: In, batch: str, output: Out
) -> None:
    known = Facts.read(facts)
    fovs = fovs_in(tracked, background)
    each_fov(task, known, fovs, partial(crop, p, known, movie, tracked, background, output), output=output)


def crop(
    p: Parameters, known: Facts, movie: Path, tracked: Path, background: Path | None, output: Path, fov: int
) -> dict[str, Any]:
    """Write the crops of a field of view; figures for the record."""
    labels = open_channel(tracked, fov, known.tracked())
    images = {name: open_channel(movie, fov, name) for name in known.images()}
    if background is not None:
        images |= {
            f"fl_background_ch_{c}": open_channel(background, fov, f"fl_background_ch_{c}") for c in known.fluorescence
        }
    shape = known.views[fov].shape
    boxes = track_boxes((labels.read(t) for t in range(shape[0])), shape[1:])
    windows = boxes.windows(p.crop_padding)
    root = output / fov_name(fov) / "cells.zarr"
    write_group(root)
    write_metadata(root, boxes, windows)
    gaps = {name: acquired_in(movie, fov, channel) for name, channel in known.images().items()}
    limits = {name: limits_of(image, acquired=gaps.get(name, all_of_it)) for name, image in images.items() if p.view_level}
    write_crops(root, known, fov, boxes, windows, labels, images, limits)
    return {"cells": len(boxes.cell_ids)}


def write_metadata(root: Path, boxes: TrackBoxes, windows: NDArray) -> None:
    """The arrays under `metadata/`; of length 0 where there are no cells."""
    write_group(root / "metadata")
    values = {"cell_ids": boxes.cell_ids, "bboxes": boxes.bboxes, "valid_frames": boxes.valid_frames, "windows": windows}
    names = {
        "cell_ids": ["cell"],
        "bboxes": ["cell", "t", "edge"],
        "valid_frames": ["cell", "t"],
        "windows": ["cell", "edge"],
    }
    for name, array in values.items():
        made = SmallArray(root / "metadata" / name, array.shape, array.dtype, max(len(array), 1), names[name])
        if array.size:
            made.write(0, array)
            made.close()


def write_crops(
    root: Path,
    known: Facts,
    fov: int,
    boxes: TrackBoxes,
    windows: NDArray,
    labels: Image,
    images: dict[str, Image],
    limits: dict[str, Limits],
) -> None:
    """All crops of a field of view, a block of frames at a time; a block is one chunk of a crop. limits: of the
    views, which are written where there are any."""
    view = bool(limits)
    n_frames, height, width = known.views[fov].shape
    dtypes = {known.tracked(): np.dtype(np.uint8)} | {name: image.dtype for name, image in images.items()}
    held = labels.dtype.itemsize + sum(image.dtype.itemsize for image in images.values())
    block = frames_per_block((height, width), held, BLOCK_BYTES)
    limits = {known.tracked(): (0.0, 1.0)} | limits
    made: dict[tuple[str, int, int], SmallArray] = {}
    for name, dtype in dtypes.items():
        write_group(root / name)
        of = f"../../{next(iter(images))}" if name == known.tracked() else None
        for cell, (y0, x0, y1, x1) in zip(boxes.cell_ids.tolist(), windows.tolist()):
            crop, shape = root / name / str(cell), (n_frames, y1 - y0, x1 - x0)
            describe_movie(
                crop,
                known.views[fov].space.crop((0, y0, x0)),
                label_of=of and f"{of}/{cell}",
                window=[y0, x0, y1, x1],
                **(view_facts(known, fov, shape, limits[name], (y0, x0)) if view else {}),
            )
            made[name, cell, 0] = SmallArray(crop / "0", shape, dtype, block, "tyx")
            if view:
                made[name, cell, 1] = SmallArray(crop / "1", half_shape(shape), "uint8", block, "tyx", "lz4")
    readers: dict[str, Callable[[int], NDArray]] = {name: image.read for name, image in images.items()}
    valid = boxes.valid_frames
    alive = np.logical_or.accumulate(valid, 1) & np.logical_or.accumulate(valid[:, ::-1], 1)[:, ::-1]
    for found in iter_crops(boxes, windows, labels.read, readers, block):
        n, lives = found.frames.start // block, alive[found.index, found.frames, None, None]
        for name, values in ({known.tracked(): found.mask.astype(np.uint8)} | found.images).items():
            values = values if lives.all() else values * lives
            made[name, found.cell, 0].write(n, values)
            if view:
                made[name, found.cell, 1].write(n, view_of(values, limits[name], name == known.tracked()))
    for array in made.values():
        array.close()
