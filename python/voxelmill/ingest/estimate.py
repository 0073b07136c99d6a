"""Estimate: what the whole run will take on disk, before any of it is made; a disk that is too small ends it at once.

It stands apart from `ingest`, since it depends on what is kept at the end and ingest does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import disk
from ..core.provenance import Task
from ..core.shared import Precision
from ..core.stage import Out
from ..core.volume import Layout, layout
from . import ingest
from .volumes.formats import open_source


class Parameters(ingest.Parameters, Precision):
    """Disk space."""


def run(p: Parameters, task: Task, *, source: Path | None = None, sizes: Out) -> None:
    volume = open_source(p.input, p.input_key, p.channel, source, False)
    own, _ = ingest.sizes(p, volume, None)
    _, shape = ingest.place(p, volume, own)
    need = estimate(layout(shape, ingest.check_type(volume, p, False), p.shard, p.chunk), p)
    volume.close()
    sizes.write_text(disk.check(need, Path.cwd(), ingest.LESS))
    task.report(most_gb_on_disk=round(sum(need.values()) / 2**30, 3))


def estimate(lay: Layout, p: Precision) -> dict[str, float]:
    """Uncompressed bytes of every product of the workflow, work folder and results together."""
    n = float(np.prod([float(v) for v in lay.shape]))
    raw, aligned = n * np.dtype(lay.dtype).itemsize, n * np.dtype(p.aligned_dtype).itemsize
    return {
        "raw": raw,
        "preprocessed": n,
        "aligned": n + aligned,
        "supervoxels": n * 8,
        "labels": n * 4,
        "pyramids": (0.0 if p.save_minimal else 1 / 7) * (raw + aligned + 4 * n),
    }
