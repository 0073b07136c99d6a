"""Region graph: faces and affinities counted exactly; tables added up."""

from __future__ import annotations

import numpy as np
from voxelmill.inference import region_graph


def rows(edges: region_graph.Edges) -> dict[tuple[int, ...], tuple[int, int]]:
    return {tuple(p): (t, f) for p, t, f in zip(edges.pairs.tolist(), edges.total.tolist(), edges.faces.tolist())}


def test_faces_along_each_axis():
    labels = np.ones((2, 3, 4), np.uint64)
    labels[1] = 2
    labels[:, :, 3] = 5
    affinity = np.stack([np.full(labels.shape, value, np.uint8) for value in (10, 20, 30)])
    #  1-2: 3 x 3 faces along z; 1-5 and 2-5: 3 faces along x each
    assert rows(region_graph.edges(labels, affinity)) == {(1, 2): (90, 9), (1, 5): (90, 3), (2, 5): (90, 3)}


def test_what_is_no_supervoxel_touches_nothing():
    labels = np.array([[[1, 0, 2]]])
    assert rows(region_graph.edges(labels, np.full((3, 1, 1, 3), 9, np.uint8))) == {}


def test_halves_and_their_seam_are_the_whole():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (6, 7, 8)).astype(np.uint64)
    affinity = rng.integers(0, 256, (3, *labels.shape)).astype(np.uint8)
    whole = region_graph.edges(labels, affinity)
    for axis in range(3):
        one, other = (np.split(a, [3], k) for a, k in ((labels, axis), (affinity, axis + 1)))
        parts = [region_graph.edges(a, b) for a, b in zip(one, other)]
        parts.append(region_graph.between(one[0].take(-1, axis), one[1].take(0, axis), other[1][axis].take(0, axis)))
        assert rows(region_graph.merged(parts)) == rows(whole)


def test_ids_far_apart():
    labels = np.array([[[1, 2**50, 2**50 + 1]]], np.uint64)
    assert rows(region_graph.edges(labels, np.full((3, 1, 1, 3), 9, np.uint8))) == {
        (1, 2**50): (9, 1), (2**50, 2**50 + 1): (9, 1)
    }  # fmt: skip


def test_no_tables():
    assert rows(region_graph.merged([])) == {} and rows(region_graph.merged([region_graph.none()])) == {}
