"""Publish FOVs: what the stages made of a field of view as one folder, and a view of every channel to look at.

    fov_000/images.zarr/{channel}/0    as it was made (hard links: nothing is copied)
                                 /1    uint8 at half the size, for quick looks
    fov_000/cells.zarr/{channel}/{cell_id}/{0,1}
    fov_000/{base}_fov_000_traces.csv

Level 1 is no level of a pyramid: it holds other numbers than level 0. It is not listed among the multiscales,
where a reader would take it for one; what its values mean stands under `voxelmill.view`. Counts go from the
1st to the 99th percentile of the channel, over all frames; labels from 1-255 by id, 0 is background.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import blocks, manifest
from ..core.movie import Facts, annotate, each_fov, fov_name, fovs_in
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Copying, Strict
from ..core.stage import In, Out
from ..core.volume import Image, Layout, create_array, open_array, open_image
from ..postprocess.crops import ViewScale, frames_per_block, half_resolution, to_view

VIEW_CHUNK = 256  # px


class Parameters(Copying, Strict):
    """Published fields of view."""

    view_level: bool = param(True, "Write level 1 of every channel: uint8, half the size")


def run(p: Parameters, task: Task, *, stores: list[In], facts: In, batch: str, output: Out) -> None:
    task.block, known = batch, Facts.read(facts)
    complete = set.intersection(*(set(fovs_in(store)) for store in stores))

    def publish(fov: int) -> dict[str, Any]:
        folder = output / fov_name(fov)
        known_files: dict[str, list] = {}
        for store in stores:
            known_files |= gather(store, fov, output)
        task.carry(output, known_files)
        if p.view_level and not p.copy_only:
            limits = {path.name: view_channel(path) for path in sorted((folder / "images.zarr").glob("*_ch_*"))}
            for path in sorted((folder / "cells.zarr").glob("*_ch_*/*/0")):
                view_crop(path.parent, limits[path.parent.parent.name])
        for path in sorted(folder.glob("*.zarr")):
            inside = f"{fov_name(fov)}/{path.name}/"
            manifest.write(path, {k.removeprefix(inside): v for k, v in known_files.items() if k.startswith(inside)})
        return {"files": sum(path.is_file() for path in folder.rglob("*"))}

    each_fov(task, known, sorted(complete), publish, output=output, strict=p.strict)


def gather(store: Path, fov: int, output: Path) -> dict[str, list]:
    """Link the files of one field of view of a store, metadata of groups copied, since it changes.

    Returns the digests that are known already, by path in `output`."""
    listed = (manifest.read(store) or {"files": {}})["files"]
    known: dict[str, list] = {}
    for path in sorted((store / fov_name(fov)).rglob("*")):
        name = str(path.relative_to(store))
        if not path.is_file() or path.name == "tracks.npz":
            continue
        if path.name == "zarr.json" and not (path.parent / "c").exists():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(path.read_bytes())
        else:
            blocks.link(path, output / name)
            known |= {name: listed[name]} if name in listed else {}
    return known


def is_label(root: Path) -> bool:
    return "image-label" in json.loads((root / "zarr.json").read_text())["attributes"].get("ome", {})


def view_channel(root: Path) -> tuple[float, float]:
    """Write level 1 of a channel (t, y, x), frame by frame; returns the values that became 0 and 255."""
    image = open_image(root)
    n_frames, label = image.shape[0], is_label(root)
    if label:
        limits = (0.0, float(max(int(image.read(t).max()) for t in range(n_frames))))
    else:
        scale = ViewScale()
        for t in range(n_frames):
            scale.add(image.read(t))
        limits = scale.limits()
    step = frames_per_block((image.shape[1], image.shape[2]), 8)
    level = create_view(root, image, step, limits)
    for start in range(0, n_frames, step):
        part = np.s_[start:min(start + step, n_frames)]
        level[part].write(shown(image.read(part), limits, label)).result()
    return limits


def view_crop(root: Path, limits: tuple[float, float]) -> None:
    """Write level 1 of a cell's crop, on the scale of its channel; a mask becomes 0 and 255."""
    image = open_image(root)
    array, label = open_array(root / "0", sparse=True), is_label(root)
    limits = (0.0, 1.0) if label else limits
    level = create_view(root, image, image.shape[0], limits)
    level.write(shown(array.read().result(), limits, label)).result()


def create_view(root: Path, image: Image, frames: int, limits: tuple[float, float]) -> Any:
    t, height, width = image.shape
    fy, fx = (2 if n > 1 else 1 for n in (height, width))
    shape = (t, height // fy, width // fx)
    chunk = (1, *(min(VIEW_CHUNK, n) for n in shape[1:]))
    cover = (min(frames, t), *(-(-n // c) * c for n, c in zip(shape[1:], chunk[1:])))
    dt, dy, dx = image.scale
    um = 1e-3 if image.axes[1].unit else 1.0  # scales are read in nm
    annotate(root, view={"path": "1", "black": limits[0], "white": limits[1],
                         "scale": [dt, dy * um * fy, dx * um * fx],
                         "translation": [0.0, dy * um * (fy - 1) / 2, dx * um * (fx - 1) / 2]})
    return create_array(root / "1", Layout(shape, "uint8", chunk, cover), names="tyx", codec="lz4")


def shown(stack: NDArray, limits: tuple[float, float], label: bool) -> NDArray[np.uint8]:
    """Frames (t, y, x) as they are looked at: uint8, half the size."""
    if not label:
        return half_resolution(to_view(stack, limits))
    fy, fx = (2 if n > 1 else 1 for n in stack.shape[1:])
    small = stack[:, :stack.shape[1] // fy * fy:fy, :stack.shape[2] // fx * fx:fx].astype(np.float64)
    # rounded up, so that no cell becomes background
    return np.ceil(small * (255 / max(limits[1], 1.0))).astype(np.uint8)
