"""Align pairs: where the content of each section lies in its next few neighbours."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..core import blocks
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from . import registration

MOST_BYTES = 256e6  # sections of a row of shards are read together up to this size


class Parameters(Params):
    """Section registration."""

    alignment: Literal["none", "translation", "rigid", "elastic"] = param(
        "rigid", "How sections may move: not at all, shift, shift and turn, or bend as well"
    )
    align_neighbours: int = param(
        2,
        "Each section is compared with this many of the following",
        unit="section",
        ge=2,
        le=10,
        more="A corrupt section is known by the pairs that skip it.",
    )
    align_max_size: int | None = param(
        None,
        "Longer side at which sections are compared, larger ones reduced; 320, elastic 1024, when not given",
        unit="px",
        ge=64,
        le=8192,
    )
    align_max_rotation: float = param(24.0, "Rotations tried when none is not enough", unit="degree", ge=0, le=180)
    align_min_correlation: float = param(0.1, "Pairs that agree less than this are no evidence", ge=0, le=1)
    align_smoothness: float = param(32.0, "Finest window of the elastic level (Gaussian sigma)", unit="px", ge=8, le=512)


def run(p: Parameters, task: Task, *, volume: In, facts: In, block: str, output: Out) -> None:
    task.block = block
    image = open_image(volume)
    lay = image.layout()
    wanted = []
    if p.alignment != "none":
        ranges = [r[0] for r in blocks.regions(lay, block)]
        wanted = registration.neighbour_pairs(
            lay.shape[0], p.align_neighbours, min(r.start for r in ranges), max(r.stop for r in ranges)
        )
    pairs = estimate(p, image, task.progress(wanted, "pairs registered"))
    with open(output, "wb") as file:
        np.savez(file, **registration.pack(pairs))  # type: ignore[arg-type]
    task.report(pairs=len(pairs), pairs_without_agreement=sum(q.level == "none" for q in pairs))


def estimate(p: Parameters, image: Image, wanted: Any) -> list[registration.PairResult]:
    """Register pairs of sections of an image, each section read once."""
    return registration.estimate_pairs(
        Reader(image),
        wanted,
        level=p.alignment,
        max_size=p.align_max_size,  # type: ignore[arg-type]
        max_rotation_deg=p.align_max_rotation,
        min_correlation=p.align_min_correlation,
        smoothness=p.align_smoothness,
    )


class Reader:
    """Sections by number. A chunk holds many sections, so those of a row of shards are read together."""

    def __init__(self, image: Image):
        lay = image.layout()
        self.image, self.depth = image, lay.shape[0]
        section = lay.shape[1] * lay.shape[2] * np.dtype(lay.dtype).itemsize
        self.thick = max(1, min(lay.shard[0], int(MOST_BYTES // section)))
        self.first, self.held = -1, np.empty((0, 0, 0))

    def __call__(self, z: int) -> np.ndarray:
        first = z - z % self.thick
        if first != self.first:
            self.first, self.held = first, self.image.read((slice(first, min(first + self.thick, self.depth)),))
        return self.held[z - first]
