"""Octree of a mesh: its triangles cut into cells, and made coarser cell by cell without gaps between cells.

    whole mesh --cut--> cells of lod 0 --coarser, eight side by side--> lod 1 --...--> lod n

Positions are whole numbers on a lattice that has SIDE steps across a cell of any lod. Neighbours share the points of the face
between them, and these stay where they are while a cell is made coarser. A cell of lod n + 1 is eight of lod n side by side,
so no triangle crosses its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import numpy as np

BITS = 16
SIDE = 2**BITS - 1  # steps across a cell
STIFF = 0.03  # how firmly a point is held where planes leave it free, as a share of how firmly these hold it
TORN = 0.8  # length of the mean normal of a cluster below which sheets in it lie back to back

Mesh = tuple[np.ndarray, np.ndarray]  # positions (n, 3) int64 x y z, triangles (m, 3) int64
Cell = tuple[int, int, int]


def cut(mesh: Mesh) -> Iterator[tuple[Cell, Mesh]]:
    """The cells that a mesh of lod 0 lies in, and what of it lies in each, counted from the cell's corner.

    Positions are not negative, triangles smaller than a cell. Where an edge crosses a face goes by the edge alone, so
    triangles that share it stay joined, also those of another mesh."""
    for axis in range(3):
        mesh = split(mesh, axis)
    at, triangles = mesh
    low = (at // SIDE)[triangles]
    x, y, z = np.minimum(np.minimum(low[:, 0], low[:, 1]), low[:, 2]).T
    cells, of = np.unique(x << 42 | y << 21 | z, return_inverse=True)
    for n, code in enumerate(cells.tolist()):
        cell = code >> 42, code >> 21 & 0x1FFFFF, code & 0x1FFFFF
        own, corners = used(at, triangles[of == n])
        yield cell, (own - np.array(cell) * SIDE, corners)


def split(mesh: Mesh, axis: int) -> Mesh:
    """A mesh whose triangles do not cross faces of cells across an axis. A triangle that does has one corner by itself:
    it becomes a smaller one there, and two on the other side."""
    at, triangles = mesh
    layer = (at[:, axis] // SIDE)[triangles]
    apart = np.flatnonzero((layer[:, 0] != layer[:, 1]) | (layer[:, 0] != layer[:, 2]))
    height = at[triangles[apart], axis]
    face = (height.max(1) - 1) // SIDE * SIDE  # not one that a corner touches from below
    upper = height >= face[:, None]
    crossing = ~upper.all(1)
    if not crossing.any():
        return mesh
    apart, upper, face = apart[crossing], upper[crossing], face[crossing, None]
    alone = (upper == (upper.sum(1) == 1)[:, None]).argmax(1)
    a, b, c = np.take_along_axis(triangles[apart], (alone[:, None] + np.arange(3)) % 3, 1).T
    p, q = len(at) + np.arange(2 * len(a)).reshape(2, -1)
    points = []
    for other in (b, c):
        below = at[a, axis, None] < face
        low, high = np.where(below, at[a], at[other]), np.where(below, at[other], at[a])
        rise = (high - low)[:, axis, None]
        points.append(low + (2 * (high - low) * (face - low[:, axis, None]) + rise) // (2 * rise))
    made = np.concatenate([np.stack(t, 1) for t in ((a, p, q), (p, b, c), (p, c, q))])
    return np.concatenate([at, *points]), np.concatenate([np.delete(triangles, apart, 0), made])


def together(meshes: Iterable[Mesh]) -> Mesh:
    """Meshes of one cell as one: points at one place are one, triangles that have become lines are left out."""
    parts = list(meshes)
    starts = np.cumsum([0, *(len(at) for at, _ in parts)])
    x, y, z = np.concatenate([at for at, _ in parts]).T
    places, number = np.unique(x << 2 * BITS | y << BITS | z, return_inverse=True)
    triangles = number[np.concatenate([triangles + start for (_, triangles), start in zip(parts, starts)])]
    at = np.stack([places >> 2 * BITS, places >> BITS & SIDE, places & SIDE], 1)
    return used(at, triangles[areal(triangles)])


def used(at: np.ndarray, triangles: np.ndarray) -> Mesh:
    """These triangles and the points that they have."""
    there = np.zeros(len(at), bool)
    there[triangles] = True
    return at[there], (np.cumsum(there) - 1)[triangles]


def areal(triangles: np.ndarray) -> np.ndarray:
    """Which have three corners."""
    a, b, c = triangles.T
    return (a != b) & (b != c) & (c != a)


def coarser(mesh: Mesh, edge: int) -> Mesh:
    """A cell's mesh whose points in one cube of `edge` steps are one (J. Rossignac and P. Borrel, 1993), which lies where
    it is nearest to the planes of their triangles (P. Lindstrom, 2000): their mean lies inside of what bends.

    Points on the cell's faces stay. Sheets that lie back to back in a cube, as those of a thin neurite, stay apart: there
    points are one only where their normals point along the same of the six directions. No point moves out of its cube."""
    at, triangles = mesh
    if not len(triangles):
        return mesh
    x, y, z = (at // edge).T
    side = SIDE // edge + 1
    cube, count = dense((x * side + y) * side + z)
    across = crosses(at, triangles)
    normal = normals(across, triangles, len(at))
    mean = np.stack([np.bincount(cube, along) for along in normal.T], 1) / count[:, None]
    torn = np.linalg.norm(mean, axis=1)[cube] < TORN
    along = np.abs(normal).argmax(1)
    facing = 1 + 2 * along + (normal[np.arange(len(at)), along] > 0)
    fixed = np.flatnonzero(((at == 0) | (at == SIDE)).any(1))
    key = cube * 7 + np.where(torn, facing, 0)
    key[fixed] = 7 * len(count) + np.arange(len(fixed))
    place, count = dense(key)
    centres = np.stack([np.bincount(place, along).astype(np.int64) // count for along in at.T], 1)
    corners = place[triangles]
    nearest = np.rint(centres + to_planes(at, triangles, across, corners, centres)).astype(np.int64)
    low = centres // edge * edge
    moved = np.clip(nearest, np.maximum(low, 1), np.minimum(low + edge, SIDE) - 1)  # within the cube, off the faces
    moved[place[fixed]] = at[fixed]
    return moved, corners[areal(corners)]


def to_planes(
    at: np.ndarray, triangles: np.ndarray, across: np.ndarray, places: np.ndarray, centres: np.ndarray
) -> np.ndarray:
    """(n, 3) from the centre of each place to the point nearest to the planes of the triangles (m, 3) that have a corner
    there, by their area; STIFF holds it at the centre where they leave it free, as along a plane. across: their `crosses`."""
    area = np.sqrt(np.einsum("ij,ij->i", across, across))
    unit = across / np.maximum(area, 1e-9)[:, None]
    height = np.einsum("ij,ij->i", unit, at[triangles[:, 0]])
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    planes = np.stack([across[:, i] * unit[:, j] for i, j in pairs] + [along * height for along in across.T], 1)
    xx, yy, zz, xy, xz, yz, rx, ry, rz = gathered(places, planes, len(centres)).T
    x, y, z = centres.T
    r = rx - xx * x - xy * y - xz * z, ry - xy * x - yy * y - yz * z, rz - xz * x - yz * y - zz * z
    held = STIFF * (xx + yy + zz) + 1e-9
    xx, yy, zz = xx + held, yy + held, zz + held
    # inverse of a symmetric matrix by its cofactors: the same bits everywhere, which no library's solver promises
    ii, ij, ik, jj, jk, kk = (
        yy * zz - yz**2,
        xz * yz - xy * zz,
        xy * yz - xz * yy,
        xx * zz - xz**2,
        xy * xz - xx * yz,
        xx * yy - xy**2,
    )
    step = ii * r[0] + ij * r[1] + ik * r[2], ij * r[0] + jj * r[1] + jk * r[2], ik * r[0] + jk * r[1] + kk * r[2]
    return np.stack(step, 1) / (xx * ii + xy * ij + xz * ik)[:, None]


def dense(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys numbered in their order, without gaps, and how often each is there."""
    count = np.bincount(keys)
    return (np.cumsum(count > 0) - 1)[keys], count[count > 0]


def crosses(at: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(m, 3) across each triangle, twice its area long."""
    x, y, z = at.T.astype(float)
    corners = triangles.T
    (ux, uy, uz), (vx, vy, vz) = ([w[corners[k]] - w[corners[0]] for w in (x, y, z)] for k in (1, 2))
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)


def normals(across: np.ndarray, triangles: np.ndarray, points: int) -> np.ndarray:
    """(n, 3) of length 1, of the triangles around each point, by their area; 0 where these cancel out."""
    of = gathered(triangles, across, points)
    return of / np.maximum(np.sqrt(np.einsum("ij,ij->i", of, of)), 1e-9)[:, None]


def gathered(corners: np.ndarray, values: np.ndarray, places: int) -> np.ndarray:
    """(places, k): at each place the sum of the values (m, k) of triangles, once for each of their corners (m, 3) there."""
    from scipy.sparse import csc_matrix

    ends = np.arange(0, corners.size + 1, 3)
    return csc_matrix((np.ones(corners.size), corners.ravel(), ends), (places, len(values))) @ values


def levels(
    cells: Iterable[tuple[Cell, Mesh]], lods: int, edge: int, emit: Callable[[int, Cell, Mesh], None]
) -> Iterator[tuple[Cell, Mesh]]:
    """Pass each cell of lods 0 to `lods` - 1 to `emit`, in z-order within a lod; yields those of the last.

    cells: of lod 0, in z-order. At a time the children of one cell are held for each lod, whatever the mesh's size."""
    if lods == 1:
        for cell, mesh in cells:
            emit(0, cell, mesh)
            yield cell, mesh
        return
    below = levels(cells, lods - 1, edge, emit)
    for (x, y, z), children in groupby(below, key=lambda one: (one[0][0] >> 1, one[0][1] >> 1, one[0][2] >> 1)):
        mesh = together(half(coarser(one, edge), cell) for cell, one in children)
        emit(lods - 1, (x, y, z), mesh)
        yield (x, y, z), mesh


def half(mesh: Mesh, cell: Cell) -> Mesh:
    """A cell's mesh on the lattice of the cell twice as large around it: its faces lie on that one's or in its middle."""
    at, triangles = mesh
    return (at + [(n & 1) * SIDE for n in cell] + 1) // 2, triangles


def z_order(cells: np.ndarray) -> np.ndarray:
    """(n,) uint64: the place of cells (n, 3) x y z, below 2^21 each, along the z-curve; x changes fastest."""
    found = np.zeros(len(cells), np.uint64)
    for bit in range(21):
        for axis in range(3):
            found |= (cells[:, axis].astype(np.uint64) >> np.uint64(bit) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return found
