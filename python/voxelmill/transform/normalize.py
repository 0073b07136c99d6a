"""Normalize: grey values of a slice from 0 to 1: agarose is 0, usual tissue alike at all depths.

Plane by plane the median of agarose is taken off, and the median of what begins as tissue made the same. The brightest
(--clip_percentile_upper of tissue, at the usual plane) is 1: one number a slice, since single voxels of the planes that
were brightened most are noise. A plane that is dark throughout is not raised beyond a tenth of the brightest. 0 stays what
was not acquired: what was is LEAST and more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.device import on_host
from ..core.provenance import Task
from ..core.shared import Device, Strict
from ..core.stage import In, Out
from ..core.volume import Region
from .agarose import agarose, overview
from .slice_notes import Notes, one_step
from .slice_statistics import Clipped, gathered
from .slice_volume import SliceVolume, open_slice

GLARE = 200.0  # times usual tissue: speckle of tissue ten times as bright reaches 100
DIMMEST = 0.1  # of the brightest plane
LEAST = np.float32(1 / 4096)


class Parameters(Clipped, Device, Strict):
    """Normalization."""


def run(p: Parameters, task: Task, *, volume: In, slice: str, output: Out, notes: Out | None = None) -> None:
    xp = task.arrays(p.use_gpu)
    one_step(task, output, notes, lambda: normalize(open_slice(volume), p, xp))


def normalize(volume: SliceVolume, p: Clipped, xp: Any = np) -> tuple[SliceVolume, Notes]:
    """The slice from 0 to 1, made on the array module `xp`."""
    boxes, projection = overview(volume)
    dim = agarose(boxes, volume.shape)
    agar, tissue = gathered(volume, [dim.down, dim.begins.mapped(lambda begins: np.where(begins, 0, volume.shape[0]))])
    bottom, usual = agar.percentile(50), tissue.percentile(50)
    usual = np.maximum(usual - bottom, max(DIMMEST * usual.max(), 1e-12))
    lit = usual >= usual.max() / 2
    most = float(np.median((tissue.percentile(p.clip_percentile_upper) - bottom)[lit] / usual[lit]))
    top = bottom + usual * most
    width = np.maximum(top - bottom, 1e-12)
    low, high, wide = (xp.asarray(v.astype(np.float32)[:, None, None]) for v in (bottom, top, width))

    def scaled(values: np.ndarray, region: Region) -> np.ndarray:
        z = region[0]
        seen = xp.asarray(values)
        out = xp.minimum(seen, high[z])
        out -= low[z]
        out /= wide[z]
        xp.clip(out, LEAST, 1, out=out)
        out[seen == 0] = 0
        return on_host(out, xp)

    found: Notes = {"plane_bottom": bottom, "plane_top": top, "projection": shrunk(projection)}
    if most > GLARE:
        told = f"{most:.0f} times as bright as usual tissue is 1: glare or saturated tiles, beside which tissue is dark"
        found["notes_glare"] = f"{told}; lower --clip_percentile_upper"
    return volume.mapped(scaled), found


def shrunk(picture: np.ndarray, most: int = 512) -> np.ndarray:
    """A picture of at most so many px: means."""
    import cv2

    step = max(1.0, max(picture.shape) / most)
    size = tuple(max(1, round(n / step)) for n in picture.shape[::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
