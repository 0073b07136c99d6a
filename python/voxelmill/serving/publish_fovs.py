"""Publish FOVs: what the stages made of a field of view as one folder, and a view of every channel to look at.

    fov_000/images.zarr/{channel}/0    as it was made (hard links: nothing is copied)
                                 /1    uint8 at half the size, for quick looks
    fov_000/cells.zarr/{channel}/{cell_id}/{0,1}
    fov_000/{base}_fov_000_traces.csv

What level 1 shows, and why viewers do not take it for a level of a pyramid, is said in `postprocess.views`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core import blocks, manifest
from ..core.errors import DataError
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, OutFiles
from ..core.volume import Layout, create_array, open_image
from ..postprocess.crops import frames_per_block
from ..postprocess.views import half_shape, limits_of, view_facts, view_of
from ..timelapse.parameters import Copying, Views
from ..timelapse.store import Facts, acquired_in, annotate, each_fov, fov_name, fovs_in

VIEW_CHUNK = 256  # px


class Parameters(Copying, Views, Strict):
    """Published fields of view."""


def run(p: Parameters, task: Task, *, stores: list[In], facts: In, batch: str, output: OutFiles) -> None:
    known = Facts.read(facts)
    each_fov(task, known, fovs_in(*stores), partial(publish, p, known, stores, output), output=output)


def publish(p: Parameters, known: Facts, stores: Sequence[Path], output: Path, fov: int) -> dict[str, Any]:
    """Lay the stores of a field of view over one another; how many files it has."""
    folder = output / fov_name(fov)
    known_files: dict[str, list] = {}
    for store in stores:
        known_files |= gather(store, fov, output)
    if p.view_level and not p.copy_only:
        for path in sorted((folder / "images.zarr").glob("*_ch_*")):
            if not path.name.startswith("acquired_"):
                write_view(path, known, fov)
    for path in sorted(folder.glob("*.zarr")):
        inside = f"{fov_name(fov)}/{path.name}/"
        manifest.write(path, {k.removeprefix(inside): v for k, v in known_files.items() if k.startswith(inside)})
    return {"files": sum(len(files) for _, _, files in os.walk(folder))}


def gather(store: Path, fov: int, output: Path) -> dict[str, list]:
    """Link the files of one field of view of a store; metadata of channels is copied, since it changes.

    Returns the digests of what was linked, by path in `output`; each file has been checked against it.
    Raises DataError where one is not as the stage left it."""
    listed = (manifest.read(store) or {"files": {}})["files"]
    known: dict[str, list] = {}
    for path in sorted(Path(folder, file) for folder, _, files in os.walk(store / fov_name(fov)) for file in files):
        name = str(path.relative_to(store))
        if path.name == "tracks.npz":
            continue
        if path.name == "zarr.json" and path.parent.parent.name == "images.zarr":
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(path.read_bytes())
            continue
        if name not in listed:
            raise DataError(f"{path}: not in the manifest; re-run the stage that made the store")
        manifest.check(path, *listed[name])
        blocks.link(path, output / name)
        known[name] = listed[name]
    return known


def is_label(root: Path) -> bool:
    return "image-label" in json.loads((root / "zarr.json").read_text())["attributes"].get("ome", {})


def write_view(root: Path, known: Facts, fov: int) -> None:
    """Write level 1 of a channel (t, y, x), some frames at a time."""
    image, label = open_image(root), is_label(root)
    channel = root.name.rpartition("_")[2]
    acquired = acquired_in(root.parents[2], fov, int(channel) if root.name.startswith(("pc_ch_", "fl_ch_")) else None)
    limits = limits_of(image, label, acquired)
    n_frames, *sides = half_shape(image.shape)
    step = frames_per_block((image.shape[1], image.shape[2]), 16)
    chunk = (1, *(min(VIEW_CHUNK, n) for n in sides))
    cover = (min(step, n_frames), *(-(-n // c) * c for n, c in zip(sides, chunk[1:])))
    annotate(root, **view_facts(known, fov, image.shape, limits))
    level = create_array(root / "1", Layout((n_frames, *sides), "uint8", chunk, cover), names="tyx", codec="lz4")
    for start in range(0, n_frames, step):
        part = slice(start, min(start + step, n_frames))
        level[part].write(view_of(image.read(part), limits, label)).result()
