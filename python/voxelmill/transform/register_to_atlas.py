"""Register to atlas: where each point of an atlas lies in the subject's volume, and the grid of the volume in its frame.

    atlas, mm (S, A, R)  --affine-->  subject, mm (S, A, R)  --orientation code-->  voxels of the slices

The volume is read in its approximate orientation (`--ras_input_orientation`), turned by `--ras_initial_rotation`, and
registered on one level. The levels of the volume in RAS have the voxel sizes of those of the subject and cover the atlas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import plans
from ..core.errors import DataError
from ..core.metadata import multiscales, write_group
from ..core.orientation import RAS, affine
from ..core.params import param
from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.released import create_level
from ..core.shared import Oriented, Seeded, Tasks
from ..core.space import MM, NM_PER_MM, Axis, Space
from ..core.stage import In, Out
from ..core.volume import Image, layout, open_image
from .affine_registration import Affine, Kind, Metric, Scan, register, rotation, sampled
from .atlas import read_atlas, turned
from .fit_bias_field import held
from .resampling import cells

MOST = 30e6  # voxels of the subject's volume that are held
LIKELY = 4.0  # how much longer one brain may be than the other
TOWARDS = {"z": "inferior-to-superior", "y": "posterior-to-anterior", "x": "left-to-right"}


class Parameters(Oriented, Seeded, Tasks):
    """Registration to an atlas."""

    allen_resolution: int = param(25, "Voxel size of the atlas that is registered to", unit="µm", ge=10, le=1000)
    allen_metric: Metric = param(
        "MI", "What is compared: mutual information, squares, correlation, or correlation in windows"
    )
    allen_max_iterations: int = param(1000, "Most rounds of the optimiser, on each scale", ge=1)
    allen_registration_level: int = param(2, "Pyramid level of the volume that is registered; 0: full resolution", ge=0)
    allen_transform: Kind = param("affine", "What is looked for: shift and turn (rigid), or scale and shear, too")
    allen_preview: bool = param(True, "Draw atlas, volume, and one over the other")
    ras_initial_rotation: str = param(
        "", "First guess 'Rx Ry Rz': turns of the volume about the R, A and S axes; empty: found", unit="deg",
        pattern=r"^\s*$|^\s*-?[0-9.]+[ ,]+-?[0-9.]+[ ,]+-?[0-9.]+\s*$",
    )  # fmt: skip
    ras_preview_only: bool = param(False, "Only draw the volume as it is read, beside the atlas; nothing is registered")


def run(
    p: Parameters, task: Task, *, volume: In, atlas: In, name: str = "", template: Out | None = None,
    transform: Out | None = None, block_list: Out | None = None, preview: Out | None = None,
) -> None:  # fmt: skip
    image = open_image(volume)
    if p.allen_registration_level >= image.levels:
        raise DataError(f"{volume}: has levels 0 to {image.levels - 1}; give --allen_registration_level one of these")
    fixed = read_atlas(atlas, p.allen_resolution)
    moving = subject(image, p)
    comparable(fixed, moving, atlas)
    if p.ras_preview_only:
        found, value = Affine(np.eye(3), moving.middle() - fixed.middle()), math.nan
    else:
        found, value = register(
            fixed, moving, metric=p.allen_metric, kind=p.allen_transform, start=first_guess(p.ras_initial_rotation),
            rounds=p.allen_max_iterations, seed=p.seed,
        )  # fmt: skip
        if transform:
            write_itk(transform, found)
        if template and block_list:
            grid(template, image, fixed, found)
            lays = open_image(template)
            plans.write(block_list, plans.by_levels([lays.layout(n) for n in range(lays.levels)], p))
    brought = sampled(moving.values, (found(points_of(fixed)) - moving.origin) / moving.scale).reshape(fixed.values.shape)
    if preview and (p.allen_preview or p.ras_preview_only):
        draw(preview, fixed, brought, name)
    task.report(
        orientation=p.ras_input_orientation or f"not stated: as if {RAS}", metric=p.allen_metric, value=round(value, 5),
        correlation=round(float(np.corrcoef(brought.ravel(), fixed.values.ravel())[0, 1]), 4),
        scale=np.round(1 / np.linalg.svd(found.matrix)[1], 4).tolist(), voxel_mm=moving.scale.tolist(),
    )  # fmt: skip


def subject(image: Image, p: Parameters) -> Scan:
    """The level that is registered, in its approximate orientation."""
    values, places = held(image, MOST, p.allen_registration_level)
    scale = [float(at[1] - at[0]) if len(at) > 1 else image.at_level(0).scale[0] / NM_PER_MM for at in places]
    return turned(values, affine(p.ras_input_orientation or RAS, scale, [float(at[0]) for at in places]), image.root)


def comparable(fixed: Scan, moving: Scan, atlas: Path) -> None:
    """Raises DataError where one is so much longer that a unit must be wrong."""
    long, own = (float(max(scan.scale * scan.values.shape)) for scan in (fixed, moving))
    if not 1 / LIKELY < long / own < LIKELY:
        raise DataError(f"{atlas}: {long:.3g} mm long, the volume {own:.3g} mm; check the unit of the atlas's voxel size")


def first_guess(text: str) -> np.ndarray | None:
    """(3, 3) in the order S, A, R from the atlas to the volume, of turns that the volume makes. None: find it."""
    words = text.replace(",", " ").split()
    if not words:
        return None
    x, y, z = (np.deg2rad(float(word)) for word in words)
    turn = rotation(np.array([0, 0, z])) @ rotation(np.array([0, y, 0])) @ rotation(np.array([x, 0, 0]))
    return turn.T[::-1, ::-1]


def points_of(scan: Scan) -> np.ndarray:
    """(n, 3) where its voxels lie."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in scan.values.shape), indexing="ij"), -1).reshape(-1, 3)
    return scan.origin + grid * scan.scale


def grid(root: Path, image: Image, fixed: Scan, found: Affine) -> None:
    """An empty store: the levels that the volume has in RAS, and the transform, which `align_to_ras` reads."""
    start, size = fixed.origin - fixed.scale / 2, fixed.scale * fixed.values.shape
    axes = [Axis(name, "space", MM) for name in "zyx"]
    spaces = []
    for n in range(image.levels):
        scale = np.full(3, max(image.at_level(n).scale) / NM_PER_MM)
        shape = [cells(v, s) for v, s in zip(size, scale)]
        source = image.layout(n)
        create_level(root, n, layout(shape, source.dtype, source.shard, source.chunk), image.version)
        spaces.append(Space.of(axes, scale.tolist(), (start + scale / 2).tolist()))
    entry = multiscales(spaces, root.name)
    entry["axes"] = [axis | {"orientation": {"type": "anatomical", "value": TOWARDS[axis["name"]]}} for axis in entry["axes"]]
    move = {"matrix": found.matrix.tolist(), "shift": found.shift.tolist()}
    write_group(root, {"multiscales": [entry], "voxelmill": {"to_subject": move}}, image.version)


def write_itk(path: Path, found: Affine) -> None:
    """An ITK transform from points of the atlas to points of the subject, in mm along L, P, S, as ITK counts.

    The subject's points are those of its NIfTI with the same `--ras_input_orientation`."""
    flip = np.array([-1.0, -1.0, 1.0])
    matrix = found.matrix[::-1, ::-1] * flip[:, None] * flip
    numbers = " ".join(f"{v:.12g}" for v in (*matrix.ravel(), *(found.shift[::-1] * flip)))
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )


def draw(path: Path, fixed: Scan, brought: np.ndarray, name: str) -> None:
    """Atlas, volume, and both (atlas magenta, volume green), on three planes through the middle; sides are named."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 9})
    import matplotlib.pyplot as plt

    grey = [
        np.clip(v / (float(np.percentile(v[v > 0], 99.5)) if (v > 0).any() else 1.0), 0, 1) for v in (fixed.values, brought)
    ]
    s, a, r = fixed.scale * fixed.values.shape
    planes: list[tuple[int, str, str, float, float]] = [(1, "RL", "SI", r, s), (2, "AP", "SI", a, s), (0, "RL", "AP", r, a)]
    heights, inch = [tall for *_, tall in planes], 3 / max(r, a)  # all planes on one scale
    figure, axes = plt.subplots(
        3, 3, figsize=(9, min(inch * sum(heights) + 0.9, 16)), layout="constrained", height_ratios=heights
    )
    for row, (axis, across, up, wide, tall) in zip(axes, planes):
        one, two = (np.take(v, v.shape[axis] // 2, axis) for v in grey)
        for ax, plane in zip(row, (one, two, np.stack([one, two, one], -1))):
            more: dict[str, Any] = {} if plane.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
            ax.imshow(plane, origin="lower", extent=(0, wide, 0, tall), **more)
            ax.set(xticks=[0.04 * wide, 0.96 * wide], xticklabels=across[::-1])
            ax.set(yticks=[0.04 * tall, 0.96 * tall], yticklabels=up[::-1])
            ax.tick_params(length=0)
    for ax, title in zip(axes[0], ("atlas", name or "volume", "atlas magenta, volume green")):
        ax.set_title(title)
    save_png(figure, path)


def stored_affine(attributes: dict[str, Any]) -> Affine:
    """The transform in the attributes of a grid."""
    move = attributes["voxelmill"]["to_subject"]
    return Affine(np.array(move["matrix"]), np.array(move["shift"]))


def to_voxels(image: Image, n: int, code: str, found: Affine, grid_space: Space) -> np.ndarray:
    """(3, 4) from voxels of a level of the volume in RAS to those of the subject's level."""
    step, start = (np.array(v) / NM_PER_MM for v in (grid_space.scale, grid_space.origin))
    matrix, shift = found.matrix * step, found(start[None])[0]  # to mm of the subject, S A R
    space = image.at_level(n)
    of: Sequence[float] = [v / NM_PER_MM for v in space.scale]
    back = np.linalg.inv(affine(code or RAS, of, [v / NM_PER_MM for v in space.origin]))
    return np.column_stack([back[:3, :3] @ matrix[::-1], back[:3, :3] @ shift[::-1] + back[:3, 3]])
