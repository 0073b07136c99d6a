"""One made slice, stitched by the stage alone and refined: for tests of diagnostics."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from .oct import Acquisition, write_mosaics
from .stages import run_stage

MADE = Acquisition(slices=1, grid=(2, 2), tile=(40, 96, 96), drift=0)


@cache
def stitched() -> Path:
    """A folder with `mosaic_grid_3d_z00.ome.zarr`, and store, tables and picture of `motor_only` and `refined`."""
    folder = Path(mkdtemp())
    grid = write_mosaics(folder, MADE) / "mosaic_grid_3d_z00.ome.zarr"
    by: dict[str, dict] = {
        "motor_only": {"motor_only_overlap": MADE.overlap},
        "refined": {"data": "refinement.json", "save_refinement_data": True},
    }
    for name, more in by.items():
        files = {"output": f"{name}.ome.zarr", "tiles": f"{name}_tiles.csv", "seams": f"{name}_seams.csv"}
        given = {"grid": grid, "slice": "0", "picture": f"{name}.png", "stitch_overlap_fraction": MADE.overlap}
        stage = "stitch_motor_only" if name == "motor_only" else "stitch_refined"
        assert run_stage(f"serving.{stage}", folder, **given, **files, **more) == 0
    return folder


def positions(path: Path) -> np.ndarray:
    """(n, 2) px, of a table of tiles."""
    with open(path) as file:
        return np.array([(float(row["y"]), float(row["x"])) for row in csv.DictReader(file)])
