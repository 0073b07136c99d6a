"""Stack: a block of the volume from the slices that reach into it, each resampled once.

z of the volume ->                        Where slices overlap they count alike: each is a look of its own at the same
slice n     ____________________          tissue, and speckle is least in their mean. Over SEAM planes a slice fades in
                                \\___     below its first sound plane, and out towards its last one, so that no seam is
slice n+1            ____________________ seen.
                 ___/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..core import blocks
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Storage
from ..core.space import MM, Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, Region, create_image, layout, open_image
from .pairs import Surface
from .plan_stack import Laid, Plan
from .register_pairwise import TILE, number, tiles
from .slice_volume import LEAST

REACH = 2  # px that interpolation reads beside a position
SEAM = 4  # planes over which a slice fades in, and out


class Parameters(Surface, Storage):
    """Stacking."""

    stack_blend_enabled: bool = param(True, "Mix slices where they overlap; else the one whose surface is nearer")


def run(p: Parameters, task: Task, *, volumes: list[In], plan: In, block: str, output: Out) -> None:
    made = Plan.model_validate_json(plan.read_text())
    images = {number(path): open_image(path) for path in volumes}
    lay = layout(made.shape, "float32", p.shard, p.chunk)
    axes = [Axis(name, "space", MM) for name in "zyx"]
    target = create_image(output, lay, Space.of(axes, made.scale, made.origin))
    task.do(partial(stack, p, made, images, target), list(blocks.regions(lay, block)), "shards stacked")


def stack(p: Parameters, plan: Plan, images: dict[int, Image], target: Image, region: Region) -> None:
    """Write a region."""
    target.write(region, mixed(p, plan, images, region))


Weigh = Callable[[Parameters, Plan, int], list[tuple[Laid, float]]]


def mixed(p: Parameters, plan: Plan, images: dict[int, Image], region: Region, weigh: Weigh | None = None) -> np.ndarray:
    """A region of the volume, float32; 0 where no slice shows anything. Tile by tile: memory is that of the region."""
    z, y, x = region
    out = np.empty([r.stop - r.start for r in region], np.float32)
    for rows, columns in tiles(out.shape[1:], TILE):
        of = (z, slice(y.start + rows.start, y.start + rows.stop), slice(x.start + columns.start, x.start + columns.stop))
        out[:, rows, columns] = tile(partial(weigh or weights, p, plan), plan, images, of)
    return out


def tile(
    weigh: Callable[[int], list[tuple[Laid, float]]], plan: Plan, images: dict[int, Image], region: Region
) -> np.ndarray:
    """A part of a region: each slice is read once, all planes that are asked for. weigh(z): slices and what they count."""
    z, *yx = region
    out = np.zeros([r.stop - r.start for r in region], np.float32)
    total = np.zeros_like(out)
    share = {k: {s.number: weight for s, weight in weigh(k)} for k in range(z.start, z.stop)}
    for s in plan.slices:
        of = [k for k in share if s.number in share[k]]
        if not of:
            continue
        views = seen(images[s.number], range(of[0] - s.z, of[-1] + 1 - s.z), np.array(s.matrix), yx)
        for k, (values, there) in enumerate(views, of[0]):
            weight = share[k].get(s.number, 0.0)
            out[k - z.start] += weight * values
            total[k - z.start] += weight * there
    return out / np.where(total > 0, total, 1)


def weights(p: Parameters, plan: Plan, z: int) -> list[tuple[Laid, float]]:
    """Slices that show plane z of the volume, and how much each counts."""
    found = []
    for k, s in enumerate(plan.slices):
        if not s.z <= z < s.z + s.planes:
            continue
        above = plan.slices[k - 1] if k else None
        shared = above.z + above.planes - s.z if above else 0  # planes that the slice before shows, too
        first = min(p.moving_slice_first_index, max(shared, 0))
        found.append((s, max(ramp(z - s.z - first, seam(shared - first)), 1e-6) * fade(z - s.z, s.planes, plan, k)))
    if not p.stack_blend_enabled and found:
        firm = [one for one in found if one[1] > 1e-4] or found
        return [(firm[-1][0], 1.0)]
    return found


def seam(shared: float) -> float:
    """Planes over which slices pass into each other, of those that both show."""
    return min(SEAM, shared / 2)


def ramp(planes: float, length: float) -> float:
    """Cosine from 0 before the first of `length` planes to 1 after the last."""
    if length <= 0:
        return 1.0
    return 0.5 - 0.5 * math.cos(math.pi * min(max((planes + 0.5) / length, 0.0), 1.0))


def fade(z: int, planes: int, plan: Plan, k: int) -> float:
    """At the last planes, if the next slice shows them, too."""
    if k + 1 == len(plan.slices):
        return 1.0
    shared = plan.slices[k].z + planes - plan.slices[k + 1].z
    return max(ramp(planes - 1 - z, seam(shared)), 1e-6)


def seen(image: Image, planes: range, matrix: np.ndarray, region: Sequence[slice]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What planes of a slice show in a region (dim 1, dim 2) of the volume, and where they show anything (0 or 1)."""
    import cv2

    size = [r.stop - r.start for r in region]
    corners = np.array([(a, b, 1.0) for a in (region[0].start, region[0].stop) for b in (region[1].start, region[1].stop)])
    reached = corners @ matrix.T
    low = np.maximum(np.floor(reached.min(0)).astype(int) - REACH, 0)
    high = np.minimum(np.ceil(reached.max(0)).astype(int) + REACH + 1, image.shape[1:])
    if (high <= low).any():
        yield from [(np.zeros(size, np.float32), np.zeros(size, np.float32))] * len(planes)
        return
    crop = image.read(np.s_[planes.start : planes.stop, low[0] : high[0], low[1] : high[1]]).astype(np.float32, copy=False)
    # p of the region -> matrix @ (p + start) - low of the crop; OpenCV has x = dim 2 first.
    move = matrix[:, :2] @ [r.start for r in region] + matrix[:, 2] - low
    xy = np.array([[matrix[1, 1], matrix[1, 0], move[1]], [matrix[0, 1], matrix[0, 0], move[0]]])
    how: dict[str, Any] = {"dsize": (size[1], size[0]), "borderMode": cv2.BORDER_CONSTANT, "borderValue": 0}
    for plane in crop:
        mask = cv2.warpAffine((plane > 0).astype(np.float32), xy, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, **how)
        there = (mask > 0.999).astype(np.float32)
        values = cv2.warpAffine(plane, xy, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, **how)
        yield np.maximum(values, LEAST) * there, there  # 0 is where nothing was acquired
