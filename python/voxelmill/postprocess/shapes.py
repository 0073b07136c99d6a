"""Shapes: of each segment in each tile of a shard its size, its surface as a fragment of a mesh, and its voxels, coarser.

    sizes      one row a tile and segment: voxels, box, surface
    fragments  the same, with vertices and triangles as Neuroglancer has them, in nm
    coarse     the same, with the segment's voxels at the working resolution of skeletons

Tiles do not depend on blocks, and what two of them share is computed the same by both: their meshes meet exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import blocks, levels
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.space import Space
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from . import surface

TILE = (32, 512, 512)  # voxels looked at together: some 500 MB where meshes are made of single voxels
BOX = ("z0", "z1", "y0", "y1", "x0", "x1")
NOWHERE = np.iinfo(np.int64).max
UNKNOWN = 2  # voxels that one of a mesh stands for where no voxel size is known; of a skeleton twice as many


class Shapes(Params):
    """Meshes and skeletons."""

    meshes: bool = param(True, "Make a mesh of each neurite")
    skeletons: bool = param(True, "Make a skeleton of each neurite")
    mesh_resolution: float = param(20.0, "Voxel size that meshes are made at, or the nearest one can come", unit="nm", gt=0)
    skeleton_resolution: float = param(
        40.0, "Voxel size that skeletons are made at, or the nearest one can come", unit="nm", gt=0
    )


class Parameters(Shapes):
    """What is measured of each segment, tile by tile."""


class Steps(NamedTuple):
    """How many voxels (z, y, x) one of a mesh and one of a skeleton stands for; the second is a multiple of the first."""

    mesh: tuple[int, ...]
    skeleton: tuple[int, ...]

    @classmethod
    def of(cls, p: Shapes, space: Space) -> Steps:
        if not space.known:
            return cls((UNKNOWN,) * 3, (2 * UNKNOWN,) * 3)
        mesh = tuple(max(1, round(p.mesh_resolution / s)) for s in space.scale)
        return cls(mesh, tuple(m * max(1, round(p.skeleton_resolution / (s * m))) for s, m in zip(space.scale, mesh)))


def run(p: Parameters, task: Task, *, labels: In, block: str, sizes: Out, fragments: Out, coarse: Out) -> None:
    image = open_image(labels)
    tiles = [tile for region in blocks.regions(image.layout(), block) for tile in levels.tiles(region, TILE)]
    found = task.each(partial(shapes, p, image), tiles, "tiles")
    task.report(triangles=write(found, sizes, fragments, coarse))


class Found(NamedTuple):
    """Of a tile: its first voxel as `z_y_x`, the rows of `sizes`, and (segment, bytes) for the others."""

    tile: str
    sizes: dict[str, np.ndarray]
    fragments: list[tuple[int, bytes]]
    coarse: list[tuple[int, bytes]]


def shapes(p: Shapes, image: Image, tile: Region) -> Found:
    """All that is in a tile."""
    steps = Steps.of(p, image.space)
    rows = sizes_of(image.read(tile), tile)
    pieces, areas = [], {}
    for label, position, triangles in meshes(image, tile, steps.mesh) if p.meshes else ():
        areas[label] = surface.area(position, triangles)
        pieces.append((label, as_fragment(position, triangles)))
    if p.meshes:
        rows = with_areas(rows, areas)
    voxels = list(voxels_of(image, tile, steps)) if p.skeletons else []
    name = "_".join(str(s.start) for s in tile)
    return Found(name, rows, pieces, [(label, at.astype("<i4").tobytes()) for label, at in voxels])


def sizes_of(labels: np.ndarray, tile: Region) -> dict[str, np.ndarray]:
    """Segments of a tile, ascending, each with its voxels and its box: first voxel, and the one after the last."""
    flat = labels.ravel()  # runs of one label are far fewer than voxels, and sorted in a tenth of the time
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    present, of_run = np.unique(flat[starts], return_inverse=True)
    place = np.repeat(of_run, np.diff(starts, append=flat.size)).reshape(labels.shape)
    rows = {"root_id": present.astype(np.uint64), "voxels": np.bincount(place.ravel(), minlength=len(present))}
    for axis, name in enumerate("zyx"):
        low, high = np.full(len(present), NOWHERE), np.zeros(len(present), np.int64)
        for n in range(labels.shape[axis]):
            there = np.flatnonzero(np.bincount(np.take(place, n, axis).ravel(), minlength=len(present)))
            low[there] = np.minimum(low[there], tile[axis].start + n)
            high[there] = tile[axis].start + n + 1
        rows |= {f"{name}0": low, f"{name}1": high}
    return {name: column[present > 0] for name, column in rows.items()}


def with_areas(rows: dict[str, np.ndarray], areas: dict[int, float]) -> dict[str, np.ndarray]:
    """The rows with `surface`; a segment that only touches the tile gets one without voxels, whose box adds nothing."""
    labels = np.union1d(rows["root_id"], np.array(list(areas), np.uint64))
    place = np.searchsorted(labels, rows["root_id"])
    found: dict[str, np.ndarray] = {"root_id": labels, "surface": np.array([areas.get(n, 0.0) for n in labels.tolist()])}
    for name in ("voxels", *BOX):
        found[name] = np.full(len(labels), NOWHERE if name.endswith("0") else 0)
        found[name][place] = rows[name]
    return found


def meshes(image: Image, tile: Region, step: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(segment, positions z y x in the volume's unit, triangles) of what a tile has of each surface.

    A square belongs to the tile of the voxel after it; the last tile has those at the volume's far face, too."""
    shape = tuple(-(-n // s) for n, s in zip(image.shape, step))
    own = within(tile, step)
    outer, _ = blocks.widen(own, (surface.HALO,) * 3, shape)
    values = np.pad(coarser(image, outer, step), 1)  # nothing is outside of the volume
    inside = tuple(slice(c.start - o.start + 1, c.stop - o.start + 1 + (c.stop == n)) for c, o, n in zip(own, outer, shape))
    if any(s.start >= s.stop for s in own):
        return
    space = image.space.level(step)
    for label, position, triangles in surface.meshes(surface.squares(values, inside, [o.start - 1 for o in outer])):
        yield label, np.array(space.origin) + position * space.scale, triangles


def voxels_of(image: Image, tile: Region, steps: Steps) -> Iterator[tuple[int, np.ndarray]]:
    """(segment, (n, 3) z y x) of the coarse voxels that begin in a tile, by segment."""
    own = within(tile, steps.skeleton)
    if any(s.start >= s.stop for s in own):
        return
    ratio = tuple(s // m for s, m in zip(steps.skeleton, steps.mesh))
    shape = tuple(-(-n // s) for n, s in zip(image.shape, steps.mesh))
    finer = tuple(slice(c.start * r, min(c.stop * r, n)) for c, r, n in zip(own, ratio, shape))
    values = mode(coarser(image, finer, steps.mesh), ratio)
    at = np.argwhere(values) + [s.start for s in own]
    label = values[values > 0]
    order = np.argsort(label, kind="stable")
    present, starts = np.unique(label[order], return_index=True)
    yield from zip(present.tolist(), np.split(at[order], starts[1:]))


def within(tile: Region, step: tuple[int, ...]) -> Region:
    """The coarse voxels whose first voxel lies in a tile."""
    return tuple(slice(-(-r.start // s), -(-r.stop // s)) for r, s in zip(tile, step))


def coarser(image: Image, region: Region, step: tuple[int, ...]) -> np.ndarray:
    """Coarse voxels: each has the label that most of its voxels have."""
    finer = (slice(r.start * s, min(r.stop * s, n)) for r, s, n in zip(region, step, image.shape))
    return mode(image.read(tuple(finer)), step)


def mode(labels: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """The label that most of each box of `step` voxels have; of several the largest. At the far end the last are repeated."""
    if max(step) == 1:
        return labels
    labels = np.pad(labels, [(0, -n % s) for n, s in zip(labels.shape, step)], mode="edge")
    z, y, x = (n // s for n, s in zip(labels.shape, step))
    boxes = labels.reshape(z, step[0], y, step[1], x, step[2]).transpose(0, 2, 4, 1, 3, 5).reshape(z * y * x, -1)
    found = boxes[:, 0].copy()
    mixed = np.flatnonzero((boxes != found[:, None]).any(1))
    values = np.sort(boxes[mixed], axis=1)
    best, run = np.zeros(len(mixed), np.int16), np.ones(len(mixed), np.int16)
    winner = values[:, 0].copy()
    for n in range(values.shape[1]):  # the length of the run of equals that ends here
        run = np.where(values[:, n] == values[:, n - 1], run + 1, 1) if n else run
        better = run >= best
        best[better], winner[better] = run[better], values[better, n]
    found[mixed] = winner
    return found.reshape(z, y, x)


def as_fragment(position: np.ndarray, triangles: np.ndarray) -> bytes:
    """A mesh as Neuroglancer's legacy format has it: number of vertices, x y z of each, three vertices a triangle.

    With x y z for z y x a turn to the left is one to the right, so the triangles are turned round."""
    return (
        np.array(len(position), "<u4").tobytes()
        + position[:, ::-1].astype("<f4").tobytes()
        + triangles[:, ::-1].astype("<u4").tobytes()
    )


def from_fragment(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) x y z and triangles of a fragment."""
    count = int(np.frombuffer(data, "<u4", 1)[0])
    position = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
    return position, np.frombuffer(data, "<u4", offset=4 + 12 * count).reshape(-1, 3)


def write(found: Iterator[Found], sizes: Path, fragments: Path, coarse: Path) -> int:
    """Three tables, a row group a tile. Returns the triangles in all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = pa.schema([("root_id", pa.uint64()), *((n, pa.int64()) for n in ("voxels", *BOX)), ("surface", pa.float64())])
    blobs = pa.schema([("root_id", pa.uint64()), ("tile", pa.string()), ("data", pa.binary())])
    total = 0
    with (
        pq.ParquetWriter(sizes, numbers, compression="zstd") as rows,
        pq.ParquetWriter(fragments, blobs, compression="zstd", use_dictionary=False) as meshes,
        pq.ParquetWriter(coarse, blobs, compression="zstd", use_dictionary=False) as voxels,
    ):
        for one in found:
            none = np.full(len(one.sizes["root_id"]), np.nan)
            columns = [one.sizes.get(field.name, none) for field in numbers]
            rows.write_table(pa.table([pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, numbers)], numbers))
            for table, items in ((meshes, one.fragments), (voxels, one.coarse)):
                ids, data = zip(*items) if items else ((), ())
                table.write_table(
                    pa.table([pa.array(c, t) for c, t in zip((ids, [one.tile] * len(ids), data), blobs.types)], blobs)
                )
            total += sum((len(data) - 4 - 12 * int(np.frombuffer(data, "<u4", 1)[0])) // 12 for _, data in one.fragments)
    return total
