"""Refine manual transforms: a pair of slices as a person has laid them; on request registered once more, within tight bounds.

Pair and transform have the form of `register_pairwise` and take the place of what that would have found. Where the tight
registration finds nothing, or more than it may, the person's word stays.
"""

from __future__ import annotations

import numpy as np

from ..core.params import param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .bandpass import prepare
from .pairs import THRESHOLDS, Pair, Source, read_itk, write_itk, write_metrics
from .register_pairwise import FINEST, SLAB, Expected, Reach, depth_of, expectation, number, on_fixed, slabs
from .registration import estimate_pair
from .warp import centre_of, compose, rigid_parameters


class Parameters(Expected):
    """Manual alignment."""

    refine_manual_transforms: bool = param(False, "Register pairs once more from where a person has laid them")
    refine_max_translation_px: float = param(10.0, "Farthest that this may move a slice", unit="px", gt=0)
    refine_max_rotation_deg: float = param(2.0, "Most that this may turn a slice", unit="deg", gt=0)


def run(
    p: Parameters, task: Task, *, fixed: In, moving: In, manual: In, name: str, transform: Out, metrics: Out, offsets: Out
) -> None:
    numbers = (number(fixed), number(moving))
    images = (open_image(fixed), open_image(moving))
    pair, matrix = aligned(p, images, numbers, read_itk(manual))
    write_metrics(metrics, pair)
    write_itk(transform, matrix, images[0].shape[1:])  # type: ignore[arg-type]
    offsets.write_text(f"{round(pair.fixed_z)} {round(pair.moving_z)}\n")
    said = [why for why in (pair.why, unlike(pair, images[0].shape[0])) if why]
    notes = {"notes": [f"{name}: {why}" for why in said]} if said else {}
    task.report(**pair.model_dump(exclude={"fixed", "moving"}), **notes)


def unlike(pair: Pair, depth: int) -> str:
    """What is to be said of a pair, fixed `depth` planes deep, that does not fit as it was laid: it may be of another run."""
    least = THRESHOLDS["z_correlation"][2]
    if pair.expected_z > depth - SLAB // 4 or pair.z_correlation >= least:
        return ""
    return (
        f"laid by hand, and planes correlate by {pair.z_correlation:.2f}, where those that fit do by {least:g} and more: is "
        "it a transform of this run?"
    )


def aligned(
    p: Parameters, images: tuple[Image, Image], numbers: tuple[int, int], matrix: np.ndarray
) -> tuple[Pair, np.ndarray]:
    """The pair, and the matrix (2, 3) from px of fixed to px of moving, from the one that a person gives."""
    fixed, moving = images
    about, reach, beside = expectation(p, images, numbers)
    planes = range(reach.first, min(reach.first + SLAB, moving.shape[0]))
    source: Source = "manual"
    correlation, why = 0.0, ""
    if p.refine_manual_transforms and reach.expected <= fixed.shape[0] - SLAB // 4:
        better, correlation, why = refined(p, images, reach, planes, matrix)
        source = "manual" if why else "manual_refined"
        matrix = matrix if why else better
    elif p.refine_manual_transforms:
        why = "not refined: nothing is seen by both"
    z, z_correlation = depth_of(fixed, moving, matrix, reach, planes)
    *off, turn = rigid_parameters(matrix, centre_of(fixed.shape[1:]))
    dim1, dim2 = (np.array(off) - beside).tolist()
    pair = Pair(
        **about, fixed_z=z, dim1_px=dim1, dim2_px=dim2, rotation_deg=turn, z_correlation=z_correlation,
        correlation=correlation, confidence=1.0, status="ok", why=why, source=source,
    )  # fmt: skip
    return pair, matrix


def refined(
    p: Parameters, images: tuple[Image, Image], reach: Reach, planes: range, matrix: np.ndarray
) -> tuple[np.ndarray, float, str]:
    """The matrix after a tight registration, the correlation, and why it is not to be taken, if so."""
    fixed, moving = images
    one, other = slabs(fixed, moving, (round(reach.expected), planes.start), len(planes))
    seen = on_fixed(other, matrix)  # as the person sees it on fixed
    pyramids = [prepare(image, full=True, max_size=FINEST) for image in (one, seen)]
    found = estimate_pair(*pyramids, level="rigid", max_rotation_deg=p.refine_max_rotation_deg)
    if not found.trusted:
        return matrix, 0.0, "not refined: nothing was found that both show"
    dim1, dim2, turn = rigid_parameters(found.matrix, centre_of(found.shape))
    moved = float(np.hypot(dim1, dim2))
    if moved > p.refine_max_translation_px or abs(turn) > p.refine_max_rotation_deg:
        return matrix, 0.0, f"not refined: {moved:.1f} px, {turn:.2f} deg would be beyond the bounds"
    return compose(matrix, found.matrix), float(found.correlation), ""
