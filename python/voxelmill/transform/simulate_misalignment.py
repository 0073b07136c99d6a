"""Simulate misalignment: shift every section by a known random vector, as if the microscope had done it.

The shifts are recorded, so that what alignment makes of them can be judged.
"""

from __future__ import annotations

from ..core import blocks
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Seeded
from ..core.stage import In, Out
from ..core.volume import create_image, open_image
from . import warp


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
    target = create_image(output, lay, source.scale)
    for region in task.progress(list(blocks.regions(lay, block)), "shards moved"):
        target.write(region, render_region(source, moves, region, "cubic"))
    shifts = warp.simulate_jitter(lay.shape[0], p.jitter_px, p.seed)
    jitter.write_text("section,dy,dx\n" + "".join(f"{z},{dy:.6f},{dx:.6f}\n" for z, (dy, dx) in enumerate(shifts)))
    task.block = block
    task.report(jitter_rms_px=float((shifts**2).mean() ** 0.5))


def render_region(source, moves, region, interpolation: str = "linear"):
    """A (z, y, x) region of an image with every section moved; one interpolation, reads what it needs."""
    import numpy as np

    z, y, x = region
    out = np.empty(tuple(s.stop - s.start for s in region), source.dtype)
    part = (y.start, y.stop, x.start, x.stop)
    windows = [warp.source_window(moves[n], part, source.shape[1:]) for n in range(z.start, z.stop)]
    y0, y1 = min(w[0] for w in windows), max(w[1] for w in windows)
    x0, x1 = min(w[2] for w in windows), max(w[3] for w in windows)
    held = source.read((z, slice(y0, y1), slice(x0, x1)))
    for i, n in enumerate(range(z.start, z.stop)):
        view = Window(held[i], (y0, x0), source.shape[1:])
        out[i] = warp.render(view, moves[n], part, interpolation=interpolation)
    return out


class Window:
    """Part of a section that answers slices in the section's own coordinates."""

    def __init__(self, values, corner, shape):
        self.values, self.corner, self.shape, self.dtype = values, corner, shape, values.dtype

    def __getitem__(self, at):
        y, x = (
            slice((s.start or 0) - c, (n if s.stop is None else s.stop) - c) for s, c, n in zip(at, self.corner, self.shape)
        )
        return self.values[y, x]
