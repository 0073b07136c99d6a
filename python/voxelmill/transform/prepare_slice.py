"""Prepare a slice: all steps from its mosaic grid to a clean slice in one task.

    resample_mosaic_grid -> fix_focal_curvature -> fix_illumination        tiles, made when they are asked for
        -> stitch_3d_with_refinement                                       tiles, then the slice written, beside the output
        -> beam_profile_correction                                         written, since it is looked at four times
        -> crop_interface -> normalize                                     regions, made when they are asked for

The steps are those of the stages of these names, and so are the bytes; with --publish_intermediates each is a task.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from . import (
    beam_profile_correction,
    crop_interface,
    fix_focal_curvature,
    fix_illumination,
    normalize,
    resample_mosaic_grid,
    stitch_3d_with_refinement,
)
from .slice_notes import Notes, keep, of_voxels, or_left_out
from .slice_volume import SliceVolume
from .tile_grid import TileGrid, open_grid
from .tile_positions import Placement


class Stitching(
    resample_mosaic_grid.Parameters,
    fix_focal_curvature.Parameters,
    fix_focal_curvature.Flattening,
    fix_illumination.Parameters,
    stitch_3d_with_refinement.Parameters,
):
    """From the grid to one volume."""

    fix_illum_enabled: bool = param(True, "Even out the light over a tile")


class Parameters(Stitching, beam_profile_correction.Parameters, crop_interface.Parameters, normalize.Parameters):
    """Preparing slices."""


def run(
    p: Parameters,
    task: Task,
    *,
    grid: In,
    slice: str,
    output: Out,
    tiles: Out,
    seams: Out,
    transform: In | None = None,
    light: In | None = None,
    notes: Out | None = None,
) -> None:
    with or_left_out(task), TemporaryDirectory(dir=output.parent) as scratch:
        source = open_grid(grid)
        xp = task.arrays(p.use_gpu)
        laid, lit = (None if path is None else np.load(path) for path in (transform, light))
        stitched, placed, found = stitch(source, p, laid, lit, xp)
        stitch_3d_with_refinement.write_tables(placed, stitch_3d_with_refinement.made_of(found), tiles, seams)
        stitched = stitched.save(Path(scratch, "stitched.ome.zarr"), "none")  # and its tiles are let go
        made, more = finish(stitched, p, Path(scratch, "even.ome.zarr"), xp)
        task.report(tile_mvoxel=float(np.prod(source.tile)) / 1e6)
        keep(task, found | more | of_voxels(source), notes)
        made.save(output)


def stitch(
    source: TileGrid, p: Stitching, transform: np.ndarray | None, light: np.ndarray | None = None, xp: Any = np
) -> tuple[SliceVolume, Placement, Notes]:
    """From the grid to one volume, lazily. transform, light: of the whole acquisition, None: its own."""
    grid, found = resample_mosaic_grid.resample(source, p, xp), Notes()
    if p.fix_curvature_enabled:
        grid, more = fix_focal_curvature.flatten(grid, p)
        found |= more
    if p.fix_illum_enabled:
        grid, more = fix_illumination.lit(grid, p, light, xp)
        found |= more
    stitched, placed, more = stitch_3d_with_refinement.stitch(grid, p, transform)
    return stitched, placed, found | more


def finish(stitched: SliceVolume, p: Parameters, scratch: Path, xp: Any = np) -> tuple[SliceVolume, Notes]:
    """From one volume to the clean slice, lazily but for what is written to `scratch`."""
    even, found = beam_profile_correction.correct(stitched, p)
    even = even if even is stitched else even.save(scratch, "none")
    cropped, surface = crop_interface.crop(even, p)
    made, grey = normalize.normalize(cropped, p, xp)
    return made, found | surface | grey
