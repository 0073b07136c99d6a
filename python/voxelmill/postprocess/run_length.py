"""Expected run length: how far a neurite is followed from a random place on it before an error (Januszewski et al. 2018).

    true skeleton   o---o---o---o---o---o       each edge belongs to the segment that both its ends lie in
    segments        7   7   7   9   9   9       runs: two edges of 7, two of 9; the edge between is in neither
    run length      (2 * 2 + 2 * 2) / 5 = 1.6 edges, where the truth itself has 5

A segment that runs along two true neurites, each for longer than what is a branch of a skeleton at all, is a merger: its
runs count 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.space import Space
from . import teasar

RESOLUTION = 40.0  # nm, of the skeletons of the truth, or the nearest one can come; where no length is known 4 voxels
REACH = 300.0  # nm around a branch that are part of it; where no length is known 0
MOST_VOXELS = 20_000_000  # of all objects, that are held at 20 bytes each: a larger volume is sampled coarser
MOST_OF_ONE = 500_000  # of an object, at 1.2 kB each


class Skeletons(NamedTuple):
    """Of all true neurites; nodes are numbered through."""

    neurite: NDArray[np.int64]  # (n,) of each node
    voxel: NDArray[np.int64]  # (n, 3) z y x, in the object
    edges: NDArray[np.int64]  # (m, 2)
    length: NDArray[np.float64]  # (m,) in the unit of the space


class Runs(NamedTuple):
    """Of each true neurite whose skeleton has an edge, ascending."""

    neurite: NDArray[np.int64]
    length: NDArray[np.float64]  # of its skeleton
    run: NDArray[np.float64]  # expected run length from a place on it

    @property
    def expected(self) -> float:
        """From a place on any skeleton; 0 where there is none."""
        return float(self.length @ self.run / max(self.length.sum(), 1e-12))

    @property
    def longest(self) -> float:
        """The same of the truth itself."""
        return float(self.length @ self.length / max(self.length.sum(), 1e-12))


def step_of(space: Space, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Every how many voxels (z, y, x) the truth is sampled."""
    step = np.array([max(1, round(RESOLUTION / s)) for s in space.scale] if space.known else [4, 4, 4])
    while np.prod(-(-np.array(shape) // step)) > MOST_VOXELS:
        step = 2 * step
    return tuple(step.tolist())


def least_of(space: Space) -> float:
    """How far a segment must run along each of two neurites to be a merger."""
    return REACH if space.known else 0.0


def sampled(labels: NDArray, first: tuple[int, ...], step: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    """(label, (n, 3) place in steps) of every `step`-th voxel of the part (z, y, x) of a volume that begins at `first`."""
    chosen = labels[tuple(slice(-f % s, None, s) for f, s in zip(first, step, strict=True))]
    at = np.argwhere(chosen) + [-(-f // s) for f, s in zip(first, step, strict=True)]
    return chosen[chosen > 0].astype(np.int64), at.astype(np.int32)


def skeletons(
    parts: Iterable[tuple[NDArray, NDArray]], step: tuple[int, ...], space: Space, shape: tuple[int, ...]
) -> Skeletons:
    """Of everything that was `sampled`, part by part, in a volume of this shape."""
    ids, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")
    names, starts = np.unique(ids[order], return_index=True)
    none = np.zeros(0, np.int64)
    made, nodes = [(none, none.reshape(0, 3), none.reshape(0, 2), np.zeros(0))], 0
    for name, voxels in zip(names.tolist(), np.split(places[order], starts[1:])):
        own = np.array(step)
        while len(voxels) > MOST_OF_ONE:
            own, voxels = 2 * own, voxels[(voxels % 2 == 0).all(1)] // 2
        around = tuple((-(-np.array(shape) // own)).tolist())
        size = tuple((own * space.scale).tolist())
        found = teasar.skeleton(voxels.astype(np.int64), size, around, const=least_of(space), smoothed=0)
        at = np.round(found.position / size).astype(np.int64) * own
        a, b = teasar.smooth(found)[found.edges.T]
        made.append((np.full(len(at), name), at, found.edges + nodes, np.linalg.norm(a - b, axis=1)))
        nodes += len(at)
    return Skeletons(*(np.concatenate(c) for c in zip(*made)))


def runs(of: Skeletons, found: NDArray, least: float = 0.0) -> Runs:
    """`found` (n,): the segment at each node, 0 = none. A merger runs along two neurites for more than `least` each."""
    a, b = of.edges.T
    neurites, true = np.unique(of.neurite[a], return_inverse=True)
    length = np.bincount(true, of.length, len(neurites)).astype(float)
    inside = (found[a] == found[b]) & (found[a] > 0)
    segments, segment = np.unique(found[a][inside], return_inverse=True)
    many = max(len(segments), 1)
    pair, place = np.unique(true[inside] * many + segment, return_inverse=True)
    along = np.bincount(place, of.length[inside], len(pair))
    neurites_of = np.bincount(pair[along > least] % many, minlength=many)
    along[neurites_of[pair % many] > 1] = 0
    return Runs(neurites, length, np.bincount(pair // many, along**2, len(neurites)) / np.maximum(length, 1e-12))
