"""Generate an AIP: the average over depth of a slice's mosaic grid, as a picture. Dim 1 (stage x) runs down."""

from __future__ import annotations

from ..core.provenance import Task
from ..core.shared import Device
from ..core.stage import In, OutFiles
from ..core.volume import open_image
from .slice_pictures import mean_over_depth, reduced, save_grey


class Parameters(Device):
    """Average intensity projections."""


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: OutFiles) -> None:
    output.mkdir(parents=True)
    plane = mean_over_depth(open_image(grid), task.arrays(p.use_gpu))
    save_grey(output / f"aip_{slice}.png", reduced(plane))
    task.report(mean=round(float(plane.mean()), 3))
