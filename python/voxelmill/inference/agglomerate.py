"""Agglomerate: join supervoxels into segments, on tables only; the result is the merge table."""

from __future__ import annotations

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from . import stitching
from .segment import load_tables


class Parameters(Params):
    """Joining sections."""

    min_overlap: int = param(200, "Least overlap of two supervoxels in adjacent sections", unit="px", ge=1)
    min_iou: float = param(0.35, "And least intersection over union; 0: the overlap alone decides", ge=0, le=1)
    min_seam_iou: float = param(0.5, "The same for the pixels along a tile seam", ge=0, le=1)


def run(p: Parameters, task: Task, *, overlaps: list[In], segments: Out) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, sections, seams = zip(*(load_tables(path) for path in overlaps))
    table = stitching.join(np.concatenate(ids), stitching.concatenate(sections), stitching.concatenate(seams),
                           min_overlap=p.min_overlap, min_iou=p.min_iou, min_seam_iou=p.min_seam_iou)
    pq.write_table(pa.table({"supervoxel": table.supervoxel, "segment": table.segment, "score": table.score}),
                   segments, compression="zstd")
    task.report(supervoxels=len(table.supervoxel), segments=int(table.segment.max(initial=0)))
