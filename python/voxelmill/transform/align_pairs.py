"""Align pairs: where the content of each section lies in its next few neighbours."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Literal

import numpy as np

from ..core import blocks, pool
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from . import pair_results, registration
from .bandpass import Reduced, reduction

MOST_BYTES = 128e6  # of sections at full size, in memory at a time


class Parameters(Params):
    """Section registration."""

    alignment: Literal["none", "translation", "rigid", "elastic"] = param(
        "rigid",
        "How sections may move: not at all, shift, shift and turn, or bend as well",
        profiles={"aggressive": "elastic", "minimal": "translation"},
    )
    align_neighbours: int = param(
        2,
        "Each section is compared with this many of the following",
        unit="section",
        ge=2,
        le=10,
        more="A corrupt section is known by the pairs that skip it.",
        profiles={"conservative": 4},
    )
    align_max_size: int | None = param(
        None,
        "Longer side at which sections are compared, larger ones reduced; 320, elastic 1024, when not given",
        unit="px",
        ge=64,
        le=8192,
    )
    align_max_rotation: float = param(24.0, "Rotations tried when none is not enough", unit="degree", ge=0, le=180)
    align_min_correlation: float = param(
        0.1, "Pairs that agree less than this are no evidence", ge=0, le=1, profiles={"conservative": 0.2, "aggressive": 0.05}
    )
    align_smoothness: float = param(32.0, "Finest window of the elastic level (Gaussian sigma)", unit="px", ge=8, le=512)


def run(p: Parameters, task: Task, *, volume: In, facts: In, block: str, output: Out) -> None:
    image = open_image(volume)
    lay = image.layout()
    wanted = []
    if p.alignment != "none":
        ranges = [r[0] for r in blocks.regions(lay, block)]
        wanted = registration.neighbour_pairs(
            lay.shape[0], p.align_neighbours, min(r.start for r in ranges), max(r.stop for r in ranges)
        )
    runs = [[(int(a), int(b)) for a, b in part] for part in np.array_split(np.reshape(wanted, (-1, 2)), pool.wanted())]
    found = task.each(partial(estimate, p, image), [run for run in runs if run], "runs of pairs registered")
    pairs = list(itertools.chain.from_iterable(found))
    with open(output, "wb") as file:
        np.savez(file, **pair_results.pack(pairs))  # type: ignore[arg-type]
    task.report(pairs=len(pairs), pairs_without_agreement=sum(q.level == "none" for q in pairs))


def estimate(p: Parameters, image: Image, wanted: Any) -> list[pair_results.PairResult]:
    """Register pairs of sections of an image, each section read once."""
    wanted = sorted(wanted)
    return registration.estimate_pairs(
        Reader(image, {z for pair in wanted for z in pair}, p),
        wanted,
        level=p.alignment,
        max_size=p.align_max_size,  # type: ignore[arg-type]
        max_rotation_deg=p.align_max_rotation,
        min_correlation=p.align_min_correlation,
        smoothness=p.align_smoothness,
    )


class Reader:
    """Sections by number, as small as they are compared.

    A chunk holds many sections, so those of a row of shards are read together, some rows of pixels at a time.
    """

    def __init__(self, image: Image, wanted: set[int], p: Parameters):
        self.image, self.wanted, (_, *size) = image, wanted, image.shape
        self.shape = (size[0], size[1])
        self.factor = reduction(self.shape, full=p.alignment == "elastic", max_size=p.align_max_size)
        self.held: dict[int, Reduced] = {}

    def __call__(self, z: int) -> Reduced:
        if z not in self.held:
            thick = self.image.layout().shard[0]
            self.held = self.reduced([n for n in range(z - z % thick, z - z % thick + thick) if n in self.wanted])
        return self.held[z]

    def reduced(self, numbers: list[int]) -> dict[int, Reduced]:
        """These sections; no more than MOST_BYTES of them is held at full size, and no less than a strip."""
        found = {n: Reduced(self.shape, self.factor) for n in numbers}
        low, high = min(numbers), max(numbers) + 1
        row = (high - low) * self.shape[1] * self.image.dtype.itemsize
        strips = Reduced.strips(self.shape, self.factor)
        together = max(1, int(MOST_BYTES // (row * (strips[0].stop - strips[0].start))))
        for some in (strips[n : n + together] for n in range(0, len(strips), together)):
            values = None  # not two of them at a time
            values = self.image.read((slice(low, high), slice(some[0].start, some[-1].stop)))
            for strip in some:
                rows = slice(strip.start - some[0].start, strip.stop - some[0].start)
                for n, small in found.items():
                    small.add(strip, values[n - low, rows])
        return found
