"""Stitch by the stage alone: tiles where it was told to go, nothing refined. To compare, and to see what a stage does."""

from __future__ import annotations

from pathlib import Path

from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import open_image
from ..transform.mosaic_fusion import Blending
from ..transform.prepare_slice import Stitching, stitch
from ..transform.slice_notes import Notes, keep, or_left_out
from ..transform.slice_volume import SliceVolume
from ..transform.stitch_3d_with_refinement import made_of, write_tables
from ..transform.tile_grid import open_grid
from ..transform.tile_positions import Placement
from .slice_pictures import mean_over_depth, reduced, save_grey


class Parameters(Stitching):
    """Stitching by the stage alone."""

    motor_only_overlap: float = param(0.2, "Part of a tile that its neighbour shows too, by the stage", ge=0, lt=1)
    motor_only_stitch_blending: Blending = param("diffusion", "Where tiles overlap, in the slice by the stage alone")


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: Out, tiles: Out, seams: Out, picture: Out) -> None:
    with or_left_out(task):
        write(task, *stitch(open_grid(grid), by_stage(p), None, xp=task.arrays(p.use_gpu)), output, tiles, seams, picture)


def by_stage(p: Parameters) -> Stitching:
    """The same steps before stitching; tiles not moved by what neighbours share."""
    return p.model_copy(
        update={
            "stitch_overlap_fraction": p.motor_only_overlap,
            "stitch_blending_method": p.motor_only_stitch_blending,
            "use_motor_positions_for_stitching": True,
            "max_blend_refinement_px": 0.0,
        }
    )


def write(
    task: Task, made: SliceVolume, placed: Placement, found: Notes, output: Path, tiles: Path, seams: Path, picture: Path
) -> None:
    """The slice, its tables, and its mean over depth."""
    keep(task, found, None)
    write_tables(placed, made_of(found), tiles, seams)
    made.save(output)
    save_grey(picture, reduced(mean_over_depth(open_image(output))))
