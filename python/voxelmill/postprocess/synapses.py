"""Synapses: candidates in each section, with the neurites before and behind.

`--synapses blobs` is the classic notebook heuristic: dark blobs where two neurites meet. It finds far
too many; it shows where a learned detector goes.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from ..core import blocks
from ..core.params import Methods, Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from . import blobs


class Blobs(Params):
    """`--synapses blobs`: dark blobs near boundaries."""

    synapses: Literal["blobs"] = param("blobs", "How synapses are found")
    blob_min_sigma: float = param(1.0, "Smallest blob", unit="px", gt=0, le=16)
    blob_max_sigma: float = param(4.0, "Largest blob", unit="px", gt=0, le=16)
    blob_scales: int = param(6, "Number of scales from smallest to largest", ge=1, le=20)
    blob_threshold: float = param(0.08, "Least response, in units of the section's range of grey", ge=0, le=2)


Parameters = Methods("synapses", Blobs)


def run(p: Blobs, task: Task, *, volume: In, labels: In, supervoxels: In, block: str, candidates: Out) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image, segments, pieces = open_image(volume), open_image(labels), open_image(supervoxels)
    shards = list(blocks.regions(image.layout(), block))
    parts = list(task.each(partial(candidates_of, p, image, segments, pieces), shards, "shards searched"))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    pq.write_table(pa.table(columns), candidates, compression="zstd")
    task.report(candidates=len(columns["z"]))


def candidates_of(p: Blobs, image: Image, segments: Image, pieces: Image, region: Region) -> dict[str, np.ndarray]:
    """Candidates of a region with the supervoxels at their points: these stay true when segments are cut or joined."""
    rows = search(p, image, segments, region)
    columns = {name: np.ascontiguousarray(rows[name]) for name in blobs.DTYPE.names or ()}
    outer, _ = blocks.widen(region, (0, blobs.REACH, blobs.REACH), image.shape)
    ids = pieces.read(outer) if len(rows) else np.zeros((0, 0, 0), np.uint64)
    for side in ("pre", "post"):
        at = (rows["z"], rows[f"{side}_y"], rows[f"{side}_x"])
        near = tuple(axis - part.start for axis, part in zip(at, outer, strict=True))
        columns[f"{side}_pt_supervoxel_id"] = ids[near].astype(np.uint64)
    return columns


def search(p: Blobs, image: Image, segments: Image, region: Region) -> np.ndarray:
    """Candidates of a region, as `blobs.DTYPE`; it reads what the largest blob reaches over."""
    reach = blobs.halo(p.blob_min_sigma, p.blob_max_sigma, p.blob_scales)
    outer, _ = blocks.widen(region, (0, reach, reach), image.shape)
    sections = image.read(outer)
    return blobs.detect(
        sections,
        segments.read(outer),
        np.tile([0, 255], (len(sections), 1)),
        first_section=region[0].start,
        section_shape=(image.shape[1], image.shape[2]),
        origin=(outer[1].start, outer[2].start),
        core=((region[1].start, region[1].stop), (region[2].start, region[2].stop)),
        min_sigma=p.blob_min_sigma,
        max_sigma=p.blob_max_sigma,
        num_sigma=p.blob_scales,
        threshold=p.blob_threshold,
    )
