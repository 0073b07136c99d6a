"""Affinities of voxels with the neighbours before them, by a network, patch by patch.

    affinity k at voxel p: how likely p and the voxel before p along axis k (z, y, x) are of one object

A patch sees a halo of its neighbours, cut at the volume's faces, so that what a voxel gets depends on the grid of patches
alone, not on how patches are shared among tasks. Beyond the first and last section it sees these as in a mirror: a few
sections by themselves tell it little. The halo is smaller than what the network could see: beyond it a voxel
counts for little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core import blocks, levels
from ..core.volume import Region

PATCH = 256  # px, side of what the network is given at once, without halo
HALO = (6, 16, 16)
BEYOND = 3  # sections that a volume goes on as in a mirror; more cost time and gain nothing
FOLD = 8  # sides are padded to a multiple of this: three halvings

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (1, z, y, x) -> logits (offset, z, y, x)


class Grey(NamedTuple):
    """What is normal in each section of a volume: float32 (z,), grey levels."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]  # standard deviation; 0 = blank section


def grey_of(counts: NDArray[np.integer]) -> Grey:
    """Mean and standard deviation of sections, from their histograms (z, 256). Level 0 is no data."""
    counts = counts.astype(np.float64)
    counts[:, 0] = 0
    level, many = np.arange(counts.shape[1]), np.maximum(counts.sum(1), 1)
    mean = counts @ level / many
    spread = np.sqrt(np.maximum(counts @ level**2 / many - mean**2, 0))
    return Grey(mean.astype(np.float32), spread.astype(np.float32))


def reach(region: Region, shape: tuple[int, ...]) -> Region:
    """What of a volume `affinities` of a region looks at."""
    return blocks.widen(region, HALO, shape)[0]


def affinities(network: Network, sections: NDArray[np.uint8], inner: Region, grey: Grey) -> NDArray[np.uint8]:
    """Affinities 0-255 of the `inner` part of some sections (z, y, x): uint8 (3, z, y, x).

    sections: the part with its halo, as `reach` names it; grey: of these sections. Source of the idea: J. Funke et al.,
    "Large Scale Image Segmentation with Structured Loss Based Deep Learning" (2019).
    """
    start = [s.start for s in inner]
    out = np.empty((3, *(s.stop - s.start for s in inner)), np.uint8)
    for patch in levels.tiles(inner, (out.shape[1], PATCH, PATCH)):
        outer, core = blocks.widen(patch, HALO, sections.shape)
        z = outer[0]
        x = sections[outer].astype(np.float32) - grey.mean[z, None, None]
        x /= np.maximum(grey.spread[z, None, None], 1)
        x[sections[outer] == 0] = 0  # no data
        above, below = (BEYOND if cut else 0 for cut in _cut(core[0], len(x)))
        x = np.pad(x, [(above, below), *((0, -n % FOLD) for n in x.shape[1:])], mode="symmetric")
        logits = network(x[None])[:3, above : len(x) - below][(slice(None), *core)]
        to = tuple(slice(p.start - s, p.stop - s) for p, s in zip(patch, start, strict=True))
        out[(slice(None), *to)] = np.rint(255 / (1 + np.exp(-logits)))
    return out


def _cut(core: slice, depth: int) -> tuple[bool, bool]:
    """Whether the halo of a patch ends at the volume's first section, and at its last one."""
    return core.start < HALO[0], depth - core.stop < HALO[0]
