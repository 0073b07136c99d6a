"""Surfaces: closed, turned outwards, of the right size; parts of a volume meet exactly."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.postprocess import surface


def ball(radius: float = 12.0, n: int = 32) -> np.ndarray:
    at = np.indices((n, n, n)) - (n - 1) / 2
    return (np.linalg.norm(at, axis=0) <= radius).astype(np.uint32)


def meshed(labels: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    padded = np.pad(labels, 1)
    found = surface.squares(padded, tuple(slice(1, n) for n in padded.shape), (-1, -1, -1))
    return {label: (position, triangles) for label, position, triangles in surface.meshes(found)}


def volume(position: np.ndarray, triangles: np.ndarray) -> float:
    """Signed: positive where triangles are counter-clockwise from outside, in z y x as in any right-handed frame."""
    a, b, c = position[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_a_ball_has_the_volume_and_surface_of_a_ball():
    (position, triangles) = meshed(ball())[1]
    assert volume(position, triangles) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.04)
    assert surface.area(position, triangles) == pytest.approx(4 * np.pi * 12**2, rel=0.05)
    assert position.mean(0) == pytest.approx([15.5] * 3, abs=0.01)


def test_every_edge_is_walked_once_in_either_direction():
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 4, (4, 5, 6)), np.ones((3, 3, 3), int)).astype(np.uint32)
    for _, triangles in meshed(labels).values():
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        there, count = np.unique(edges, axis=0, return_counts=True)
        back, other = np.unique(edges[:, ::-1], axis=0, return_counts=True)
        assert np.array_equal(there, back) and np.array_equal(count, other)


def test_neighbours_share_their_corners():
    labels = np.pad(np.repeat(np.array([1, 2], np.uint32), 6)[None, None].repeat(8, 0).repeat(8, 1), 2)
    found = meshed(labels)
    one, two = ({tuple(p) for p in found[label][0].tolist()} for label in (1, 2))
    assert len(one & two) == 81  # 9 x 9 corners of the face between


def test_parts_that_overlap_by_the_halo_are_the_whole():
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 3, (6, 4, 4)), np.ones((5, 5, 5), int)).astype(np.uint32)
    padded = np.pad(labels, 1)
    cut = 17

    def triangles(values: np.ndarray, inside: slice, begin: int) -> set:
        found = surface.squares(values, (inside, *(slice(1, n) for n in values.shape[1:])), (begin, 0, 0))
        return {
            (label, *map(tuple, corner))
            for label, position, three in surface.meshes(found)
            for corner in position[three].tolist()
        }

    whole = triangles(padded, slice(1, len(padded)), 0)
    low = triangles(padded[: cut + surface.HALO], slice(1, cut), 0)
    first = cut - surface.HALO
    high = triangles(padded[first:], slice(cut - first, len(padded) - first), first)
    assert not low & high and low | high == whole
