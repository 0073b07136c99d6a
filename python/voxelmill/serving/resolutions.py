"""The levels of a volume at given resolutions, not at powers of two: voxels are means of what they cover.

    stacked, 10 um   |  |  |  |  |  |  |  |  |  |  |      level 0: as it is, its files linked
    25 um            |     :|:     |     :|:     |       a voxel that a border cuts counts on either side

Cells may have any width, and a mean over one damps what is finer than it. Each level is made of the stack
itself: its bytes do not depend on how it is divided. Cells that the edge cuts count with what they have. Level 0 has the
finest resolution there is: what was stacked is not thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.params import param
from ..core.shared import Format, Length
from ..core.space import MM, NM_PER_MM, Axis, Space
from ..core.volume import Image, Layout, Region, layout
from ..transform.resampling import SAME, cells, filled


class Resolutions(Format):
    """Levels of the subject's volume."""

    pyramid_resolutions: tuple[Length, ...] = param(
        (10.0, 25.0, 50.0, 100.0), "Voxel sizes of the levels; those finer than the slices are left out", unit="µm"
    )
    pyramid_n_levels: int | None = param(
        None, "So many levels, each twice as coarse as the one before, in place of --pyramid_resolutions", ge=1, le=16
    )
    pyramid_make_isotropic: bool = param(
        True, "Voxels of one size along all axes; else their sides keep the ratio that those of the slices have"
    )


@dataclass(frozen=True)
class Level:
    """A level: voxels of the stack in one of its own (z, y, x), and how it lies on disk and in mm."""

    steps: tuple[float, float, float]
    lay: Layout
    space: Space
    linked: bool  # its files are those of the stack


def plan(p: Resolutions, image: Image) -> list[Level]:
    """Levels of a stack, finest first."""
    lay, space, sides = image.layout(), in_mm(image.space), np.array(image.scale) / 1e3
    found: list[Level] = []
    for size in sizes(p, float(sides.max())):
        factor = size / (sides if p.pyramid_make_isotropic else sides.max())
        steps = np.broadcast_to(np.maximum(factor, 1.0), 3)
        shape = [cells(n, s) for n, s in zip(lay.shape, steps)]
        a, b, c = (float(s) for s in steps)
        old = p.ome_zarr_version == "0.4"
        mine = layout(shape, lay.dtype, lay.chunk if old else lay.shard, lay.chunk)
        same = not old and np.allclose(steps, 1, atol=SAME)
        found.append(Level((a, b, c), mine, space.level(steps.tolist()), same))
    return found


def sizes(p: Resolutions, finest: float) -> list[float]:
    """Voxel sizes of the levels, in um, the finest first."""
    if p.pyramid_n_levels:
        return [finest * 2**n for n in range(p.pyramid_n_levels)]
    return [finest, *sorted({r for r in p.pyramid_resolutions if r > finest * (1 + SAME)})]


def in_mm(space: Space) -> Space:
    """A space in nm, in mm, as stores of slices are."""
    axes = [Axis(axis.name, axis.type, MM) for axis in space.axes]
    return Space.of(axes, [s / NM_PER_MM for s in space.scale], [o / NM_PER_MM for o in space.origin])


def voxels(shape: Sequence[int]) -> float:
    return math.prod(map(float, shape))


def write_shard(target: Image, n: int, stack: Image, steps: Sequence[float], shard: Region) -> None:
    """Write a shard of level n of a target, a voxel of which is `steps` voxels of the stack."""
    target.write(shard, filled(stack, steps, shard), n)
