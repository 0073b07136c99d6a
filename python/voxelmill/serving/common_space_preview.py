"""Common-space preview: each slice on the canvas of all, over the one before it. Dim 1 (stage x) runs down.

The mean over depth of the slice is cyan, that of the one before it red: where both show the same the picture is grey, and
tissue that has moved has coloured rims. The first slice is grey.
"""

from __future__ import annotations

import numpy as np

from ..core import slices
from ..core.params import Params
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..core.volume import open_image
from .slice_pictures import bounds, mean_over_depth, reduced


class Parameters(Params):
    """Previews of the common space."""


def run(p: Parameters, task: Task, *, volumes: list[In], output: OutFiles) -> None:
    import matplotlib.image

    output.mkdir(parents=True)
    before: np.ndarray | None = None
    for path in task.progress(sorted(volumes, key=lambda path: slices.in_name(path.name)), "slices drawn"):
        now = levels(reduced(mean_over_depth(open_image(path))))
        name = slices.name_of(slices.in_name(path.name))
        picture = over(now, now if before is None else before)
        matplotlib.image.imsave(output / f"slice_{name}.png", picture, format="png", metadata={"Software": ""})
        before = now


def levels(plane: np.ndarray) -> np.ndarray:
    """0 to 1, float32; 0 where nothing is."""
    low, high = bounds(plane)
    return np.clip((plane - low) / (high - low), 0, 1).astype(np.float32)


def over(now: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(dim 1, dim 2, RGB): the one before in red, this one in green and blue."""
    return np.stack([before, now, now], -1)
