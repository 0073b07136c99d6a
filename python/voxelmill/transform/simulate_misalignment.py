"""Simulate misalignment: shift every section by a known random vector, as if the microscope had done it.

The shifts are recorded, so that what alignment makes of them can be judged.
"""

from __future__ import annotations

from functools import partial

from ..core import blocks
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Seeded
from ..core.stage import In, Out
from ..core.volume import Image, Region, create_image, open_image
from . import warp
from .rendering import render_region


class Parameters(Seeded):
    """Simulated misalignment."""

    simulate_misalignment: bool = param(False, "Shift every section by a known random vector before alignment")
    jitter_px: float = param(1.0, "Standard deviation of the shift along each axis", unit="px", ge=0, le=100)


def transforms(p: Parameters, sections: int) -> list[warp.SectionTransform]:
    """The jitter of every section: what `--truth` goes through, too."""
    return [warp.shift_transform(*v) for v in warp.simulate_jitter(sections, p.jitter_px, p.seed)]


def run(p: Parameters, task: Task, *, volume: In, block: str, output: Out, jitter: Out) -> None:
    source = open_image(volume)
    lay = source.layout()
    moves = transforms(p, lay.shape[0])
    target = create_image(output, lay, source.space)
    shards = [(region, moves[region[0]]) for region in blocks.regions(lay, block)]
    task.do(partial(move, source, target), shards, "shards moved")
    shifts = warp.simulate_jitter(lay.shape[0], p.jitter_px, p.seed)
    jitter.write_text("section,dy,dx\n" + "".join(f"{z},{dy:.6f},{dx:.6f}\n" for z, (dy, dx) in enumerate(shifts)))
    task.report(jitter_rms_px=float((shifts**2).mean() ** 0.5))


def move(source: Image, target: Image, one: tuple[Region, list[warp.SectionTransform]]) -> None:
    """Write a region with its sections moved."""
    target.write(one[0], render_region(source, one[1], one[0], "cubic"))
