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


def run(p: Blobs, task: Task, *, volume: In, labels: In, block: str, candidates: Out) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image, segments = open_image(volume), open_image(labels)
    shards = list(blocks.regions(image.layout(), block))
    rows = np.concatenate(list(task.each(partial(search, p, image, segments), shards, "shards searched")))
    pq.write_table(
        pa.table({name: np.ascontiguousarray(rows[name]) for name in blobs.DTYPE.names or ()}), candidates, compression="zstd"
    )
    task.report(candidates=len(rows))


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
