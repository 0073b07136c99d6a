"""Fit bias field: gains of the subject's volume, from a level small enough to be held.

    per_section   a gain for each slab between two surfaces: what light does in a slice, again and again
    global        one gain for the volume: slow drift from slice to slice
    two_pass      first one, then the other

A gain has mean 0 (as a logarithm) where it was fitted: a section keeps its brightness, and so does the volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from ..core import plans, slices
from ..core.params import param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.shared import Tasks
from ..core.space import NM_PER_MM
from ..core.stage import In, Out
from ..core.volume import Image, open_image
from .bias_field import Gain, estimate, tissue
from .plan_stack import Plan
from .resampling import cells, filled

MOST = 8e6  # voxels that gains are fitted to: 200 MB with all that is made of them


class Parameters(Tasks):
    """Fitting the bias field."""

    bias_mode: Literal["two_pass", "per_section", "global"] = param(
        "two_pass", "Gains that are taken out: of each section, of the whole volume, or of each section and then of the whole"
    )


class Stored(BaseModel, frozen=True):
    """A gain as it is written."""

    coefficients: list[list[list[float]]]
    start: tuple[float, float, float]
    stop: tuple[float, float, float]

    def gain(self) -> Gain:
        return Gain(np.array(self.coefficients), self.start, self.stop)


class Bias(BaseModel, frozen=True):
    """Where each section begins (mm, in order), its gain where it has one, and that of the volume."""

    begins: list[float]
    sections: list[Stored | None]
    volume: Stored | None

    def log_at(self, positions: Sequence[np.ndarray]) -> np.ndarray:
        """log gain (z, y, x) on a grid, float32; positions along each axis in mm. The first section goes up to the top."""
        z, *rest = positions
        made = np.zeros([len(at) for at in positions], np.float32)
        of = np.searchsorted(self.begins, z, side="right") - 1
        for n, section in enumerate(self.sections):
            mine = np.maximum(of, 0) == n
            if section and mine.any():
                made[mine] = section.gain().log_at([z[mine], *rest])
        return made + self.volume.gain().log_at(positions) if self.volume else made


def run(p: Parameters, task: Task, *, volume: In, plan: In, bias: Out, picture: Out, block_list: Out) -> None:
    image = open_image(volume)
    made = Plan.model_validate_json(plan.read_text())
    values, positions = held(image, MOST)
    begins = [made.origin[0] + (s.z - 0.5) * made.scale[0] for s in made.slices]
    found, bare = fitted(p.bias_mode, values, positions, begins)
    bias.write_text(found.model_dump_json())
    plans.write(block_list, plans.by_levels([image.layout(n) for n in range(image.levels)], p))
    draw(picture, values, found.log_at(positions), positions)
    gain = np.exp(found.log_at(positions)[tissue(values)])
    task.report(
        sections=len(begins), sections_without_gain=[slices.name_of(made.slices[n].number) for n in bare],
        gain_5_to_95=[round(float(v), 4) for v in np.percentile(gain, (5, 95))] if gain.size else [1, 1],
    )  # fmt: skip


def held(image: Image, most: float, first: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first level from `first` on of so many voxels at most, or means of the last; and where its voxels lie, in mm."""
    sizes = [math.prod(map(float, image.level(n).shape)) for n in range(image.levels)]
    n = next((n for n in range(first, len(sizes)) if sizes[n] <= most), len(sizes) - 1)
    step = max(1.0, (sizes[n] / most) ** (1 / 3))
    shape = [cells(k, step) for k in image.level(n).shape]
    space = image.at_level(n).level((step,) * 3)
    values = filled(image, (step,) * 3, tuple(slice(0, k) for k in shape), n)
    places = zip(space.origin, space.scale, shape)
    return values, [(o + s * np.arange(k)) / NM_PER_MM for o, s, k in places]


def fitted(mode: str, values: np.ndarray, positions: Sequence[np.ndarray], begins: Sequence[float]) -> tuple[Bias, list[int]]:
    """The gains, and which sections show too little tissue to have one."""
    sections: list[Stored | None] = [None] * len(begins)
    bare: list[int] = []
    if mode != "global":
        of = np.maximum(np.searchsorted(begins, positions[0], side="right") - 1, 0)
        for n in range(len(begins)):
            mine = np.flatnonzero(of == n)
            sections[n] = stored(values[mine], [positions[0][mine], *positions[1:]]) if mine.size else None
            bare += [n] if sections[n] is None else []
    made = Bias(begins=list(begins), sections=sections, volume=None)
    if mode == "per_section":
        return made, bare
    whole = stored(values / np.exp(made.log_at(positions)), positions)
    return made.model_copy(update={"volume": whole}), bare


def stored(values: np.ndarray, positions: Sequence[np.ndarray]) -> Stored | None:
    """The gain of a part of the volume, if it shows enough tissue."""
    scale = [float(at[1] - at[0]) if len(at) > 1 else float(positions[-1][1] - positions[-1][0]) for at in positions]
    gain = estimate(values, tissue(values), scale, [float(at[0]) for at in positions])
    return Stored(coefficients=gain.coefficients.tolist(), start=gain.start, stop=gain.stop) if gain else None


def draw(path: Any, values: np.ndarray, log: np.ndarray, positions: Sequence[np.ndarray]) -> None:
    """Before, gain, after: a plane along depth and one across it, through the middle."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9})
    import matplotlib.pyplot as plt

    after = values / np.exp(log)
    z, a, _ = (n // 2 for n in values.shape)
    top = float(np.percentile(values[values > 0], 99.5)) if (values > 0).any() else 1.0
    depth, down, across = (float(abs(at[-1] - at[0])) or 1.0 for at in positions)
    height = 9 / 3 * (depth + down) / across + 1.2
    figure, axes = plt.subplots(2, 3, figsize=(9, min(max(height, 3), 16)), layout="constrained", height_ratios=[down, depth])
    widest = max(float(abs(np.exp(log) - 1).max()), 0.01)
    for column, (what, block) in zip(axes.T, (("before", values), ("gain", np.exp(log)), ("after", after))):
        for ax, plane, tall in zip(column, (block[z], block[:, a]), (down, depth)):
            grey: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": top}
            gain: dict[str, Any] = {"cmap": "RdBu_r", "vmin": 1 - widest, "vmax": 1 + widest}
            drawn = ax.imshow(plane, extent=(0, across, tall, 0), aspect="auto", **(gain if what == "gain" else grey))
            ax.set(xticks=[], yticks=[])
        column[0].set_title(what)
        if what == "gain":
            figure.colorbar(drawn, ax=column, location="bottom", shrink=0.8)
    axes[0, 0].set_ylabel("across depth (mm)")
    axes[1, 0].set_ylabel("along depth (mm)")
    save_png(figure, path)
