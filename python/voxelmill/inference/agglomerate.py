"""Agglomerate: join the supervoxels of a batch of sections, on tables only; what crosses its borders is left to
`join_segments`."""

from __future__ import annotations

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from . import section_linking
from .segment import load_tables


class Parameters(Params):
    """Joining sections."""

    min_overlap: int = param(200, "Least overlap of two supervoxels in adjacent sections", unit="px", ge=1)
    min_iou: float = param(0.35, "And least intersection over union; 0: the overlap alone decides", ge=0, le=1)
    min_seam_iou: float = param(0.5, "The same for the pixels along a tile seam", ge=0, le=1)


def run(p: Parameters, task: Task, *, overlaps: list[In], block: str, components: Out, border: Out) -> None:
    import numpy as np

    ids, sections, seams, first_ends = zip(*(load_tables(path) for path in overlaps))
    found, edge = section_linking.link(
        np.concatenate(ids),
        section_linking.concatenate(sections),
        section_linking.concatenate(seams),
        first_ends=min(first_ends),
        min_overlap=p.min_overlap,
        min_iou=p.min_iou,
        min_seam_iou=p.min_seam_iou,
    )
    section_linking.save(components, found)
    section_linking.save(border, edge)
    task.report(supervoxels=len(found.supervoxel), components=edge.number)
