"""Skeletons: TEASAR (Sato et al. 2000) of one object, given as a list of its voxels.

    1. how deep each voxel lies (distance to the nearest voxel at the surface)
    2. the root, which is the voxel farthest from any one; distances from it, through the object
    3. paths from the root that keep to the deep voxels
    4. the path to the farthest voxel that is left is a branch; what lies near it is taken away; again until nothing is left

The object is a graph of its voxels (26 neighbours): memory and time go with their number, not with the box around them.
All pieces of an object are done at once; each becomes a tree of its own.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

STEEP, DEEP = 1e5, 4  # how dear a voxel at the surface is, and how fast that falls with depth
SMOOTHED = 3  # rounds along branches: a path through voxels is longer than the line that it stands for


class Skeleton(NamedTuple):
    """Nodes of an object's trees; the parent of a node comes before it."""

    position: np.ndarray  # (n, 3) z y x, unit of `size`
    radius: np.ndarray  # (n,)
    parent: np.ndarray  # (n,) number of the node before, -1 at a root

    @property
    def edges(self) -> np.ndarray:
        """(m, 2): node and parent."""
        child = np.flatnonzero(self.parent >= 0)
        return np.stack([child, self.parent[child]], 1)

    @property
    def degree(self) -> np.ndarray:
        return np.bincount(self.edges.ravel(), minlength=len(self.parent))

    @property
    def length(self) -> float:
        a, b = self.edges.T
        return float(np.linalg.norm(self.position[a] - self.position[b], axis=1).sum())


def skeleton(
    voxels: np.ndarray,
    size: tuple[float, ...],
    shape: tuple[int, ...],
    scale: float = 1.5,
    const: float = 300.0,
    smoothed: int = SMOOTHED,
) -> Skeleton:
    """The skeleton of an object.

    Args:
        voxels: (n, 3) z y x whole numbers, each voxel once.
        size: of a voxel.
        shape: of the volume they are of; its faces are no surface of the object.
        scale, const: what lies within scale * depth + const of a branch belongs to it.
        smoothed: rounds of `smooth`; with 0 nodes lie on voxels.
    """
    from scipy.sparse.csgraph import connected_components, dijkstra
    from scipy.spatial import cKDTree

    voxels = voxels[np.lexsort(voxels.T[::-1])]
    place = voxels * np.asarray(size, float)
    a, b, length, surface = neighbours(voxels, size, shape)
    depth = depths(place, surface, min(size))
    net = graph(a, b, length, len(voxels))
    count, piece = connected_components(net, directed=False)
    first = np.unique(piece, return_index=True)[1]
    far, *_ = dijkstra(net, indices=first, min_only=True, return_predecessors=True)
    roots = last_of(piece, far, count)
    daf, *_ = dijkstra(net, indices=roots, min_only=True, return_predecessors=True)
    deepest = np.full(count, 0.0)
    np.maximum.at(deepest, piece, depth)
    dear = STEEP * (1 - depth / (1.01 * deepest[piece])) ** DEEP
    net.data *= 1 + (np.repeat(dear, np.diff(net.indptr)) + dear[net.indices]) / 2
    _, before, _ = dijkstra(net, indices=roots, min_only=True, return_predecessors=True)
    nodes, parent = branches(before, daf, roots, cKDTree(place), place, scale * depth + const)
    found = Skeleton(place[nodes], depth[nodes], parent)
    return found._replace(position=smooth(found, smoothed))


def neighbours(voxels: np.ndarray, size: tuple[float, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Pairs of voxels that touch, how far apart they are, and which voxels have a face that touches none of the object."""
    wide = np.asarray(shape) + 2
    weight = np.array([wide[1] * wide[2], wide[2], 1], np.int64)
    key = (voxels + 1) @ weight  # ascending, as voxels are
    faces, lost = np.zeros(len(key), np.int8), np.zeros(len(key), np.int8)
    pairs: list[tuple[np.ndarray, ...]] = []  # of int32: an object has fewer voxels
    for step in itertools.product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0):
            continue
        wanted = key + np.array(step) @ weight
        at = np.searchsorted(key, wanted)
        hit = np.flatnonzero((at < len(key)) & (key[np.minimum(at, len(key) - 1)] == wanted))
        length = np.full(len(hit), np.linalg.norm(np.multiply(step, size)))
        pairs.append((hit.astype(np.int32), at[hit].astype(np.int32), length))
        if sum(step) == 1 and min(step) == 0:
            faces[hit] += 1
            faces[at[hit]] += 1
            axis = step.index(1)
            lost += (voxels[:, axis] == 0).astype(np.int8) + (voxels[:, axis] == shape[axis] - 1)
    a, b, lengths = (np.concatenate(column) for column in zip(*pairs))
    surface = faces + lost < 6
    return a, b, lengths, surface if surface.any() else faces < 6


def depths(place: np.ndarray, surface: np.ndarray, voxel: float) -> np.ndarray:
    """Distance of each place from the surface: to the middle of the nearest voxel that lies there, and half of one."""
    from scipy.spatial import cKDTree

    depth = np.full(len(place), voxel / 2)
    if not surface.all():
        depth[~surface] += cKDTree(place[surface]).query(place[~surface])[0]
    return depth


def graph(a: np.ndarray, b: np.ndarray, length: np.ndarray, n: int) -> Any:
    """Of n voxels, with both directions of each pair."""
    from scipy.sparse import coo_array

    half = coo_array((length, (a, b)), (n, n)).tocsr()
    return half + half.T.tocsr()


def last_of(piece: np.ndarray, value: np.ndarray, count: int) -> np.ndarray:
    """Of each piece the place of the largest value; of equals the first."""
    order = np.lexsort((-np.arange(len(value)), value, piece))
    return order[np.searchsorted(piece[order], np.arange(count), side="right") - 1]


def branches(before, daf, roots, tree, place, reach) -> tuple[np.ndarray, np.ndarray]:
    """Voxels that are nodes, and the number of each one's parent: roots, then branch by branch, outwards."""
    number = np.full(len(daf), -1)
    number[roots] = np.arange(len(roots))
    nodes, parent, left = roots.tolist(), [-1] * len(roots), np.ones(len(daf), bool)
    for root in roots:
        left[tree.query_ball_point(place[root], reach[root])] = False
    for tip in np.argsort(-daf, kind="stable"):
        if not left[tip]:
            continue
        path, at = [], int(tip)
        while number[at] < 0:
            path.append(at)
            at = int(before[at])
        for voxel in reversed(path):
            number[voxel] = len(nodes)
            nodes.append(voxel)
            parent.append(int(number[at]))
            at = voxel
        left[tip] = False
        for voxel in path:  # one by one: what lies around all of them would be many times the object
            left[tree.query_ball_point(place[voxel], reach[voxel])] = False
    return np.array(nodes), np.array(parent)


def smooth(found: Skeleton, rounds: int = SMOOTHED) -> np.ndarray:
    """Positions with the nodes along branches moved to the mean of themselves and both neighbours; ends and forks stay."""
    edges, inner = found.edges, found.degree == 2
    position = found.position.copy()
    for _ in range(rounds):
        total = position.copy()
        np.add.at(total, edges[:, 0], position[edges[:, 1]])
        np.add.at(total, edges[:, 1], position[edges[:, 0]])
        position[inner] = total[inner] / 3
    return position
