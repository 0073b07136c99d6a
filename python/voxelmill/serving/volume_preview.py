"""Volume preview: three planes through the middle of the subject's volume; and two along depth that name the slices.

+-----------+----+      z = middle: dim 1 (stage x) down, dim 2 (stage y) to the right
|           |    |      right: dim 2 = middle, depth to the right
+-----------+----+
|           |           below: dim 1 = middle, depth down
+-----------+
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import slices
from ..core.params import Params, param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from ..transform.plan_stack import Plan
from .slice_pictures import bounds

WIDTH = 9.0  # inches
MOST_PX = 1500  # of the longest side of what is drawn
LINE = "#56b4e9"


class Parameters(Params):
    """Previews of the subject's volume."""

    annotated_label_every: int = param(1, "Name every n-th slice in the annotated preview", unit="slice", ge=1)
    annotated_show_lines: bool = param(False, "Draw a line where each slice begins")


def run(p: Parameters, task: Task, *, volume: In, plan: In, name: str = "", preview: Out, annotated: Out) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9})
    image = open_image(volume)
    n = level_to_draw(image)
    planes, side = middle_planes(image, n), sides_mm(image)
    made = Plan.model_validate_json(plan.read_text())
    for path, figure in ((preview, three(planes, side, name)), (annotated, named(p, planes, side, made, name))):
        save_png(figure, path)


def level_to_draw(image: Image) -> int:
    """The finest level that is not too large for a picture, or the last."""
    return next((n for n in range(image.levels) if max(image.level(n).shape) <= MOST_PX), image.levels - 1)


def sides_mm(image: Image) -> np.ndarray:
    """(3,) how long the volume is."""
    return np.array(image.shape) * image.scale / NM_PER_MM


def middle_planes(image: Image, n: int) -> list[np.ndarray]:
    """(dim 1, dim 2), (depth, dim 2), (depth, dim 1) of a level."""
    z, a, b = (s // 2 for s in image.level(n).shape)
    every = slice(None)
    return [
        image.read((slice(z, z + 1),), n)[0],
        image.read((every, slice(a, a + 1)), n)[:, 0],
        image.read((every, every, slice(b, b + 1)), n)[:, :, 0],
    ]


def three(planes: list[np.ndarray], side: np.ndarray, name: str) -> Any:
    """The figure of three planes, one scale of lengths and one of greys."""
    import matplotlib.pyplot as plt

    depth, down, across = side
    tall = WIDTH * (down + depth) / (across + depth)
    figure = plt.figure(figsize=(WIDTH, float(np.clip(tall, 3, 16))), layout="constrained")
    axes: Any = figure.subplots(2, 2, width_ratios=[across, depth], height_ratios=[down, depth])
    extents = [(0, across, down, 0), (0, depth, down, 0), (0, across, depth, 0)]
    for ax, plane, extent in zip((axes[0, 0], axes[0, 1], axes[1, 0]), (planes[0], planes[2].T, planes[1]), extents):
        shown(ax, plane, extent, planes)
    axes[1, 1].axis("off")
    axes[0, 0].set(title=name, ylabel="along stage x (mm)", xticks=[])
    axes[0, 1].set(xlabel="depth (mm)", yticks=[])
    axes[1, 0].set(xlabel="along stage y (mm)", ylabel="depth (mm)")
    return figure


def named(p: Parameters, planes: list[np.ndarray], side: np.ndarray, plan: Plan, name: str) -> Any:
    """The figure of two planes along depth: each slice has its name where its surface is."""
    import matplotlib.pyplot as plt

    depth, down, across = side
    tall = WIDTH * depth / (across + down) + 0.8
    figure = plt.figure(figsize=(WIDTH, float(np.clip(tall, 3, 30))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[across, down])
    surfaces = [s.z * plan.scale[0] for s in plan.slices]
    for ax, plane, wide, what in ((left, planes[1], across, "y"), (right, planes[2], down, "x")):
        shown(ax, plane, (0, wide, depth, 0), planes)
        ax.set(xlabel=f"along stage {what} (mm)", yticks=[])
        if p.annotated_show_lines:
            for z in surfaces:
                ax.axhline(z, color=LINE, linewidth=0.6)
    every = slice(None, None, p.annotated_label_every)
    left.set_yticks(surfaces[every], [slices.name_of(s.number) for s in plan.slices[every]])
    left.set(title=f"{name}: slices at their surfaces", ylabel="")
    return figure


def shown(ax: Any, plane: np.ndarray, extent: tuple[float, ...], planes: list[np.ndarray]) -> None:
    low, high = bounds(np.concatenate([one.ravel() for one in planes]))
    ax.imshow(plane, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="antialiased")
    ax.spines[:].set_visible(False)
