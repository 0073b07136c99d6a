"""Plan the stack: which pairs of slices are believed, where each slice goes, and the blocks of the volume.

z of the volume   slice 1     slice 2      Slice n begins n thicknesses below slice 0: a missing one keeps its place.
   0 ----------   surface                  Planes above `moving_slice_first_index` are left to the slice before,
   |              |         - - - - -      wherever there is one that goes so deep.
   T ----------   |         surface
   |              |_______  |
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..core import plans, slice_config, slices, tables
from ..core.errors import DataError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Sectioning, Storage, Strict, Tasks
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, layout, open_image
from .blend_refinement import moved, rests
from .pairs import Laid, Pair, read_metrics
from .plan_common_space import LOST
from .register_pairwise import number
from .slice_solution import Believed, Decision, Solution, decided, joint, linked, solve
from .warp import centre_of, compose, invert, rigid_matrix

DECISIONS = (
    "fixed_id", "moving_id", "use", "why", "confidence", "status", "z_correlation", "correlation", "dim1_px", "dim2_px",
    "rotation_deg",
)  # fmt: skip
MATCHES = (
    "slice_id", "first_plane", "expected_plane", "planes", "dim1_px", "dim2_px", "rotation_deg", "doubt_px", "doubt_deg",
)  # fmt: skip


class Parameters(Believed, Sectioning, Storage, Tasks, Strict):
    """Planning the stack."""

    use_expected_z_overlap: bool = param(True, "Slices lie one thickness apart; else where planes are most alike")
    z_overlap_min_corr: float = param(0.5, "Least correlation of a depth that is believed against the thickness", ge=0, le=1)
    stack_blend_z_refine_vox: int = param(
        5, "Planes by which a slice may lie off its expected place where both are blended", unit="voxel", ge=0
    )
    blend_z_refine_min_confidence: float = param(0.5, "Least confidence of a pair for that", ge=0, le=1)
    blend_refinement_px: float = param(
        0.0, "Farthest shift by which slices are laid on each other once more, where they are mixed; 0: not at all",
        unit="px", ge=0,
    )  # fmt: skip


class Plan(BaseModel, frozen=True):
    """Of the volume: shape, and scale and origin in mm; slices in order."""

    shape: tuple[int, int, int]
    scale: tuple[float, float, float]
    origin: tuple[float, float, float]
    slices: list[Laid]


def run(
    p: Parameters, task: Task, *, volumes: list[In], metrics: list[In] | None = None, manual: list[str] | None = None,
    placed: In | None = None, config: In, plan: Out, matches: Out,
    decisions: Out, block_list: Out,
) -> None:  # fmt: skip
    used = slice_config.read(config)
    images = {n: open_image(path) for path in volumes for n in [number(path)]}
    made_up = {number(path) for path in volumes if "interpolated" in path.name}
    found = [read_metrics(path) for path in metrics or []]
    if placed and (lost := in_column(placed) - set(images)):
        task.quarantine(map(slices.name_of, sorted(lost)), LOST)
    skipped = {n for n in images if used.flag(n, "auto_excluded")}
    images = {n: images[n] for n in sorted(images) if n not in skipped}
    if not images:
        raise DataError("no slice is left to stack; slice_config.csv and the records of the tasks before say why")
    strangers = {n for q in found for n in (q.fixed, q.moving)} - set(images) - skipped
    if strangers:
        raise DataError(f"transforms name slices {sorted(strangers)}, which are not there; expected those of this run")
    laid_by_hand = {f"{slices.name_of(q.fixed)}-{slices.name_of(q.moving)}" for q in found if q.source != "images"}
    if unknown := set(manual or ()) - laid_by_hand:
        pairs = ", ".join(sorted(unknown))
        raise DataError(f"--manual_transforms_dir: no pair {pairs} in this run; expected transforms of its own pairs")
    made = decided(p, [q for q in found if q.fixed in images and q.moving in images])
    solution = solve(p, made, list(images), max(next(iter(images.values())).shape[1:]), made_up)
    alone = without_pair([n for n in images if n not in made_up], made, solution, list(images)) if len(images) > 1 else []
    depth = depths(p, made, images)
    done = laid(p, images, solution, depth)
    if p.blend_refinement_px:
        by = rests(images, done.slices, p.blend_refinement_px)
        done = done.model_copy(update={"slices": [moved(s, shift) for s, shift in zip(done.slices, by, strict=True)]})
        solution = solution._replace(shift=solution.shift + by)
    plan.write_text(done.model_dump_json())
    write_decisions(decisions, made)
    write_matches(matches, p, done, solution)
    plans.write(block_list, plans.by_shards(layout(done.shape, "float32", p.shard, p.chunk), p))
    counts = {use: sum(d.use == use for d in made) for use in ("full", "rotation only", "skipped")}
    if made and p.apply_pairwise_transforms and counts["skipped"] == len(made):
        most = give_or_take(*solution.doubt.max(0))
        why = decisions.name.removesuffix(".partial")
        alone = [f"no pair is believed of {len(made)}: slices lie as the stage says{most}; {why} says why"]
    task.report(
        shape=list(done.shape), slices=len(images), pairs=counts, largest_shift_px=float(np.abs(solution.shift).max()),
        largest_turn_deg=float(np.abs(np.rad2deg(solution.turn)).max()),
        left_out=[slices.name_of(n) for n in sorted(skipped)], **({"notes": alone} if alone else {}),
    )  # fmt: skip


def without_pair(own: Sequence[int], made: Sequence[Decision], solution: Solution, numbers: Sequence[int]) -> list[str]:
    """Slices that no pair holds to the one before them: said, with by how much they may lie off it."""
    known = {(d.pair.fixed, d.pair.moving): d for d in made}
    links, found = [pair for pair, d in known.items() if d.use != "skipped"], []
    for a, b in pairwise(own):
        px, turn = solution.doubt[numbers.index(b)]
        why = known[a, b].why or "turns alone are known" if (a, b) in known else "registration failed"
        off = give_or_take(px, turn)
        pair = f"{slices.name_of(a)} to {slices.name_of(b)}"
        if off and (a, b) in known and known[a, b].use == "full":
            found.append(f"{pair} are held by the planes on either side of a gap{off}")
        elif off:
            found.append(f"{pair} lie as the stage says{off}: {why}")
        elif (a, b) not in known:
            lie = "are held by slices two apart" if linked(links, a, b) else "lie as the stage says"
            found.append(f"{pair} {lie}: {why}")
    return found


def give_or_take(px: float, turn: float) -> str:
    """Doubts, px and radians, as they are said; empty where there are none."""
    off = [said for said, some in ((f"{px:.1f} px", px), (f"{np.rad2deg(turn):.2f} deg", turn)) if some]
    return f", give or take {' and '.join(off)}" if off else ""


def in_column(path: Path) -> set[int]:
    """Slices of a table with the column `slice_id`."""
    return {slices.number_of(row["slice_id"], path.name) for row in tables.rows(path, ("slice_id",))}


def expected(p: Parameters, n: int, step: float) -> float:
    """Planes from slice 0 to slice n; step: mm."""
    return n * p.registration_slicing_interval_mm / step


def depths(p: Parameters, decisions: Sequence[Decision], images: Mapping[int, Image]) -> np.ndarray:
    """(n,) planes by which each slice lies off its expected place."""
    pairs = [d.pair for d in decisions if d.use != "skipped" and trusted_depth(p, d.pair)]
    off = np.array([q.fixed_z - q.expected_z for q in pairs]).reshape(-1, 1)
    z = joint(p, pairs, list(images), off, 0.25)[:, 0]
    most = p.stack_blend_z_refine_vox if p.use_expected_z_overlap else np.inf
    return np.clip(z, -most, most)


def trusted_depth(p: Parameters, pair: Pair) -> bool:
    if p.use_expected_z_overlap:
        return pair.confidence >= p.blend_z_refine_min_confidence
    return pair.z_correlation >= p.z_overlap_min_corr


def laid(p: Parameters, images: Mapping[int, Image], solution: Solution, depth: np.ndarray) -> Plan:
    """Where each slice goes. The volume has the pixels of the first one."""
    numbers = list(images)
    first = images[numbers[0]]
    shape, scale = first.shape[1:], np.array(first.scale)
    centre = centre_of((shape[0], shape[1]))
    step = scale[0] / NM_PER_MM
    start = [round(expected(p, n, step) + d) for n, d in zip(numbers, depth, strict=True)]
    found = []
    for k, (n, image) in enumerate(images.items()):
        beside = (np.array(first.origin[1:]) - image.origin[1:]) / scale[1:]  # px of the slice: px of the volume + beside
        move = rigid_matrix(solution.shift[k, 0], solution.shift[k, 1], float(np.rad2deg(solution.turn[k])), centre)
        matrix = compose(np.array([[1.0, 0, beside[0]], [0, 1, beside[1]]]), invert(move))
        found.append(Laid(number=n, z=start[k] - min(start), planes=image.shape[0], matrix=matrix.tolist()))
    deep = max(s.z + s.planes for s in found)
    mm = np.array(first.origin) / NM_PER_MM
    return Plan(
        shape=(deep, shape[0], shape[1]), scale=tuple((scale / NM_PER_MM).tolist()),
        origin=(float(mm[0] + min(start) * step), float(mm[1]), float(mm[2])), slices=found,
    )  # fmt: skip


def write_decisions(path: Path, made: Sequence[Decision]) -> None:
    rows = []
    for d in made:
        q = d.pair
        figures = (q.confidence, q.z_correlation, q.correlation, q.dim1_px, q.dim2_px, q.rotation_deg)
        sure, *rest = (f"{v:.6g}" for v in figures)
        rows.append([f"{q.fixed:02d}", f"{q.moving:02d}", d.use, d.why, sure, q.status, *rest])
    write_table(path, DECISIONS, rows)


def write_matches(path: Path, p: Parameters, plan: Plan, solution: Solution) -> None:
    first = plan.slices[0].number
    rows = []
    for s, turn, shift, (px, angle) in zip(plan.slices, solution.turn, solution.shift, solution.doubt, strict=True):
        where = expected(p, s.number - first, plan.scale[0])
        figures = (*shift, np.rad2deg(turn), px, np.rad2deg(angle))
        rows.append([f"{s.number:02d}", s.z, f"{where:.3f}", s.planes, *(f"{v:.4f}" for v in figures)])
    write_table(path, MATCHES, rows)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
