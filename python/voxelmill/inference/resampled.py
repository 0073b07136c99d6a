"""Affinities of voxels whose size a network has not been shown: it sees cells of a size that it knows.

    edges of voxels   0     1     2     3        voxel i has its centre at i + 1/2, and its face with the voxel before at i;
    edges of cells    0   1   2   3   4   5      cell j the same, of edges j * step: here a cell is 3/5 of a voxel

What the network says of the faces between cells along an axis is taken between faces along that axis and between centres
along the others. The grid of cells starts at the volume's corner, so that no block changes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import levels
from ..core.errors import DataError
from ..core.volume import Image, Region
from ..transform.resampling import along_axes, cells, means
from . import affinities

Steps = tuple[float, ...]  # voxels in a cell, (z, y, x)
SAME: Steps = (1.0, 1.0, 1.0)
FAIR = 1.4  # times off what is known that a network bears: not resampled
MOST = 8.0  # times that a cell may be larger or smaller than a voxel
CELLS = 384  # a side, of what is looked at at once


def steps_of(card: dict[str, Any], source: Image) -> Steps:
    """Voxels in a cell along each axis, for cells within what a model's card says, as little else as can be.

    What is less than FAIR times off stays, and so do sections that are too thick: none is made up between two.

    Raises DataError where cells would be more than MOST times larger or smaller than voxels."""
    known = card["voxel_size_nm"]
    ends = zip(known["least"], source.space.scale, known["largest"], strict=True)
    steps = tuple(min(max(low, size), high) / size for low, size, high in ends)
    steps = tuple(step if step < 1 / FAIR or step > FAIR else 1.0 for step in (max(steps[0], 1.0), *steps[1:]))
    if not all(1 / MOST <= step <= MOST for step in steps):
        raise DataError(
            f"voxels of {source.space.scale} nm are over {MOST:g} times off the {known['least']} to {known['largest']} nm "
            "that the network knows; expected less to resample: train on this volume, or give another --model or "
            "--model_mismatch warn"
        )
    return steps


def reach(region: Region, shape: tuple[int, ...], steps: Steps) -> Region:
    """What of a volume `seen` of a region looks at."""
    if steps == SAME:
        return affinities.reach(region, shape)
    halo = [int(np.ceil((h + 2) * max(s, 1))) + 2 for h, s in zip(affinities.HALO, steps)]
    return tuple(slice(max(r.start - h, 0), min(r.stop + h, n)) for r, h, n in zip(region, halo, shape))


def lines(positions: NDArray[np.floating], window: slice) -> NDArray[np.float32]:
    """(positions, samples of the window): weights of linear interpolation; beyond the ends the last sample goes on."""
    at = np.clip(positions, window.start, window.stop - 1)[:, None]
    return (1 - np.abs(at - np.arange(window.start, window.stop))).clip(0).astype(np.float32)


def samples(n: int, of: slice, step: float) -> tuple[slice, NDArray[np.float32]]:
    """As `means`, for cells of any size: where they are smaller than voxels, interpolated between centres of these."""
    if step >= 1:
        return means(n, of, step)
    at = (np.arange(of.start, of.stop) + 0.5) * step - 0.5
    window = slice(max(int(np.floor(at[0])), 0), min(int(np.ceil(at[-1])) + 1, n))
    return window, lines(at, window)


def seen(
    run: affinities.Network, source: Image, tile: Region, first: int, grey: affinities.Grey, steps: Steps
) -> NDArray[np.uint8]:
    """Affinities of the voxels of a tile: uint8 (3, z, y, x). first: the section that `grey` begins with."""
    out = np.empty((3, *(s.stop - s.start for s in tile)), np.uint8)
    side = [max(int(CELLS * s), 1) for s in steps[1:]]
    for part in levels.tiles(tile, (out.shape[1], *side)):
        to = tuple(slice(p.start - t.start, p.stop - t.start) for p, t in zip(part, tile))
        out[(slice(None), *to)] = _seen(run, source, part, first, grey, steps)
    return out


def _seen(
    run: affinities.Network, source: Image, part: Region, first: int, grey: affinities.Grey, steps: Steps
) -> NDArray[np.uint8]:
    """As `seen`, at once."""
    whole = [cells(n, s) for n, s in zip(source.shape, steps)]
    inner = tuple(  # cells between which the part's faces and centres lie
        slice(max(int(p.start / s) - 1, 0), min(int(np.ceil(p.stop / s)) + 1, n)) for p, s, n in zip(part, steps, whole)
    )
    outer = tuple(slice(max(c.start - h, 0), min(c.stop + h, n)) for c, h, n in zip(inner, affinities.HALO, whole))
    near, weights = zip(*(samples(n, c, s) for n, c, s in zip(source.shape, outer, steps)))
    z = slice(near[0].start - first, near[0].stop - first)
    of_cells = affinities.Grey(weights[0] @ grey.mean[z], weights[0] @ grey.spread[z])
    core = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer))
    found = affinities.affinities(run, grey_cells(source.read(near), weights), core, of_cells)
    out = np.empty((3, *(p.stop - p.start for p in part)), np.uint8)
    for axis in range(3):
        at = (np.arange(p.start, p.stop) + (0.0 if k == axis else 0.5) for k, p in enumerate(part))
        shift = (0.0 if k == axis else 0.5 for k in range(3))
        back = [lines(a / s - h, i) for a, s, h, i in zip(at, steps, shift, inner)]
        out[axis] = np.rint(along_axes(found[axis].astype(np.float32), back))
    return out


def grey_cells(voxels: NDArray[np.uint8], weights: tuple[NDArray[np.float32], ...]) -> NDArray[np.uint8]:
    """Grey levels of cells, of those voxels that have data; 0 where less than half has."""
    data = along_axes((voxels > 0).astype(np.float32), weights)
    level = along_axes(voxels.astype(np.float32), weights) / np.maximum(data, 0.5)
    return np.where(data >= 0.5, np.rint(level).clip(1, 255), 0).astype(np.uint8)
