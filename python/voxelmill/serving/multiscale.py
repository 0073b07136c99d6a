"""Multiscale: the published volume, with pyramid levels, labels and the metadata that viewers need.

Level 0 is hard-linked, not copied, where version and values stay as they are; so are the levels that `pyramid` has
made block by block. Images are averaged, labels take their first voxel. The axis that is coarser than twice the finest
is not halved until the others have caught up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks, manifest
from ..core.device import choose
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Layout, multiscales, write_group
from .pyramid import Published, Pyramid, pyramids


class Parameters(Published):
    """Published volumes."""


def run(
    p: Parameters,
    task: Task,
    *,
    volume: In,
    labels: In | None = None,
    role: str = "",
    parts: list[In] | None = None,
    output: Out,
) -> None:
    """`parts` are the stores of all tasks of `pyramid`; without them every level is made here. `role` as there."""
    task.device = choose(p.use_gpu)[1]
    task.block = output.name.split(".")[0]
    task.carry(output, blocks.join(parts or [], output))
    if labels is not None:
        write_group(output / "labels", {"labels": ["neurites"]}, p.ome_zarr_version)
    for made in pyramids(p, volume, labels, role, output):
        source, root = made.image.root, made.target.root
        write_group(root, metadata(made, root.name.split(".")[0]), p.ome_zarr_version)
        if not made.own:
            inside = "" if root == output else f"{root.relative_to(output)}/"
            task.carry(output, {inside + name: entry for name, entry in link_level_0(source, root).items()})
        finish(made, task)


def link_level_0(source: Path, root: Path) -> dict[str, list]:
    """Hard-link the array of level 0; returns the digests of its files, as the manifest of the source has them."""
    known = {name: entry for name, entry in manifest.verify(source)["files"].items() if name.startswith("0/")}
    for name in known:
        blocks.link(source / name, root / name)
    return known


def finish(made: Pyramid, task: Task) -> None:
    """Check the levels that are there and make those that are not.

    Raises DataError where a shard is missing: its voxels would read as zeros, or be left out of the levels above."""
    whole = tuple(slice(0, n) for n in made.lay.shape)
    for n in task.progress(range(len(made.down)), f"levels of {made.target.root.name.removesuffix('.partial')}"):
        if not made.target.path(n).exists():
            made.make(n, whole)
        blocks.require(made.layouts[n], made.target.path(n))


def metadata(made: Pyramid, name: str) -> dict[str, Any]:
    """OME attributes of one image or label image."""
    image = made.image
    scales = [[s * f for s, f in zip(image.scale, fs)] for fs in made.down]
    # A level's voxel is centred on the mean of the voxels it stands for.
    shifts = [[s * (f - 1) / 2 if not made.label else 0.0 for s, f in zip(image.scale, fs)] for fs in made.down]
    entry = multiscales(image.axes, scales, shifts, name)
    entry["type"] = "nearest" if made.label else "mean"
    of = "../../" if made.target.root.parent.name == "labels" else "../aligned.ome.zarr"
    extra: dict[str, Any] = {"image-label": {"source": {"image": of}}} if made.label else omero(name, made.lay)
    return {"multiscales": [entry], **extra}


def omero(name: str, lay: Layout) -> dict[str, Any]:
    """Display range, so that viewers open it well."""
    top = 1.0 if lay.dtype.startswith("float") else float(np.iinfo(lay.dtype).max)
    window = {"start": 0.0, "end": top, "min": 0.0, "max": top}
    return {"omero": {"channels": [{"label": name, "color": "FFFFFF", "window": window, "active": True}]}}
