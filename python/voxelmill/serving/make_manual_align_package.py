"""Make manual align package: what a person needs to lay a pair of slices on each other, small enough to look at in a browser.

NAME/fixed.png, moving.png      means over SLAB planes where the two meet, level --manual_align_level
NAME/planes.npz                 the same as numbers, and means along dim 1 and dim 2 (depth down)
NAME/transform.tfm              what registration found; pair.json: the same in px and deg
NAME/manual.tfm                 what `voxelmill align` leaves, and --manual_transforms_dir looks for
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, OutFiles
from ..core.volume import Image, open_image
from ..transform.pairs import read_itk, read_metrics
from ..transform.register_pairwise import slab
from ..transform.warp import centre_of, rigid_parameters
from .slice_pictures import save_grey

SLAB = 20  # planes averaged


class Parameters(Params):
    """Package for manual alignment."""

    manual_align_level: int = param(1, "Level of the pictures: 0 at full resolution, each further one halves it", ge=0, le=8)


def run(p: Parameters, task: Task, *, fixed: In, moving: In, transform: In, metrics: In, name: str, output: OutFiles) -> None:
    output.mkdir(parents=True)
    pair = read_metrics(metrics)
    images = {"fixed": (open_image(fixed), pair.fixed_z), "moving": (open_image(moving), pair.moving_z)}
    arrays: dict[str, Any] = {}
    for side, (image, z) in images.items():
        planes = seen(image, round(z), 2**p.manual_align_level)
        arrays |= {f"{side}_{axes}": plane for axes, plane in planes.items()}
        save_grey(output / f"{side}.png", planes["xy"])
    save(output / "planes.npz", arrays)
    shutil.copyfile(transform, output / "transform.tfm")
    shape = images["fixed"][0].shape[1:]
    facts = {"name": name, "level": p.manual_align_level, "shape": list(shape), **pair.model_dump()}
    facts |= dict(zip(("shift1", "shift2", "turn"), rigid_parameters(read_itk(transform), centre_of(shape)), strict=True))
    (output / "pair.json").write_text(json.dumps(facts, indent=1))


def seen(image: Image, z: int, factor: int) -> dict[str, np.ndarray]:
    """Means along depth (of a slab), dim 1 and dim 2, plane by plane; in the plane one px a square of `factor`."""
    z = int(np.clip(z, 0, max(image.shape[0] - 1, 0)))
    rows, columns = [], []
    for k in range(image.shape[0]):
        plane = image.read(np.s_[k]).astype(np.float32)
        rows.append(plane.mean(0))
        columns.append(plane.mean(1))
    return {"xy": halved(slab(image, z, SLAB), factor), "xz": np.stack(columns), "yz": np.stack(rows)}


def halved(plane: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares; what does not fill one at the far rims is a smaller one."""
    n, m = (-(-s // factor) * factor for s in plane.shape)
    padded = np.pad(plane, [(0, n - plane.shape[0]), (0, m - plane.shape[1])], mode="edge")
    return padded.reshape(n // factor, factor, m // factor, factor).mean((1, 3))


def save(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)
