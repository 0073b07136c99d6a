"""Stack by the stage alone: slices one thickness apart, where the stage says, no pair applied. To compare with the volume."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from ..core import blocks, slice_config
from ..core.errors import DataError
from ..core.params import param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.shared import Sectioning, Storage
from ..core.space import MM, Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, Region, create_image, layout, open_image
from ..transform import plan_stack, stack
from ..transform.pairs import Surface
from ..transform.plan_stack import Laid, Plan
from ..transform.register_pairwise import number
from ..transform.slice_solution import Solution
from .analyze_rotation_drift import pyplot
from .volume_preview import middle_planes, sides_mm, three

Blending = Literal["none", "average", "max", "feather"]


class Parameters(Surface, Storage, Sectioning):
    """Stacking by the stage alone."""

    motor_only_stack_blending: Blending = param(
        "none", "Where slices overlap in the stack by the stage alone: the upper one, the mean, the brighter, fading"
    )


def run(p: Parameters, task: Task, *, volumes: list[In], config: In, name: str = "", output: Out, picture: Out) -> None:
    known = slice_config.read(config)
    images = {n: open_image(path) for n, path in sorted((number(path), path) for path in volumes)}
    images = {n: image for n, image in images.items() if not known.flag(n, "auto_excluded")}
    if not images:
        raise DataError("no slice is left to stack; slice_config.csv and the records of the tasks before say why")
    plan = laid(p, images)
    lay = layout(plan.shape, "float32", p.shard, p.chunk)
    space = Space.of([Axis(axis, "space", MM) for axis in "zyx"], plan.scale, plan.origin)
    target = create_image(output, lay, space)
    every = list(blocks.regions(lay, f"0-{int(np.prod(lay.grid)) - 1}"))
    task.do(partial(write, p, plan, images, target), every, "shards stacked")
    made = open_image(output)
    pyplot()
    figure = three(middle_planes(made, 0), sides_mm(made), f"{name}, by the stage alone")
    save_png(figure, picture)
    task.report(shape=list(plan.shape), slices=len(images))


def laid(p: Parameters, images: dict[int, Image]) -> Plan:
    """All slices where the stage says."""
    still = Solution(np.zeros(len(images)), *np.zeros((2, len(images), 2)))
    how = plan_stack.Parameters(registration_slicing_interval_mm=p.registration_slicing_interval_mm)
    return plan_stack.laid(how, images, still, np.zeros(len(images)))


def write(p: Parameters, plan: Plan, images: dict[int, Image], target: Image, region: Region) -> None:
    target.write(region, blended(p, plan, images, region))


def blended(p: Parameters, plan: Plan, images: dict[int, Image], region: Region) -> np.ndarray:
    """A region of the volume, float32."""
    how = p.motor_only_stack_blending
    fade = stack.Parameters(moving_slice_first_index=p.moving_slice_first_index, stack_blend_enabled=how == "feather")
    if how in ("none", "feather"):
        return stack.mixed(fade, plan, images, region)
    if how == "average":
        return stack.mixed(fade, plan, images, region, evenly)
    alone = [
        stack.mixed(fade, plan.model_copy(update={"slices": [s]}), images, region) for s in plan.slices if reaches(s, region)
    ]
    return np.max(alone, axis=0) if alone else np.zeros([r.stop - r.start for r in region], np.float32)


def evenly(_: stack.Parameters, plan: Plan, z: int) -> list[tuple[Laid, float]]:
    """All slices that show a plane, alike."""
    return [(s, 1.0) for s in plan.slices if s.z <= z < s.z + s.planes]


def reaches(s: Laid, region: Region) -> bool:
    return s.z < region[0].stop and region[0].start < s.z + s.planes
