"""Estimate slices: what a run of `reconstruct` takes on disk, and whether slices have one voxel size, before any is made."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from statistics import median_low

from ..core import disk, plans, slices
from ..core.errors import DataError
from ..core.provenance import Task
from ..core.shared import Kept, Resolution
from ..core.space import one_size
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .resampling import sizes_at

STEPS = 7  # on a slice, each kept with --publish_intermediates


class Parameters(Resolution, Kept):
    """Disk space of slices."""


def run(p: Parameters, task: Task, *, source: Path, list: In, sizes: Out) -> None:
    """`source` is no `In`: only shapes are read."""
    stores = {int(row["slice"]): source / row["store"] for row in plans.read(list)}
    images = {n: open_image(store) for n, store in stores.items()}
    prepared = {n for n, store in stores.items() if store.name.startswith("slice_")}
    known = {n: at_work(p, n in prepared, image) for n, image in images.items() if image.space.known}
    alike(known, prepared=prepared)
    need = estimate(p, {stores[n].name: voxels(p, image) for n, image in images.items()})
    sizes.write_text(disk.check(need, Path.cwd(), "take fewer slices by --debug_slices"))
    task.report(most_gb_on_disk=round(sum(need.values()) / 2**30, 3))


def at_work(p: Parameters, prepared: bool, image: Image) -> list[float]:
    """Voxel size, µm, with which a slice comes to the others: grids are resampled, prepared slices are not."""
    native = in_um(image)
    steps = [1.0] * 3 if prepared else sizes_at(p.resolution, image.shape, native)[1]
    return [size * step for size, step in zip(native, steps)]


def in_um(image: Image) -> list[float]:
    return [nm / 1000 for nm in image.scale]


def alike(sizes: dict[int, list[float]], prepared: Collection[int]) -> None:
    """Raises DataError where slices, by number, would have different voxels; `prepared` is no more resampled."""
    if not sizes or one_size(*sizes.values()):
        return
    usual = [median_low(of) for of in zip(*sizes.values())]
    odd = max(sizes, key=lambda n: max(abs(v / u - 1) for v, u in zip(sizes[n], usual)))
    like = [n for n, size in sizes.items() if one_size(size, sizes[odd])]
    of, others = (" x ".join(f"{v:.5g}" for v in size) for size in (sizes[odd], usual))
    remedy = "set --resolution"
    if prepared:
        remedy = (
            "prepared slices are not resampled: make them again from their grids, all at one --resolution, "
            "or leave them out by use=false in --slice_config"
        )
    raise DataError(
        f"{slices.listed(like)}: voxels of {of} µm, others of {others}; expected one size, to 1 in 1000: {remedy}"
    )


def voxels(p: Parameters, image: Image) -> float:
    """Of a slice at the resolution that is worked at."""
    return math.prod(map(float, sizes_at(p.resolution, image.shape, in_um(image))[0]))


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
