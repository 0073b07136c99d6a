"""A made stack, and the subject's volume that is published of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core import manifest, plans
from ..core.space import MM, Axis, Space
from ..core.volume import create_image, layout
from .stages import run_stage

STORED = (0.010, 0.010, 0.010)


def stack(folder: Path, values: np.ndarray, scale: tuple[float, ...] = STORED, origin=(1.0, 2.0, -3.0)) -> Path:
    """As `stack` leaves it."""
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], scale, origin)
    path = folder / "stack.ome.zarr"
    image = create_image(path, layout(values.shape, "float32", (16, 32, 32), (8, 16, 16)), space)
    image.write(tuple(slice(0, n) for n in values.shape), values.astype(np.float32))
    manifest.write(path)
    return path


def ramp(shape: tuple[int, ...], scale: tuple[float, ...] = STORED, origin=(1.0, 2.0, -3.0)) -> np.ndarray:
    """Grey values that say where a voxel lies: 1 z + 10 y + 100 x in mm."""
    grid = np.meshgrid(*(o + s * np.arange(n) for n, s, o in zip(shape, scale, origin)), indexing="ij")
    return grid[0] + 10 * grid[1] + 100 * grid[2]


def published(folder: Path, store: Path, blocks: int = 1, **flags: Any) -> Path:
    assert run_stage("serving.plan_levels", folder, volume=store, block_list="levels.csv", blocks=blocks, **flags) == 0
    parts = []
    for row in plans.read(folder / "levels.csv"):
        parts.append(folder / row["id"] / "volume.levels")
        assert run_stage("serving.make_levels", folder, volume=store, block=row["block"], output=parts[-1], **flags) == 0
    more: dict[str, Any] = {"parts": parts} if parts else {}
    given = {"volume": store, "name": "sub-01", "output": "sub-01.ome.zarr"}
    assert run_stage("serving.publish_volume", folder, **given, **more, **flags) == 0
    return folder / "sub-01.ome.zarr"


def lit_sections(folder: Path, bare: int = -1) -> tuple[Path, Path, np.ndarray, np.ndarray, np.ndarray]:
    """A volume of four sections of textured tissue, each lit unevenly, the other way round from one to the next, with drift.

    bare: a section without tissue. Returns the store, its plan, log gains of sections and of the volume, where tissue is."""
    from scipy import ndimage

    from ..transform.plan_stack import Laid, Plan

    shape, thick = (64, 60, 70), 16
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    turn = np.where(np.arange(shape[0]) // thick % 2, -1, 1)[:, None, None]  # so that no smooth gain follows them
    of_section, of_volume = turn * (0.35 * (x * x - 0.33) + 0.25 * y), 0.3 * z + 0.1 * z * z
    inside = (y / 0.85) ** 2 + (x / 0.9) ** 2 < 1
    if bare >= 0:
        inside[bare * thick : (bare + 1) * thick] = False
    rng = np.random.default_rng(3)
    regions = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    values = np.where(regions > 0.3 * regions.std(), 0.7, 0.4) * rng.gamma(100, 0.01, shape)
    path = published(folder, stack(folder, np.where(inside, values * np.exp(of_section + of_volume), 0)))
    laid = [Laid(number=n, z=thick * n, planes=thick + 4, matrix=[[1, 0, 0], [0, 1, 0]]) for n in range(4)]
    (folder / "stack.json").write_text(Plan(shape=shape, scale=(0.01,) * 3, origin=(1, 2, -3), slices=laid).model_dump_json())
    return path, folder / "stack.json", of_section, of_volume, inside


def joined(folder: Path, stage: str, like: Path, name: str, given: dict[str, Any]) -> Path:
    """All blocks of `blocks.csv` by a stage, and the store that is made of them."""
    parts = []
    for row in plans.read(folder / "blocks.csv"):
        parts.append(folder / row["id"] / "volume.levels")
        assert run_stage(stage, folder, **given, block=row["block"], output=parts[-1]) == 0
    out = {"name": name, "output": f"{name}.ome.zarr"}
    assert run_stage("serving.join_levels", folder, parts=parts, like=like, **out) == 0
    return folder / f"{name}.ome.zarr"


def corrected(folder: Path, path: Path, plan: Path, blocks: int = 0, **flags: Any) -> Path:
    """The volume without its bias field."""
    out = {"bias": "bias.json", "picture": "bias.png", "block_list": "blocks.csv", "blocks": blocks}
    assert run_stage("transform.fit_bias_field", folder, volume=path, plan=plan, **out) == 0
    given = {"volume": path, "bias": "bias.json", **flags}
    return joined(folder, "transform.correct_bias_field", path, "sub-01_corrected", given)
