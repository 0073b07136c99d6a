"""Multiscale: the published volume, with pyramid levels, labels and the metadata that viewers need.

Level 0 is hard-linked, not copied, where version and values stay as they are; so are the levels that `pyramid` has
made block by block. Images are averaged, labels take the most frequent one. The axis that is coarser than twice the finest
is not halved until the others have caught up.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks, levels, manifest
from ..core.metadata import multiscales, write_group
from ..core.provenance import Task
from ..core.stage import In, Out
from .pyramid import Published, Pyramid, pyramids

SHOWN = (0.1, 99.9)  # percentiles: a hot pixel does not make all else black
SAMPLED = 2**25  # voxels looked at


class Parameters(Published):
    """Published volumes."""


def run(
    p: Parameters,
    task: Task,
    *,
    volume: In,
    labels: In | None = None,
    parts: list[In] | None = None,
    name: str = "",
    output: Out,
) -> None:
    """`parts` are the stores of all tasks of `pyramid`; without them every level is made here. `name` as there."""
    task.arrays(p.use_gpu)
    task.carry(output, blocks.join(parts or [], output))
    if labels is not None:
        write_group(output / "labels", {"labels": ["neurites"]}, p.ome_zarr_version)
    for made in pyramids(p, volume, labels, name, output):
        source, root = made.image.root, made.target.root
        if not made.own:
            inside = "" if root == output else f"{root.relative_to(output)}/"
            task.carry(output, {inside + name: entry for name, entry in link_level_0(source, root, not parts).items()})
        finish(made, task)
        write_group(root, metadata(made, root.name.split(".")[0]), p.ome_zarr_version)


def link_level_0(source: Path, root: Path, deep: bool) -> dict[str, list]:
    """Hard-link the array of level 0; returns the digests of its files, as the manifest of the source has them.

    deep: check the files against them; else, since `pyramid` has read them, their sizes only."""
    known = {name: entry for name, entry in manifest.verify(source, deep)["files"].items() if name.startswith("0/")}
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
    entry = multiscales([image.space.level(step) for step in made.down], name)
    entry["type"] = "mode" if made.label else "mean"
    of = "../../" if made.target.root.parent.name == "labels" else "../aligned.ome.zarr"
    extra: dict[str, Any] = {"image-label": {"source": {"image": of}}} if made.label else omero(name, sample(made))
    return {"multiscales": [entry], **extra}


def omero(name: str, values: np.ndarray) -> dict[str, Any]:
    """Range of values (channel, value), and what of it viewers show at first, for each channel."""
    channels = []
    for n, channel in enumerate(values):
        low, start, end, high = (float(v) for v in np.percentile(channel, (0, *SHOWN, 100), method="nearest"))
        if not end > start:
            start, end = low, high if high > low else low + 1
        window = {"start": start, "end": end, "min": low, "max": max(high, end)}
        label = name if len(values) == 1 else f"{name} {n}"
        channels.append({"label": label, "color": "FFFFFF", "window": window, "active": True})
    return {"omero": {"channels": channels}}


def sample(made: Pyramid) -> np.ndarray:
    """(channel, value): the first level that is small enough, or chunks from all over the last."""
    names = [axis.name for axis in made.image.axes]
    sizes = [math.prod(lay.shape) for lay in made.layouts]
    n = next((n for n, size in enumerate(sizes) if size <= SAMPLED), len(sizes) - 1)
    lay, apart = made.layouts[n], names.index("c") if "c" in names else None
    tile = [
        e if at == apart or sizes[n] <= SAMPLED else c for at, (c, e) in enumerate(zip(lay.chunk, lay.shape, strict=True))
    ]
    tiles = list(levels.tiles(tuple(slice(0, e) for e in lay.shape), tile))
    parts = []
    for region in tiles[:: max(1, len(tiles) * math.prod(tile) // SAMPLED)]:
        values = made.target.read(region, n)
        parts.append(values.reshape(1, -1) if apart is None else np.moveaxis(values, apart, 0).reshape(lay.shape[apart], -1))
    return np.concatenate(parts, axis=1)
