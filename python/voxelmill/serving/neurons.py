"""Neurons: the table of all neurites, what viewers must know of meshes and skeletons, and a picture of the largest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.pictures import save_png
from ..core.provenance import Task
from ..core.stage import In, InFiles, Out, OutFiles
from ..postprocess.graph import database, write_table
from ..postprocess.shapes import Shapes, from_fragment
from . import meshes
from .figures import Figures
from .neurites import PICTURED

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (n, 3) x y z, triangles (m, 3)

SKELETONS = {  # positions are in nm, in the frame of the source
    "@type": "neuroglancer_skeletons",
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1}],
}
WITH_SYNAPSES = """
    SELECT r.*, CAST(coalesce(n.in_degree, 0) AS BIGINT) AS synapses_in,
    CAST(coalesce(n.out_degree, 0) AS BIGINT) AS synapses_out
    FROM read_parquet($files) AS r LEFT JOIN read_parquet($nodes) AS n ON r.root_id = n.root_id ORDER BY r.root_id"""
SORT_MB = 256  # of memory for it
MOST_TRIANGLES = 1_000_000  # of the picture, some 500 bytes each: a few pixels
SUB = 4  # bits of a pixel's fraction
TURN, TILT = np.radians(35), np.radians(30)
# Rows: to the right, down, towards who looks; of x, y, z with z down, turned about z, then tilted to be seen from above.
VIEW = np.array(
    [
        [np.cos(TURN), -np.sin(TURN), 0],
        [np.sin(TURN) * np.sin(TILT), np.cos(TURN) * np.sin(TILT), np.cos(TILT)],
        [np.sin(TURN) * np.cos(TILT), np.cos(TURN) * np.cos(TILT), -np.sin(TILT)],
    ]
)
LIGHT = np.array([-0.45, -0.6, 0.66])  # from the left, from above, from before


class Parameters(Figures, Shapes, meshes.Meshes):
    """Table and picture of neurites."""


def run(
    p: Parameters,
    task: Task,
    *,
    rows: list[In],
    largest: list[In],
    tables: InFiles,
    neurons: OutFiles,
    mesh_files: OutFiles | None = None,
    skeleton_files: OutFiles | None = None,
    picture: Out | None = None,
) -> None:
    neurons.mkdir()
    task.report(neurons=write_neurons(neurons / "neurons", rows, tables / "nodes.parquet"))
    if p.meshes and mesh_files:
        write_info(mesh_files / "info", meshes.info(p.mesh_format))
    if p.skeletons and skeleton_files:
        write_info(skeleton_files / "precomputed/info", SKELETONS)
    if p.meshes and picture:
        draw(picture, largest, p.figure_dpi)


def write_neurons(stem: Path, rows: Sequence[Path], nodes: Path) -> int:
    """The rows of all batches by root id, with the synapses on and of each; returns their number. Sorted on disk."""
    with database(SORT_MB) as (query, _):
        return write_table(stem, query(WITH_SYNAPSES, list(rows), nodes=str(nodes)))


def write_info(path: Path, described: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(described))


def draw(path: Path, largest: Sequence[Path], dpi: int) -> None:
    """The largest neurites of all batches, lit from one side, with a scale bar and their ids."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = largest_of(largest)
    colours = matplotlib.colormaps["tab10"](np.arange(10))[:, :3]
    figure, ax = plt.subplots(figsize=(8, 6.4), layout="constrained")
    ax.axis("off")
    ax.set_title("The largest neurites" if found else "No neurites")
    if found:
        extent, picture = rendered([mesh for _, mesh in found], colours, round(5.5 * dpi))
        ax.imshow(picture, extent=extent, interpolation="nearest")
        bar(ax, extent)
        for n, (root, _) in enumerate(found):
            ax.plot([], [], "s", color=colours[n % len(colours)], label=f"{root}")
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="root id")
    save_png(figure, path, dpi)


def largest_of(paths: Sequence[Path]) -> list[tuple[int, Mesh]]:
    """(root id, mesh) of the largest in all batches, largest first; as coarse as it takes to hold MOST_TRIANGLES."""
    parts: dict[int, list[Mesh]] = {root: [] for root in largest_roots(paths)}
    cell = 0.0
    for root, data in fragments_of(paths, set(parts)):
        parts[root].append(from_fragment(data))
        while sum(len(triangles) for found in parts.values() for _, triangles in found) > MOST_TRIANGLES:
            cell = 2 * cell or 2 * side_of(parts[root][-1])
            parts = {root: [coarser(merged(found), cell)] if found else [] for root, found in parts.items()}
    return [(root, merged(found)) for root, found in parts.items()]


def largest_roots(paths: Sequence[Path]) -> list[int]:
    import pyarrow.parquet as pq

    voxels: dict[int, int] = {}
    for path in paths:
        table = pq.read_table(path, columns=["root_id", "voxels"])
        voxels |= zip(table["root_id"].to_pylist(), table["voxels"].to_pylist(), strict=True)
    return sorted(voxels, key=lambda root: (-voxels[root], root))[:PICTURED]


def fragments_of(paths: Sequence[Path], roots: set[int]) -> Iterator[tuple[int, bytes]]:
    """(root id, bytes) of the fragments of these, some at a time."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(16, columns=["root_id", "data"]):
                for root, data in zip(batch["root_id"].to_pylist(), batch["data"], strict=True):
                    if root in roots:
                        yield root, data.as_py()


def side_of(mesh: Mesh) -> float:
    """Usual length of a side of its triangles."""
    vertices, triangles = mesh
    return float(np.median(np.linalg.norm(vertices[triangles[:, 0]] - vertices[triangles[:, 1]], axis=1)))


def coarser(mesh: Mesh, cell: float) -> Mesh:
    """A mesh whose vertices in one cube of side `cell` are one (J. Rossignac and P. Borrel, 1993), without triangles that
    have become lines or stand for two."""
    vertices, triangles = mesh
    _, place, count = np.unique(np.floor(vertices / cell), axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    centres = np.stack([np.bincount(place, axis) / count for axis in vertices.T], 1).astype(vertices.dtype)
    corners = place[triangles]
    corners = np.take_along_axis(corners, (corners.argmin(1)[:, None] + np.arange(3)) % 3, 1)  # as they went round
    kept = (corners != np.roll(corners, 1, axis=1)).all(1)
    return centres, np.unique(corners[kept], axis=0)


def merged(parts: list[Mesh]) -> Mesh:
    """Fragments as one mesh; vertices that they share become one."""
    starts = np.cumsum([0, *(len(position) for position, _ in parts)])
    vertices, place = np.unique(np.concatenate([position for position, _ in parts]), axis=0, return_inverse=True)
    triangles = np.concatenate([corner + start for (_, corner), start in zip(parts, starts)])
    return vertices, place.ravel()[triangles]


def rendered(meshes: list[Mesh], colours: np.ndarray, width: int) -> tuple[tuple[float, float, float, float], np.ndarray]:
    """(left, right, bottom, top) and an RGBA picture of meshes (x, y, z down) from above and before, without perspective.

    Triangles are painted from the farthest to the nearest, twice as large as shown; of a closed surface only those
    that look this way."""
    import cv2

    across, down, near = VIEW @ np.concatenate([vertices.T for vertices, _ in meshes], 1)
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    corners = np.concatenate([triangles + start for (_, triangles), start in zip(meshes, starts)])
    shade, seen = (np.concatenate(parts) for parts in zip(*(shades(*mesh) for mesh in meshes)))
    colour = np.concatenate([np.tile(colours[n % len(colours)], (len(t), 1)) for n, (_, t) in enumerate(meshes)])
    depth = near[corners].mean(1)
    order = np.argsort(depth, kind="stable")
    span = (depth - depth.min()) / max(np.ptp(depth), 1e-9)
    colour = colour * (shade * (0.7 + 0.3 * span))[:, None]
    order = order[seen[order]]
    per = 2 * width / max(np.ptp(across), np.ptp(down))
    points = np.stack([across - across.min(), down - down.min()], 1) * per + 8
    picture = np.zeros((int(np.ceil(points[:, 1].max())) + 8, int(np.ceil(points[:, 0].max())) + 8, 4), np.uint8)
    fixed = np.round(points[corners[order]] * 2**SUB).astype(np.int32)
    rgba = np.column_stack([np.clip(colour[order], 0, 1) * 255, np.full(len(order), 255)]).tolist()
    for triangle, one in zip(fixed, rgba):
        cv2.fillConvexPoly(picture, triangle, one, lineType=cv2.LINE_8, shift=SUB)
    height, width = (n // 2 for n in picture.shape[:2])
    opaque = picture.astype(np.float32)
    opaque[..., :3] *= opaque[..., 3:] / 255
    small = cv2.resize(opaque, (width, height), interpolation=cv2.INTER_AREA)
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1)
    return (0.0, width * 2 / per, height * 2 / per, 0.0), np.clip(small, 0, 255).astype(np.uint8)


def shades(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How bright each triangle is, by the mean normal at its corners: a surface of squares looks smooth. Which look
    this way."""
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    each = np.repeat(normal, 3, axis=0).T
    of = np.stack([np.bincount(triangles.ravel(), values, len(vertices)) for values in each], 1)
    mean = of[triangles].sum(1)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return 0.35 + 0.65 * np.clip(mean @ VIEW.T @ LIGHT, 0, 1), normal @ VIEW[2] > 0


def bar(ax: Any, extent: tuple[float, ...]) -> None:
    """A bar of a round length, about a fifth of the width."""
    wanted = extent[1] / 5
    length = max(m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5) if m * 10.0**e <= wanted)
    ax.plot([0, length], [extent[2] * 1.04] * 2, color="black", lw=3, solid_capstyle="butt", clip_on=False)
    ax.text(
        length / 2, extent[2] * 1.06, f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm", ha="center", va="top"
    )
    ax.set_ylim(extent[2] * 1.12, 0)
