"""Crop at the interface: a slice from the surface of the block down to --crop_interface_out_depth.

The first plane that is kept is the one nearest to the surface; the position of the surface itself, to a fraction of a
plane, is z = 0 in the space of what is left.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from .resample_mosaic_grid import UM_PER_MM
from .slice_notes import Notes, one_step
from .slice_statistics import surface, usual_profile
from .slice_volume import SliceVolume, open_slice


class Parameters(Strict):
    """Cropping at the surface."""

    crop_interface_out_depth: float = param(600.0, "Depth of tissue that is kept below the surface", unit="µm", gt=0)


def run(p: Parameters, task: Task, *, volume: In, slice: str, output: Out, notes: Out | None = None) -> None:
    one_step(task, output, notes, lambda: crop(open_slice(volume), p))


def crop(volume: SliceVolume, p: Parameters) -> tuple[SliceVolume, Notes]:
    """The slice below its surface. Raises DataError where nothing was acquired there."""
    profile, said = usual_profile(volume)
    if not profile.any():
        raise DataError("nothing was acquired: every voxel of the slice is 0")
    found_at = surface(profile)
    said = said or ("" if found_at is not None else "no surface is seen: the first plane counts as it")
    depth = 0.0 if found_at is None else found_at
    nz, dz = volume.shape[0], volume.space.scale[0]
    first = min(round(depth), nz - 1)
    stop = min(nz, first + max(1, round(p.crop_interface_out_depth / UM_PER_MM / dz)))
    kept = volume.planes(first, stop)
    origin = ((first - depth) * dz, *kept.space.origin[1:])
    found: Notes = {
        "surface_profile": profile,
        "surface_plane": depth,
        "depth_um": (stop - first) * dz * UM_PER_MM,
        **({"notes_surface": said} if said else {}),
    }
    return replace(kept, space=replace(kept.space, origin=origin)), found
