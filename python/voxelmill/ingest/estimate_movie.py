"""Estimate movie: what a run of `timelapse` will take on disk, before any of it is made."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..core import disk
from ..core.provenance import Task
from ..core.stage import In, Out
from ..timelapse.parameters import Copying, Crops, Views
from ..timelapse.store import Facts


class Parameters(Copying, Crops, Views):
    """Disk space of movies."""


def run(p: Parameters, task: Task, *, facts: In, sizes: Out) -> None:
    need = estimate(p, Facts.read(facts))
    sizes.write_text(disk.check(need, Path.cwd(), "choose fewer --fovs"))
    task.report(most_gb_on_disk=round(sum(need.values()) / 2**30, 3))


def estimate(p: Parameters, known: Facts) -> dict[str, float]:
    """Uncompressed bytes of every product, work folder and results together."""
    pixels = sum(float(math.prod(known.views[fov].shape)) for fov in known.chosen)
    channels, measured = len(known.images()), 0 if p.copy_only else len(known.fluorescence)
    images = pixels * channels * np.dtype(known.known["dtype"]).itemsize
    cells = 0.0 if p.copy_only else 2 * pixels  # uint16
    views = pixels * channels / 4 if p.view_level and not p.copy_only else 0.0
    return {
        "images": images,
        "cells": cells,
        "tracks": cells,
        "background": 4 * measured * pixels,
        "crops": images + cells if p.crops and not p.copy_only else 0.0,  # as if cells filled the frames
        "views": views,
    }
