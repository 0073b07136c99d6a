"""Bring to common space: a slice on the canvas of all, at the nearest whole pixel; nothing is interpolated.

What is left of its place, half a pixel at most, stands in the origin of its store, so that it is resampled once only, in
the stack. 0 is where nothing was acquired.
"""

from __future__ import annotations

import numpy as np

from ..core import blocks, slices
from ..core.errors import DataError
from ..core.params import Params
from ..core.provenance import Task
from ..core.space import MM, NM_PER_MM, Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, Layout, Region, create_image, open_image
from .common_space import CommonSpace, Placed
from .tile_grid import finite


class Parameters(Params):
    """Placing slices."""


def run(p: Parameters, task: Task, *, volume: In, common_space: In, slice: str, output: Out) -> None:
    space = CommonSpace.model_validate_json(common_space.read_text())
    n, image = slices.number_of(slice), open_image(volume)
    if n not in space.slices:
        raise DataError(f"slice {n} has no place in the common space; expected one of {sorted(space.slices)}")
    lost = place_on_canvas(image, output, space, space.slices[n])
    told = f"{lost} voxels of slice {slices.name_of(n)} are NaN or infinite; they count as not acquired"
    task.report(corner_px=list(space.slices[n].corner), **({"notes": told} if lost else {}))


def place_on_canvas(source: Image, path: Out, space: CommonSpace, placed: Placed) -> int:
    """Write the slice, shard by shard; how many voxels of it are no number."""
    was = source.layout()
    lay = Layout((was.shape[0], *space.shape), was.dtype, was.chunk, was.shard)
    axes = [Axis(axis.name, "space", MM) for axis in source.space.axes]
    z = (source.scale[0] / NM_PER_MM, source.origin[0] / NM_PER_MM)
    target = create_image(path, lay, Space.of(axes, (z[0], *space.scale), (z[1], *placed.origin)))
    lost = 0
    for region in blocks.regions(lay, f"0-{int(np.prod(lay.grid)) - 1}"):
        values, n = finite(seen(source, region, placed.corner))
        target.write(region, values)
        lost += n
    return lost


def seen(source: Image, region: Region, corner: tuple[int, int]) -> np.ndarray:
    """What the slice shows in a region of the canvas; 0 beside it."""
    out = np.zeros([part.stop - part.start for part in region], source.dtype)
    spans = [
        (max(part.start, at), min(part.stop, at + n))
        for part, at, n in zip(region[1:], corner, source.shape[1:], strict=True)
    ]
    if all(low < high for low, high in spans):
        here = [slice(low - at, high - at) for (low, high), at in zip(spans, corner, strict=True)]
        there = [slice(low - part.start, high - part.start) for (low, high), part in zip(spans, region[1:], strict=True)]
        out[(slice(None), *there)] = source.read((region[0], *here))
    return out
