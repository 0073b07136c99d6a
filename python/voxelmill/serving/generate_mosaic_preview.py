"""Generate a mosaic preview: three planes through the middle of a slice's mosaic grid, at right angles.

+-----------+----+      z = middle: dim 1 (stage x) down, dim 2 (stage y) to the right
|           |    |      right: dim 2 = middle, depth to the right
|           |    |      below: dim 1 = middle, depth down
+-----------+----+
|           |           All planes with one scale of lengths and one of greys.
+-----------+
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.params import Params
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..core.volume import Image, open_image
from .slice_pictures import bounds, reduced

NM_PER_MM = 1e6
WIDTH = 8.0  # inches


class Parameters(Params):
    """Previews of mosaic grids."""


def run(p: Parameters, task: Task, *, grid: In, slice: str, output: OutFiles) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9})
    output.mkdir(parents=True)
    figure = drawn(open_image(grid), slice)
    save_png(figure, output / f"mosaic_grid_{slice}_preview.png")


def drawn(image: Image, name: str) -> Any:
    """The figure."""
    import matplotlib.pyplot as plt

    planes = middle_planes(image)
    depth, down, across = (n * s / NM_PER_MM for n, s in zip(image.shape, image.scale))
    deep = max(depth, 0.08 * max(down, across))  # so that a thin slice is still seen
    tall = WIDTH * (down + deep) / (across + deep)
    figure = plt.figure(figsize=(WIDTH, float(np.clip(tall, 2, 16))), layout="constrained")
    axes: Any = figure.subplots(2, 2, width_ratios=[across, deep], height_ratios=[down, deep])
    low, high = bounds(np.concatenate([plane.ravel() for plane in planes]))
    extents = [(0, across, down, 0), (0, depth, down, 0), (0, across, depth, 0)]
    for ax, plane, extent in zip((axes[0, 0], axes[0, 1], axes[1, 0]), planes, extents):
        ax.imshow(reduced(plane), cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="antialiased")
        ax.spines[:].set_visible(False)
    axes[1, 1].axis("off")
    axes[0, 0].set(title=f"Mosaic grid {name}, overlap not removed", ylabel="along stage x (mm)", xticks=[])
    axes[0, 1].set(xlabel="depth (mm)", yticks=[])
    axes[1, 0].set(xlabel="along stage y (mm)", ylabel="depth (mm)")
    return figure


def middle_planes(image: Image) -> list[np.ndarray]:
    """(dim 1, dim 2), (dim 1, depth), (depth, dim 2)."""
    z, a, b = (n // 2 for n in image.shape)
    every = slice(None)
    return [
        image.read((slice(z, z + 1),))[0],
        image.read((every, every, slice(b, b + 1)))[:, :, 0].T,
        image.read((every, slice(a, a + 1)))[:, 0],
    ]
