"""Crop cells: every cell of a field of view as a movie of its own, raw counts, in one window for its life.

    fov_000/cells.zarr/metadata/cell_ids       (n,)
                               /bboxes         (n, t, 4)  y0, x0, y1, x1, half-open, in the frame; 0 where not seen
                               /valid_frames   (n, t)
                               /windows        (n, 4)     y0, x0, y1, x1 of the crop, in the frame
                      /pc_ch_0/{cell_id}/0     (t, y, x)  counts; so too fl_ch_1
                      /fl_background_ch_1/...  counts
                      /seg_tracked_ch_0/...    the cell's mask, 0 and 1

Frames before a cell's first and after its last are 0 in all its crops; whole files of them are not written, and
read as 0, as the Zarr standard has it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.movie import Facts, create_movie, each_fov, fov_name, fovs_in, open_channel
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import Image, Layout, create_array, write_group
from .crops import TrackBoxes, frames_per_block, iter_crops, track_boxes


class Parameters(Strict):
    """Crops of cells."""

    crop_padding: int = param(0, "Margin around a cell's boxes, within the frame", unit="px", ge=0, le=1000)


def run(p: Parameters, task: Task, *, movie: In, tracked: In, background: In | None = None, facts: In, batch: str,
        output: Out) -> None:
    task.block, known = batch, Facts.read(facts)

    def crop(fov: int) -> dict[str, Any]:
        labels = open_channel(tracked, fov, known.tracked())
        images = {name: open_channel(movie, fov, name) for name in known.images()}
        if background is not None:
            images |= {f"fl_background_ch_{c}": open_channel(background, fov, f"fl_background_ch_{c}")
                       for c in known.fluorescence}
        shape = known.views[fov].shape
        boxes = track_boxes((labels.read(t) for t in range(shape[0])), shape[1:])
        windows = boxes.windows(p.crop_padding)
        root = output / fov_name(fov) / "cells.zarr"
        write_group(root)
        write_metadata(root, boxes, windows)
        write_crops(root, known, fov, boxes, windows, labels, images)
        return {"cells": len(boxes.cell_ids)}

    fovs = [f for f in fovs_in(tracked) if background is None or f in fovs_in(background)]
    each_fov(task, known, fovs, crop, output=output, strict=p.strict)


def write_metadata(root: Path, boxes: TrackBoxes, windows: NDArray) -> None:
    """The arrays under `metadata/`; of length 0 where there are no cells."""
    write_group(root / "metadata")
    values = {"cell_ids": boxes.cell_ids, "bboxes": boxes.bboxes, "valid_frames": boxes.valid_frames,
              "windows": windows}
    for name, array in values.items():
        names = {1: ["cell"], 2: ["cell", "edge" if name == "windows" else "t"], 3: ["cell", "t", "edge"]}
        chunk = tuple(max(n, 1) for n in array.shape)
        made = create_array(root / "metadata" / name, Layout(array.shape, array.dtype.name, chunk, chunk),
                            fill=array.dtype.type(0).item(), names=names[array.ndim])
        if array.size:
            made.write(array).result()


def write_crops(root: Path, known: Facts, fov: int, boxes: TrackBoxes, windows: NDArray, labels: Image,
                images: dict[str, Image]) -> None:
    """All crops of a field of view, a block of frames at a time; a block is one file of a crop."""
    n_frames, *shape = known.views[fov].shape
    dtypes = {known.tracked(): np.dtype(np.uint8)} | {name: image.dtype for name, image in images.items()}
    block = frames_per_block((shape[0], shape[1]), sum(d.itemsize for d in dtypes.values()) + 4)
    size = known.pixel_size_um
    crops: dict[tuple[str, int], Image] = {}
    for name, dtype in dtypes.items():
        write_group(root / name)
        for cell, (y0, x0, y1, x1) in zip(boxes.cell_ids.tolist(), windows.tolist()):
            chunk = (min(block, n_frames), y1 - y0, x1 - x0)
            lay = Layout((n_frames, y1 - y0, x1 - x0), dtype.name, chunk, chunk)
            crops[name, cell] = create_movie(
                root / name / str(cell), lay, (known.views[fov].interval, size or 1.0, size or 1.0), size,
                label_of=f"../{next(iter(images))}/{cell}" if name == known.tracked() else None,
                window=[y0, x0, y1, x1])
    readers: dict[str, Callable[[int], NDArray]] = {name: image.read for name, image in images.items()}
    for crop in iter_crops(boxes, windows, labels.read, readers, block):
        stacks = {known.tracked(): crop.mask.astype(np.uint8)} | crop.images
        for name, values in stacks.items():
            crops[name, crop.cell].write((crop.frames,), values)
