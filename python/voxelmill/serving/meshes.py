"""Meshes of neurites as Neuroglancer has them: at several levels of detail (`neuroglancer_multilod_draco`), or at one.

    multilod  ROOT.index  cells of an octree that hold something, for each level of detail, along the z-curve
              ROOT        triangles of these cells, one after another, Draco
    legacy    ROOT:0      names of fragments
              ROOT:0:TILE triangles of a tile

All neurites share one grid of cells, so a mesh depends on its neurite's fragments alone.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from ..core.errors import DataError
from ..core.params import Params, param
from ..core.space import Space
from ..postprocess import octree
from ..postprocess.shapes import Shapes, Steps, from_fragment

Mesh = tuple[np.ndarray, np.ndarray]  # positions (n, 3) x y z, triangles (m, 3)
Format = Literal["multilod", "legacy"]
TYPES: dict[str, Format] = {"neuroglancer_multilod_draco": "multilod", "neuroglancer_legacy_mesh": "legacy"}
CELL = 128  # voxels of the mesh across a cell of the finest level
CUBE = 2  # voxels of the level above that become one point
LODS = 3  # at least, but for crumbs: three levels have 1, 1/4, 1/16 of the triangles
IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


class Meshes(Params):
    """How meshes are written."""

    mesh_format: Format = param(
        "multilod", "Meshes for Neuroglancer: at several levels of detail, or at one", more="`legacy`: a file for each tile."
    )


def info(form: Format) -> dict[str, Any]:
    """What a viewer must know of a folder of meshes."""
    (kind,) = (kind for kind, name in TYPES.items() if name == form)
    if form == "legacy":
        return {"@type": kind}
    return {"@type": kind, "vertex_quantization_bits": octree.BITS, "transform": IDENTITY, "lod_scale_multiplier": 1}


def format_of(folder: Path) -> Format:
    """The format of the meshes in a folder. Raises DataError for another than these."""
    path = folder / "info"
    found = json.loads(path.read_text()).get("@type") if path.exists() else "neuroglancer_legacy_mesh"  # as the format has it
    if found not in TYPES:
        raise DataError(f"{path}: @type {found!r}; expected one of {', '.join(TYPES)}")
    return TYPES[found]


class Grid(NamedTuple):
    """Cells of a volume's meshes, in nm, x y z; voxel 0 of a mesh begins within the first."""

    origin: np.ndarray  # (3,) the corner of cell 0
    cell: np.ndarray  # (3,) extent of a cell of the finest level

    @classmethod
    def of(cls, p: Shapes, space: Space) -> Grid:
        level = space.level(Steps.of(p, space).mesh)
        scale = np.array(level.scale[::-1])
        return cls(np.array(level.origin[::-1]) - scale, CELL * scale)  # a corner may lie one voxel before the first centre

    def lattice(self, position: np.ndarray) -> np.ndarray:
        """Positions (n, 3) as steps from the grid's corner."""
        return np.rint((position - self.origin) / self.cell * octree.SIDE).astype(np.int64)


class Pieces:
    """What tiles have of each cell of each root id, kept in a file until a root id is put together."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.places: dict[int, list[tuple[octree.Cell, int, int, int]]] = defaultdict(list)

    def add(self, root: int, mesh: octree.Mesh) -> None:
        for cell, (at, triangles) in octree.cut(mesh):
            self.places[root].append((cell, self.file.tell(), len(at), len(triangles)))
            self.file.write(at.astype("<u2").tobytes() + triangles.astype("<u4").tobytes())

    def cells(self, root: int, first: np.ndarray) -> Iterator[tuple[octree.Cell, octree.Mesh]]:
        """Cells of a root id along the z-curve, counted from `first`."""
        held: dict[int, list[tuple[octree.Cell, int, int, int]]] = defaultdict(list)
        cells = np.array([cell for cell, *_ in self.places[root]]) - first
        for code, place in zip(octree.z_order(cells).tolist(), self.places[root]):
            held[code].append(place)
        for code in sorted(held):
            x, y, z = (np.array(held[code][0][0]) - first).tolist()
            yield (x, y, z), octree.together(self.read(*place) for _, *place in held[code])

    def read(self, start: int, points: int, triangles: int) -> octree.Mesh:
        self.file.seek(start)
        at = np.frombuffer(self.file.read(6 * points), "<u2").reshape(-1, 3)
        return at.astype(np.int64), np.frombuffer(self.file.read(12 * triangles), "<u4").reshape(-1, 3).astype(np.int64)


def write(form: Format, folder: Path, grid: Grid, fragments: Iterable[tuple[int, str, bytes]]) -> None:
    """Meshes of (root id, name of a tile, fragment), in any order of root ids."""
    (write_legacy if form == "legacy" else write_multilod)(folder, grid, fragments)


def write_legacy(folder: Path, grid: Grid, fragments: Iterable[tuple[int, str, bytes]]) -> None:
    """A file for each fragment, and `ROOT:0`, which lists them."""
    names = defaultdict(list)
    for root, tile, data in fragments:
        names[root].append(f"{root}:0:{tile}")
        (folder / names[root][-1]).write_bytes(data)
    for root, listed in names.items():
        (folder / f"{root}:0").write_text(json.dumps({"fragments": listed}))


def write_multilod(folder: Path, grid: Grid, fragments: Iterable[tuple[int, str, bytes]]) -> None:
    """`ROOT` and `ROOT.index`. Memory: what eight cells of each level have of one neurite, its encoded coarser levels, and
    some 150 bytes for each fragment."""
    with tempfile.TemporaryFile(dir=folder) as file:
        pieces = Pieces(file)
        for root, _, data in fragments:
            position, triangles = from_fragment(data)
            pieces.add(root, (grid.lattice(position), triangles.astype(np.int64)))
        for root in pieces.places:
            write_one(folder, grid, pieces, root)


def write_one(folder: Path, grid: Grid, pieces: Pieces, root: int) -> None:
    cells = np.array([cell for cell, *_ in pieces.places[root]])
    first = cells.min(0)
    lods = max(LODS, int((cells.max(0) - first).max()).bit_length() + 1)
    found: list[list[tuple[octree.Cell, int]]] = [[] for _ in range(lods)]
    with (folder / str(root)).open("wb") as file:
        coarser: list[list[bytes]] = [[] for _ in range(lods)]

        def emit(lod: int, cell: octree.Cell, mesh: octree.Mesh) -> None:
            data = encoded(mesh)
            found[lod].append((cell, len(data)))
            if lod:
                coarser[lod].append(data)
            else:
                file.write(data)

        for _ in octree.levels(pieces.cells(root, first), lods, CUBE * octree.SIDE // CELL, emit):
            pass
        while not any(size for _, size in found[-1]) and len(found) > 1:
            found.pop()  # a viewer draws the last level that is there: a crumb is not gone from afar
        for data in coarser:
            file.writelines(data)
    corner = grid.origin + first * grid.cell
    (folder / f"{root}.index").write_bytes(manifest(corner, grid.cell, found))


def encoded(mesh: octree.Mesh) -> bytes:
    """A cell as Draco, positions as whole numbers; nothing where it has no triangles."""
    import DracoPy

    at, triangles = mesh
    return DracoPy.encode(at.astype(np.int32), triangles.astype(np.uint32)) if len(triangles) else b""


def manifest(corner: np.ndarray, cell: np.ndarray, found: list[list[tuple[octree.Cell, int]]]) -> bytes:
    """`ROOT.index`: grid, scale of each level (its voxel), cells and bytes of each."""
    lods = len(found)
    scales = cell.max() / CELL * 2.0 ** np.arange(lods)
    words = [corner.astype("<f4"), np.array(lods, "<u4"), scales.astype("<f4"), np.zeros(3 * lods, "<f4")]
    words += [np.array([len(one) for one in found], "<u4")]
    for one in found:
        words += [np.array([place for place, _ in one], "<u4").T, np.array([size for _, size in one], "<u4")]
    return b"".join(part.tobytes() for part in (cell.astype("<f4"), *words))


class Manifest(NamedTuple):
    """What `ROOT.index` says."""

    cell: np.ndarray  # (3,) nm, x y z
    corner: np.ndarray  # (3,)
    scales: np.ndarray  # (lods,)
    cells: list[np.ndarray]  # (n, 3) of each lod
    sizes: list[list[int]]  # bytes of each


def manifest_of(folder: Path, root: int) -> Manifest:
    """Read `ROOT.index`."""
    data = (folder / f"{root}.index").read_bytes()
    numbers, words = np.frombuffer(data, "<f4"), np.frombuffer(data, "<u4")
    lods = int(words[6])
    counts = words[7 + 4 * lods : 7 + 5 * lods].tolist()
    ends = 7 + 5 * lods + 4 * np.cumsum([0, *counts])
    parts = [words[start : start + 4 * n].reshape(4, n) for start, n in zip(ends, counts)]
    grid = numbers[:3].astype(float), numbers[3:6].astype(float)
    return Manifest(*grid, numbers[7 : 7 + lods], [part[:3].T for part in parts], [part[3].tolist() for part in parts])


def read(folder: Path, root: int, lod: int) -> Mesh:
    """A root id's mesh at a level of detail: positions (n, 3) x y z in nm, triangles (m, 3), cell by cell."""
    import DracoPy

    of = manifest_of(folder, root)
    start = sum(sum(sizes) for sizes in of.sizes[:lod])
    data = (folder / str(root)).read_bytes()
    positions, corners, points = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
    for cell, size in zip(of.cells[lod], of.sizes[lod]):
        if size:
            found = DracoPy.decode(data[start : start + size])
            positions.append(of.corner + of.cell * 2**lod * (cell + found.points / octree.SIDE))
            corners.append(found.faces.astype(np.int64) + points)
            points += len(found.points)
        start += size
    return np.concatenate(positions), np.concatenate(corners)
