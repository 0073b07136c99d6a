"""Scores by region: the volume in parts of a grid, each compared with the truth by itself.

y0   y1          a neurite counts in each part by what of it lies there: what the cut between
+----+----+      two parts divides is no split, and a fault counts where it lies
| z0 | z0 |      names: z0_y0_x0 ...
+----+----+
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..core.volume import Region
from .score import Contingency


def boxes(shape: tuple[int, ...], grid: tuple[int, ...]) -> dict[str, Region]:
    """Parts of a volume (z, y, x) by name; along an axis never more than it has voxels, alike but for one voxel."""
    axes = []
    for axis, size, count in zip("zyx", shape, grid, strict=True):
        ends = [size * n // min(count, size) for n in range(min(count, size) + 1)]
        axes.append([(f"{axis}{n}", slice(a, b)) for n, (a, b) in enumerate(itertools.pairwise(ends))])
    return {"_".join(name for name, _ in part): tuple(side for _, side in part) for part in itertools.product(*axes)}


def count(truth: np.ndarray, labels: np.ndarray, region: Region, parts: dict[str, Region]) -> dict[str, Contingency]:
    """Tables of the parts that a region (z, y, x) meets, of the truth and the labels in it."""
    found = {}
    for name, box in parts.items():
        ends = [(max(a.start, b.start) - a.start, min(a.stop, b.stop) - a.start) for a, b in zip(region, box, strict=True)]
        if all(start < stop for start, stop in ends):
            at = tuple(slice(*end) for end in ends)
            found[name] = Contingency()
            found[name].add(truth[at], labels[at])
    return found


def region(text: str) -> Region:
    """The box that `figures` states."""
    ends = [int(value) for value in text.split(",")]
    return tuple(slice(a, b) for a, b in zip(ends[:3], ends[3:], strict=True))


def figures(table: Contingency, box: Region) -> dict[str, Any]:
    """Of a part: its box (Z0,Y0,X0,Z1,Y1,X1), voxels that are scored, figures as of the whole, faults a true segment."""
    said: dict[str, Any] = {"box": ",".join(str(v) for v in (*(s.start for s in box), *(s.stop for s in box)))}
    faults = table.faults()
    said["voxels"] = int(table.count.sum())
    if not said["voxels"]:
        return said
    result = table.result()
    splits, merges, segments = int((faults.pieces - 1).sum()), int((faults.merged - 1).sum()), max(len(faults.truth), 1)
    said |= {name: round(result[name], 5) for name in ("voi_split", "voi_merge", "arand")}
    rates = {"split_rate": splits / segments, "merge_rate": merges / segments}
    return said | {"splits": splits, "merges": merges} | {name: round(rate, 5) for name, rate in rates.items()}
