"""Join levels: blocks of all levels of a volume into one store, which says what the volume that it was made of says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core import blocks
from ..core.metadata import attributes, multiscales, write_group
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .multiscale import omero
from .publish_volume import sample
from .resolutions import in_mm


class Parameters(Params):
    """Joining has nothing to choose."""


def run(p: Parameters, task: Task, *, parts: list[In], like: In, name: str = "", output: Out) -> None:
    """`like` is a store with the metadata of all levels."""
    image = open_image(like)
    task.carry(output, blocks.join(parts, output))
    target = Image(output, image.space, image.levels, image.version)
    for n in range(image.levels):
        blocks.require(image.layout(n), target.path(n))
    entry = multiscales([in_mm(space) for space in image.spaces], name) | {"type": "mean"}
    entry["axes"] = [axis | oriented for axis, oriented in zip(entry["axes"], orientations(like))]
    shapes = [image.level(n).shape for n in range(image.levels)]
    write_group(output, {"multiscales": [entry], **omero(name, sample(shapes, target))}, image.version)
    task.report(levels=image.levels, blocks=len(parts))


def orientations(store: Path) -> list[dict[str, Any]]:
    """What the axes of a store say of where they point to, if they say it."""
    entry = attributes(store)["multiscales"][0]
    axes = entry.get("axes") or entry["coordinateSystems"][0]["axes"]
    return [{"orientation": axis["orientation"]} if "orientation" in axis else {} for axis in axes]
