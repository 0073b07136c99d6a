"""Correct bias field: a block of a level of the subject's volume, divided by its gain."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.released import same_level
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from .fit_bias_field import Bias


class Parameters(Params):
    """Correcting the bias field."""

    bias_strength: float = param(1.0, "How much of the gain is taken out; 0: nothing, 1: all", ge=0, le=1)


def run(p: Parameters, task: Task, *, volume: In, bias: In, block: str, output: Out) -> None:
    """`block` is a level and shards of it: `1.0-3`."""
    source = open_image(volume)
    found = Bias.model_validate_json(bias.read_text())
    n, target, regions = same_level(source, block, output)
    task.do(partial(correct, p, found, source, target, n), list(regions), f"shards of level {n} corrected")


def correct(p: Parameters, bias: Bias, source: Image, target: Image, n: int, region: Region) -> None:
    """Write a region, plane by plane: memory is that of the region. 0, where nothing is, stays 0."""
    space = source.at_level(n)
    places = zip(space.origin, space.scale, region)
    z, *rest = [(o + s * np.arange(r.start, r.stop)) / NM_PER_MM for o, s, r in places]
    values = source.read(region, n)
    for k in range(len(values)):
        values[k] /= np.exp(p.bias_strength * bias.log_at([z[k : k + 1], *rest])[0])
    target.write(region, values, n)
