"""An octree of a mesh: closed at every level, nothing across cells or their middles, error within a cube."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.postprocess import octree, surface

SIDE, EDGE = octree.SIDE, 2 * octree.SIDE // 16  # cells of 16 voxels


def meshed(labels: np.ndarray) -> octree.Mesh:
    """The mesh of label 1 on the lattice; a voxel is SIDE / 16, the grid begins two voxels before the first."""
    found = surface.squares(labels, tuple(slice(1, n) for n in labels.shape), (0, 0, 0))
    ((_, position, triangles),) = surface.meshes(found)
    return np.rint((position[:, ::-1] + 2) * SIDE / 16).astype(np.int64), triangles[:, ::-1].astype(np.int64)


@pytest.fixture(scope="module")
def mesh() -> octree.Mesh:
    """A ball and a rod of two voxels through several cells."""
    z, y, x = np.ogrid[:60, :60, :60]
    labels = (z - 30) ** 2 + (y - 28) ** 2 + (x - 25) ** 2 < 14**2
    labels[30:32, 28:30, 2:58] = 1
    return meshed(labels.astype(np.uint8))


def whole(cells: list[tuple[octree.Cell, octree.Mesh]]) -> octree.Mesh:
    """Cells of one level as one mesh, points at one place made one."""
    at = np.concatenate([at + np.array(cell) * SIDE for cell, (at, _) in cells])
    starts = np.cumsum([0, *(len(at) for _, (at, _) in cells)])
    places, number = np.unique(at, axis=0, return_inverse=True)
    return places, number.ravel()[np.concatenate([t + n for (_, (_, t)), n in zip(cells, starts)])]


def is_closed(triangles: np.ndarray) -> bool:
    """Whether each edge is gone along in either direction as often."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there, back = (np.unique(e, axis=0, return_counts=True) for e in (edges, edges[:, ::-1]))
    return all(np.array_equal(a, b) for a, b in zip(there, back))


def volume(mesh: octree.Mesh) -> float:
    a, b, c = mesh[0][mesh[1]].transpose(1, 0, 2).astype(float)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def levels(mesh: octree.Mesh, lods: int) -> list[list[tuple[octree.Cell, octree.Mesh]]]:
    found: list[list[tuple[octree.Cell, octree.Mesh]]] = [[] for _ in range(lods)]
    cells = sorted(octree.cut(mesh), key=lambda one: int(octree.z_order(np.array([one[0]]))[0]))
    for _ in octree.levels(iter(cells), lods, EDGE, lambda lod, cell, one: found[lod].append((cell, one))):
        pass
    return found


def test_cut(mesh: octree.Mesh):
    """Each piece lies in its cell; together they are the same surface, closed."""
    cells = list(octree.cut(mesh))
    assert len(cells) > 10 and [cell for cell, _ in cells] == sorted({cell for cell, _ in cells})
    assert all(at.min() >= 0 and at.max() <= SIDE for _, (at, _) in cells)
    there = whole(cells)
    assert is_closed(there[1])
    assert volume(there) == pytest.approx(volume(mesh), rel=1e-6)
    assert surface.area(*there) == pytest.approx(surface.area(*mesh), rel=1e-6)


def test_two_meshes_that_share_an_edge_are_cut_alike(mesh: octree.Mesh):
    """As those of tiles do, whatever the order of their triangles and points."""
    at, triangles = mesh
    middle = at[triangles].mean(1)[:, 0] < np.median(at[:, 0])
    turned = at[::-1], len(at) - 1 - np.roll(triangles[~middle][::-1], 1, axis=1)
    assert is_closed(whole([*octree.cut((at, triangles[middle])), *octree.cut(turned)])[1])


def test_a_corner_on_a_face_is_not_across_it():
    at = np.array([[SIDE - 9, 0, 0], [SIDE, 5, 0], [SIDE - 9, 9, 0], [SIDE + 9, 0, 3]])
    ((cell, one),) = octree.cut((at[:3], np.array([[0, 1, 2]])))
    assert cell == (0, 0, 0) and len(one[1]) == 1
    cells = dict(octree.cut((at, np.array([[0, 3, 2]]))))
    assert set(cells) == {(0, 0, 0), (1, 0, 0)} and sum(len(t) for _, t in cells.values()) == 3


def test_levels(mesh: octree.Mesh):
    """Closed at every level, coarser each time, no triangle across the middle of a cell, in z-order."""
    found = levels(mesh, 4)
    counts = [sum(len(t) for _, (_, t) in of) for of in found]
    assert counts[0] > 2 * counts[1] > 2 * counts[2] > 10 * counts[3]
    for lod, of in enumerate(found):
        there = whole(of)
        assert is_closed(there[1])
        assert volume(there) * 8**lod == pytest.approx(volume(mesh), rel=[1e-6, 0.05, 0.15, 0.4][lod])
        order = octree.z_order(np.array([cell for cell, _ in of]))
        assert (order[1:] > order[:-1]).all()
        for _, (at, triangles) in of if lod else ():
            corners = at[triangles]
            assert ((corners <= SIDE // 2 + 1).all(1) | (corners >= SIDE // 2 + 1).all(1)).all()
    assert {cell for cell, _ in found[1]} == {tuple(n >> 1 for n in cell) for cell, _ in found[0]}


def test_how_far_points_move(mesh: octree.Mesh):
    """Within their cube; those on faces of a cell not at all."""
    for _, one in octree.cut(mesh):
        at, _ = octree.coarser(one, EDGE)
        cubes = {tuple(c) for c in (one[0] // EDGE).tolist()}
        assert {tuple(c) for c in (at // EDGE).tolist()} <= cubes
        kept = one[0][((one[0] == 0) | (one[0] == SIDE)).any(1)]
        assert {tuple(p) for p in kept.tolist()} <= {tuple(p) for p in at.tolist()}


def test_a_thin_neurite_stays():
    """A rod of two voxels is still one, through all its length, where a cube is eight."""
    labels = np.zeros((12, 12, 60), np.uint8)
    labels[5:7, 5:7, 2:58] = 1
    there = whole(levels(meshed(labels), 4)[3])
    x = there[0][there[1]][..., 0]
    length = np.sort(x.ravel())
    assert is_closed(there[1]) and np.diff(length).max() < SIDE / 16 / 8 * 16  # two cubes, on this level's lattice
    assert volume(there) * 8**3 > 0.25 * volume(meshed(labels))


def test_coarser_levels_keep_volume():
    """A rod five voxels wide, askew: means of points lie inside of what bends, and leave .88 and .46 of it."""
    z, y, x = np.ogrid[-40:40, -40:40, -40:40]
    way = np.array([1, 0.5, 0.25]) / np.linalg.norm([1, 0.5, 0.25])
    at = np.stack(np.broadcast_arrays(x, y, z), -1)
    along = at @ way
    mesh = meshed(((((at - along[..., None] * way) ** 2).sum(-1) < 2.5**2) & (abs(along) < 30)).astype(np.uint8))
    left = [volume(whole(of)) * 8**lod / volume(mesh) for lod, of in enumerate(levels(mesh, 3))]
    assert left[1] > 0.94 and 0.7 < left[2] < 1.05


def test_z_order():
    cells = np.array([(x, y, z) for z in range(4) for y in range(4) for x in range(4)])
    found = cells[np.argsort(octree.z_order(cells))]
    assert found[:9].tolist() == [
        [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1], [2, 0, 0]
    ]  # fmt: skip
    assert octree.z_order(np.array([[2**21 - 1] * 3])) == 2**63 - 1
