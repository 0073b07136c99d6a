"""Plan common space: one canvas for all slices by the stage's shifts, and the gaps between them.

With --common_space_refine_unreliable the rows that the table calls unreliable are measured by the images, within gates;
what does not pass keeps what the stage says.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..core import plans, shifts, slice_config, slices
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.shifts import Shift
from ..core.slice_config import SliceConfig
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .common_space import CommonSpace, Extent, Gap, Mode, gaps, plan, replaced
from .estimate_slices import alike, in_um

LOST = "its own tasks failed"
WIDEST = 100  # times the area of all slices: a wider canvas is a mistake of units
COLUMNS = ("slice_id", "dim1_px", "dim2_px", "origin_dim1_mm", "origin_dim2_mm")


class Parameters(Strict):
    """Common space."""

    common_space_excluded_slice_mode: Mode = param(
        "local_median",
        "Steps of the stage from and to slices that are not used",
        more="`keep` is exact where the stage was right about them: steps there and back add up.",
        profiles={"minimal": "keep"},
    )
    common_space_excluded_slice_window: int = param(2, "Sound steps to either side that local_median takes", ge=1)
    common_space_refine_unreliable: bool = param(
        False, "Measure steps that shifts_xy.csv calls unreliable by the images", profiles={"aggressive": True}
    )
    common_space_refine_max_discrepancy_px: float = param(
        0.0, "Farthest that an image may differ from the stage; 0: any", unit="px", ge=0
    )
    common_space_refine_min_correlation: float = param(0.0, "Least correlation of an image's step", ge=0, le=1)


def run(
    p: Parameters,
    task: Task,
    *,
    volumes: list[In] | None = None,
    shifts_xy: In,
    config: In,
    listed: In | None = None,
    common_space: Out,
    offsets: Out,
    stamped: Out,
    slice_list: Out,
    gap_list: Out,
) -> None:
    known = slice_config.read(config)
    images = {n: open_image(path) for n, path in sorted((number(path), path) for path in volumes or []) if n in known.used}
    if not images:
        raise DataError("no slice is left; the records of the tasks before this one say why")
    table = sorted(shifts.read(shifts_xy), key=lambda row: row.fixed)
    excluded = {n for row in table for n in (row.fixed, row.moving)} - set(known.used)
    table = replaced(table, excluded, p.common_space_excluded_slice_mode, p.common_space_excluded_slice_window)
    table, notes = refined(p, table, images) if p.common_space_refine_unreliable else (table, [])
    made = plan(*extents(images, shifts.places(table, images)))
    believable(made, sum(image.shape[1] * image.shape[2] for image in images.values()))
    between = gaps(sorted(images))
    common_space.write_text(made.model_dump_json())
    write_offsets(offsets, made)
    lost = [int(row["slice"]) for row in plans.read(listed)] if listed else []
    slice_config.write(stamped, without(task, known, [n for n in lost if n in known.used and n not in images]))
    plans.write(slice_list, slices.tasks(images))
    write_gaps(gap_list, between)
    notes += [
        f"{slices.name_of(g.missing[0])} to {slices.name_of(g.missing[-1])} are missing: such a gap stays"
        for g in between
        if len(g.missing) > 1
    ]
    notes += apart(made, images)
    task.report(
        canvas_px=list(made.shape),
        slices=len(images),
        missing=[n for g in between for n in g.missing],
        **({"notes": notes} if notes else {}),
    )


def believable(made: CommonSpace, covered: int) -> None:
    """Raises DataError for a canvas that slices, of `covered` px together, do next to nothing to fill."""
    if math.prod(made.shape) > WIDEST * covered:
        high, wide = (n * s for n, s in zip(made.shape, made.scale, strict=True))
        raise DataError(
            f"by the shifts the slices lie on {high:.4g} x {wide:.4g} mm, {math.prod(made.shape) / covered:.0f} times what "
            "they cover; expected x_shift_mm and y_shift_mm in mm"
        )


def apart(made: CommonSpace, images: dict[int, Image]) -> list[str]:
    """Neighbours of which no pixel comes to a pixel of the other: what the table says cannot be checked by the images."""
    found = []
    for a, b in pairwise(made.slices):
        low = np.maximum(made.slices[a].corner, made.slices[b].corner)
        high = np.minimum(*(np.add(made.slices[n].corner, images[n].shape[1:]) for n in (a, b)))
        if (low >= high).any():
            found.append(f"{slices.name_of(a)} and {slices.name_of(b)} do not overlap: by the shifts they lie side by side")
    return found


def without(task: Task, known: SliceConfig, lost: Sequence[int]) -> SliceConfig:
    """The slice configuration without slices that were begun, and of which nothing came; each is said by name.

    Such a slice keeps its place, as one that was never imaged."""
    if lost:
        task.quarantine(map(slices.name_of, lost), LOST)
    return known.stamped({n: {"use": False, "exclude_reason": LOST} for n in lost})


def number(path: Path) -> int:
    """Of `slice_z07_normalize.ome.zarr`."""
    return slices.number_of(path.name.split("_")[1], path.name)


def extents(
    images: dict[int, Image], places: dict[int, tuple[float, float]]
) -> tuple[dict[int, Extent], dict[int, tuple[float, float]], tuple[float, float]]:
    """What `plan` takes. Raises DataError where slices have different voxels."""
    alike({n: in_um(image) for n, image in images.items()}, prepared=images)
    first = next(iter(images.values()))
    found = {
        n: Extent((image.shape[1], image.shape[2]), (image.origin[1] / NM_PER_MM, image.origin[2] / NM_PER_MM))
        for n, image in images.items()
    }
    return found, places, (first.scale[1] / NM_PER_MM, first.scale[2] / NM_PER_MM)


def refined(p: Parameters, table: Sequence[Shift], images: dict[int, Image]) -> tuple[list[Shift], list[str]]:
    """The table with steps by the images where the stage is unreliable and both slices are there."""
    out, notes = [], []
    for row in table:
        if not row.reliable and row.fixed in images and row.moving in images:
            step, correlation, off = measured(row, images[row.fixed], images[row.moving])
            limit = p.common_space_refine_max_discrepancy_px
            taken = correlation >= p.common_space_refine_min_correlation and (not limit or off <= limit)
            notes.append(
                f"{row.fixed} to {row.moving}: images say {off:.1f} px beside the stage, correlation {correlation:.2f}; "
                f"{'taken' if taken else 'the stage is believed'}"
            )
            row = row._replace(x=step[0], y=step[1], reliable=True) if taken else row
        out.append(row)
    return out, notes


def measured(row: Shift, fixed: Image, moving: Image) -> tuple[tuple[float, float], float, float]:
    """The step by the images, mm; correlation of what both show; px beside what the stage says."""
    from .registration import estimate_pair

    scale = np.array(fixed.scale[1:]) / NM_PER_MM
    a, b = (np.array(image.origin[1:]) / NM_PER_MM for image in (fixed, moving))
    # On the pixels of the fixed one, where the stage has it: pixel 0 of moving lies at b - a - shift.
    exact = (b - a - (row.x, row.y)) / scale
    whole = np.rint(exact).astype(int)
    one, other = on_one_canvas(projection(fixed), projection(moving), whole)
    result = estimate_pair(one, other, level="translation")
    dy, dx, _ = result.correction
    off = np.array([dy, dx]) if result.trusted else np.zeros(2)
    step = (row.x, row.y) - (off - (exact - whole) * result.trusted) * scale
    return (float(step[0]), float(step[1])), float(result.correlation if result.trusted else 0), float(np.hypot(*off))


def projection(image: Image) -> np.ndarray:
    """Mean of the planes, slab by slab."""
    depth, total = image.layout().shard[0], np.zeros(image.shape[1:], np.float64)
    for z in range(0, image.shape[0], depth):
        total += image.read(np.s_[z : min(z + depth, image.shape[0])]).sum(0, dtype=np.float64)
    return (total / image.shape[0]).astype(np.float32)


def on_one_canvas(one: np.ndarray, other: np.ndarray, corner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures on a canvas that holds them, `other` with its pixel 0 at `corner` of `one`."""
    low = np.minimum(0, corner)
    high = np.maximum(one.shape, corner + other.shape)
    out = []
    for picture, at in ((one, -low), (other, corner - low)):
        canvas = np.zeros(high - low, np.float32)
        canvas[at[0] : at[0] + picture.shape[0], at[1] : at[1] + picture.shape[1]] = picture
        out.append(canvas)
    return out[0], out[1]


def write_offsets(path: Path, made: CommonSpace) -> None:
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for n, placed in made.slices.items():
            table.writerow([f"{n:02d}", *placed.corner, *(f"{v:.6f}" for v in placed.origin)])


def write_gaps(path: Path, between: Sequence[Gap]) -> None:
    """A task for each gap of one slice; none for wider ones, of which nothing is known."""
    rows = [
        {**row, "before": slices.name_of(gap.before), "after": slices.name_of(gap.after)}
        for gap in between
        if len(gap.missing) == 1
        for row in slices.tasks(gap.missing)
    ]
    if rows:
        plans.write(path, rows)
    else:
        path.write_text("id,slice,before,after\n")
