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
