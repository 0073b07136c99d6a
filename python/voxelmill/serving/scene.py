"""Scene: what alignment did, as NGFF 0.6 has it, beside the volumes: where each aligned voxel was in the raw volume.

    volumes/zarr.json            the scene: from `aligned.ome.zarr` to `raw.ome.zarr` by displacements
           /alignment.ome.zarr   the displacements (d, z, y, x): raw position less aligned position

A section that was only moved and turned needs the corners; where one was bent, all have the nodes of its field. Between
nodes a reader interpolates linearly, as rendering did, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ..core.metadata import multiscales, write_group
from ..core.params import Params
from ..core.provenance import Task
from ..core.space import Axis, Space
from ..core.stage import In, Out
from ..core.volume import create_image, layout, open_image
from ..transform.transforms import load
from ..transform.warp import SectionTransform


class Parameters(Params):
    """Nothing to choose: `--ome_zarr_version 0.6` asks for it."""


def run(p: Parameters, task: Task, *, transforms: In, volume: In, field: Out, scene: Out) -> None:
    image, moves = open_image(volume), load(transforms)
    nodes, steps = grid(moves, image.shape[1:])
    space = of_field(image.space, steps)
    shape = (3, image.shape[0], *nodes)
    target = create_image(field, layout(shape, "float32", (3, 1, *nodes), (3, 1, *nodes)), space)
    for z in task.progress(range(len(moves)), "sections"):
        values = displacements(moves[z], nodes, steps, image.scale[1:])
        target.write((slice(None), slice(z, z + 1), slice(None), slice(None)), values[:, None])
    write_group(field, {"multiscales": [multiscales([space], "alignment")]}, "0.6")
    attributes = {"ome": {"version": "0.6", "scene": between("aligned.ome.zarr", "raw.ome.zarr", "alignment.ome.zarr")}}
    scene.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1))
    task.report(nodes=list(nodes))


def grid(moves: Sequence[SectionTransform], shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Nodes along y and x, and px between them: of the fields, else the section's corners."""
    bent = [move for move in moves if move.field is not None]
    if bent:
        most = max(bent, key=lambda move: move.field.size)  # type: ignore[union-attr]
        _, gy, gx = most.field.shape  # type: ignore[union-attr]
        return (gy, gx), (most.spacing, most.spacing)
    y, x = (max(1, n - 1) for n in shape)
    return (2, 2), (y, x)


def of_field(space: Space, steps: Sequence[int]) -> Space:
    """Where the nodes lie: node 0 at voxel 0, and a first axis for the components z, y, x."""
    axes = (Axis("d", "displacement", None), *space.axes)
    scale = (1.0, *(s * n for s, n in zip(space.scale, (1, *steps), strict=True)))
    return Space.of(axes, scale, (0.0, *space.origin))


def displacements(move: SectionTransform, nodes: Sequence[int], steps: Sequence[int], scale: Sequence[float]) -> np.ndarray:
    """(3, gy, gx) float32: z, y, x from an aligned position to the raw one that it shows, in units of `scale` (y, x)."""
    y, x = np.meshgrid(*(np.arange(n) * float(step) for n, step in zip(nodes, steps, strict=True)), indexing="ij")
    raw = move.positions(y, x)
    made = np.zeros((3, *nodes), np.float32)
    made[1], made[2] = (raw[0] - y) * scale[0], (raw[1] - x) * scale[1]
    return made


def between(start: str, end: str, field: str) -> dict:
    """A scene of two images and the displacement field that leads from one to the other."""
    step = {
        "type": "displacements",
        "name": "alignment",
        "path": field,
        "interpolation": "linear",
        "input": {"path": start, "name": "physical"},
        "output": {"path": end, "name": "physical"},
    }
    return {"coordinateTransformations": [step]}
