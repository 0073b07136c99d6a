"""Estimate slices: what a run of `reconstruct` will take on disk, before any of it is made."""

from __future__ import annotations

import math
from pathlib import Path

from ..core import disk, plans
from ..core.provenance import Task
from ..core.shared import Kept, Resolution
from ..core.stage import In, Out
from ..core.volume import open_image
from .resampling import sizes_at

STEPS = 7  # on a slice, each kept with --publish_intermediates


class Parameters(Resolution, Kept):
    """Disk space of slices."""


def run(p: Parameters, task: Task, *, source: Path, list: In, sizes: Out) -> None:
    """`source` is no `In`: only shapes are read."""
    stores = [source / row["store"] for row in plans.read(list)]
    slices = {store.name: voxels(p, store) for store in stores}
    need = estimate(p, slices)
    sizes.write_text(disk.check(need, Path.cwd(), "take fewer slices by --debug_slices"))
    task.report(most_gb_on_disk=round(sum(need.values()) / 2**30, 3))


def voxels(p: Parameters, store: Path) -> float:
    """Of a slice at the resolution that is worked at."""
    image = open_image(store)
    native = [nm / 1000 for nm in image.scale]
    return math.prod(map(float, sizes_at(p.resolution, image.shape, native)[0]))


def estimate(p: Parameters, slices: dict[str, float]) -> dict[str, float]:
    """Uncompressed bytes, as if tiles did not overlap. slices: voxels, by the name of the store."""
    whole = 4 * sum(slices.values())  # float32
    raw = sum(n for name, n in slices.items() if not name.startswith("slice_"))  # others are prepared
    volume = whole * 8 / 7  # with its levels
    return {
        "prepared slices": 4 * raw * (STEPS if p.publish_intermediates else 2),
        "common space": whole,
        "stack": whole,
        "volume": volume,
        "zip": volume if p.zip_volume else 0.0,
        "nifti": whole if p.nifti else 0.0,
    }
