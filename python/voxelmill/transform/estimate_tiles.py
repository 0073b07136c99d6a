"""Estimate tiles: what a run of `mosaic` will take on disk, before any of it is made."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..core import disk
from ..core.provenance import Task
from ..core.shared import Precision, Resolution
from ..core.stage import In, Out
from ..ingest.list_tiles import UM_PER_MM, pixel
from ..ingest.tiles.oct import read_table
from ..ingest.tiles.tiling import Tiling
from .create_mosaic_grid import Parameters as Raw
from .resampling import sizes_at


class Parameters(Raw, Resolution, Precision):
    """Disk space of mosaics."""


def run(p: Parameters, task: Task, *, tiles: In, sizes: Out) -> None:
    need = of_plain(p, Tiling.model_validate_json(tiles.read_text())) if tiles.suffix == ".json" else of_raw(p, tiles)
    sizes.write_text(disk.check(need, Path.cwd(), "give fewer tiles"))
    task.report(most_gb_on_disk=round(sum(need.values()) / 2**30, 3))


def of_plain(p: Parameters, tiling: Tiling) -> dict[str, float]:
    """As if tiles did not overlap: what no tile covers takes no space."""
    pixels = sum(float(tile.height) * tile.width for tile in tiling.tiles) * tiling.depth
    mosaic = pixels * np.dtype(tiling.dtype).itemsize
    return {"mosaic": mosaic, "pyramid": 0.0 if p.save_minimal else mosaic / 3}  # sections are halved along two axes


def of_raw(p: Parameters, table: Path) -> dict[str, float]:
    voxels = 0.0
    for tile in read_table(table):
        native = (p.axial_resolution, *(UM_PER_MM * size for size in pixel(tile, p.preprocess)))
        voxels += math.prod(sizes_at(p.resolution, tile.shape(p.preprocess), native)[0])
    return {"mosaic grids": 4 * voxels}
