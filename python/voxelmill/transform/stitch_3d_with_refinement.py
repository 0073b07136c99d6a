"""Stitch a slice: tiles placed by the stage and by what neighbours share, made into one volume (`tile_layout.py`).

Tiles lie on a regular grid by --stitch_overlap_fraction (or by a displacement model of the whole acquisition); within
--max_blend_refinement_px of it all overlaps together say where, to a fraction of a pixel.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Region
from .fix_focal_curvature import Overlapping
from .mosaic_fusion import Blended, canvas, fuse
from .slice_notes import Notes, keep, of_voxels, or_left_out
from .slice_volume import LEAST, SliceVolume
from .tile_grid import TileGrid, open_grid
from .tile_layout import by_overlap, described, place, positions
from .tile_positions import Placement

FEW = 0.2  # share of seams that may be chance finds far off
POOR = 0.3  # quality of a seam below which it is to be looked at


class Parameters(Overlapping, Blended):
    """Stitching of slices."""

    use_motor_positions_for_stitching: bool = param(
        True,
        "Lay tiles as the stage was told to; false: as one displacement model says, fitted to all overlaps of the slice",
        more="Either way neighbours then refine each tile, within --max_blend_refinement_px.",
    )
    max_blend_refinement_px: float = param(
        10.0,
        "How far a tile may lie beside where the layout has it, seen from its neighbour; 0: all lie as laid out",
        unit="px",
        ge=0,
        more="Two neighbours may lie twice as far from each other as laid out.",
    )


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
    notes: Out | None = None,
) -> None:
    with or_left_out(task):
        source = open_grid(grid)
        made, placed, found = stitch(source, p, None if transform is None else np.load(transform))
        keep(task, found, notes)
        write_tables(placed, made_of(found), tiles, seams)
        made.save(output)
        task.report(**of_voxels(source))


def stitch(grid: TileGrid, p: Parameters, transform: np.ndarray | None = None) -> tuple[SliceVolume, Placement, Notes]:
    """The slice, where its tiles lie in it, and notes. `transform` (2, 2): positions are transform @ (mx, my)."""
    grid = grid.kept()
    matrix = by_overlap(grid, p.stitch_overlap_fraction) if transform is None else transform
    by_motor = p.use_motor_positions_for_stitching or transform is not None
    placed, matrix = place(grid, matrix, p.max_blend_refinement_px, by_motor)
    placed = on_whole_pixels(placed) if p.max_blend_refinement_px == 0 else placed
    at, shape = canvas(placed.positions, grid.shapes)
    moved = np.floor(placed.positions.min(0) + 1e-6)
    nz = grid.tile[0]

    def read(region: Region) -> np.ndarray:
        z, y, x = region
        values = fuse(lambda i: grid.read(i)[z], at, grid.shapes, (y, x), p.stitch_blending_method, z.stop - z.start, True)
        values[values < 0] = LEAST  # cubic interpolation goes below 0, which is acquired all the same
        return values

    poor = [s for s in placed.seams if s.quality < POOR]
    found: Notes = {
        "tile_positions": at,
        "tile_shape": np.array(grid.tile[1:]),
        "tile_quality": placed.quality,
        "seams": np.array([(s.a, s.b, s.quality, s.residual) for s in placed.seams]).reshape(-1, 4),
        "grid_counts": np.array(grid.counts),
        "seams_found": len(placed.seams),
        "seams_poor": len(poor),
        "seam_quality": float(np.median([s.quality for s in placed.seams])) if placed.seams else 0.0,
        "moved_px_rms": _rms(placed.positions - positions(grid, matrix)),
        **described(matrix, grid),
    }
    if doubt := doubtful(placed, p):
        found["notes"] = doubt
    space = grid.space.crop((0, int(moved[0]), int(moved[1])))
    return SliceVolume((nz, *shape), space, read), replace(placed, positions=at), found


def doubtful(placed: Placement, p: Parameters) -> str:
    """What a person should know of tiles that neighbours could not place; empty where they could."""
    n = len(placed.seams)
    if placed.beyond > FEW * n:
        return (
            f"{placed.beyond} of {n} seams lie more than {2 * p.max_blend_refinement_px:g} px from where "
            f"--stitch_overlap_fraction {p.stitch_overlap_fraction:g} has them and were not followed; set it to what was "
            "acquired, raise --max_blend_refinement_px, or let --use_motor_positions_for_stitching false fit it"
        )
    if n and not any(s.weight > 0 for s in placed.seams):
        return f"none of {n} seams shows anything that both tiles have; tiles lie as the stage has them"
    return ""


def on_whole_pixels(placed: Placement) -> Placement:
    """As they lie, to a whole pixel: tiles that are not refined are not interpolated either."""
    return replace(placed, positions=np.rint(placed.positions))


def _rms(off: np.ndarray) -> float:
    return float(np.sqrt(((off - off.mean(0)) ** 2).sum(1).mean()))


def made_of(found: Notes) -> tuple[int, int]:
    n_mx, n_my = found["grid_counts"].tolist()
    return n_mx, n_my


def write_tables(placed: Placement, counts: tuple[int, int], tiles: Path, seams: Path) -> None:
    """Where each tile lies in the slice, px, and what each seam says; quality from 0 to 1, 0: by the stage alone."""
    with open(tiles, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("tile", "mx", "my", "y", "x", "quality"))
        for i, ((y, x), quality) in enumerate(zip(placed.positions.tolist(), placed.quality.tolist(), strict=True)):
            table.writerow((i, *divmod(i, counts[1]), f"{y:.3f}", f"{x:.3f}", f"{quality:.3f}"))
    with open(seams, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("tile_a", "tile_b", "dy", "dx", "correlation", "residual_px", "quality"))
        for s in placed.seams:
            of = (*s.offset, s.correlation, s.residual, s.quality)
            table.writerow((s.a, s.b, *(f"{v:.3f}" for v in of)))
