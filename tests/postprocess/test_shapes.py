"""Shapes: coarser labels; tiles that steps do not divide cover a volume once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import blocks, levels
from voxelmill.core.space import Space
from voxelmill.core.volume import open_image
from voxelmill.postprocess import shapes
from voxelmill.postprocess.shapes import Parameters, Steps, mode
from voxelmill.testing.stages import make_store


def test_steps_come_as_near_as_whole_voxels_can():
    p = Parameters(mesh_resolution=20, skeleton_resolution=40)
    assert Steps.of(p, Space.zyx((30, 8, 8))) == ((1, 2, 2), (1, 4, 4))
    assert Steps.of(p, Space.zyx((4, 4, 4))) == ((5, 5, 5), (10, 10, 10))
    assert Steps.of(p, Space.zyx(None)) == ((2, 2, 2), (4, 4, 4))


def test_mode_is_what_most_voxels_have():
    rng = np.random.default_rng(2)
    values = rng.integers(0, 4, (6, 7, 9)).astype(np.uint32)
    found = mode(values, (2, 3, 2))
    padded = np.pad(values, [(0, 0), (0, 2), (0, 1)], mode="edge")
    for at in np.ndindex(found.shape):
        box = padded[tuple(slice(i * s, i * s + s) for i, s in zip(at, (2, 3, 2)))]
        count = np.bincount(box.ravel())
        assert found[at] == np.flatnonzero(count == count.max())[-1]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blobs in shards of 8, 24, 32, of which the steps 3 and 6 divide few borders."""
    values = np.kron(np.random.default_rng(4).integers(0, 5, (5, 8, 9)), np.ones((4, 8, 8), int)).astype(np.uint32)[:, :61]
    folder = tmp_path_factory.mktemp("shapes")
    return make_store(folder / "l.ome.zarr", values, (10.0,) * 3, shard=(8, 24, 32), chunk=(4, 8, 8), label=True)


P = Parameters(mesh_resolution=30, skeleton_resolution=60)


def found(labels: Path, size: tuple[int, ...]) -> list[shapes.Found]:
    image = open_image(labels)
    whole = tuple(slice(0, n) for n in image.shape)
    return [shapes.shapes(P, image, tile) for tile in levels.tiles(whole, size)]


def test_tiles_have_every_triangle_and_voxel_once(labels: Path):
    whole, parts = found(labels, (999,) * 3), found(labels, (8, 24, 32))

    def triangles(all_: list[shapes.Found]) -> dict:
        count: dict = {}
        for label, data in (one for tile in all_ for one in tile.fragments):
            position, corners = shapes.from_fragment(data)
            for corner in position[corners].tolist():
                key = (label, *map(tuple, corner))
                count[key] = count.get(key, 0) + 1
        return count

    def voxels(all_: list[shapes.Found]) -> dict:
        count: dict = {}
        for label, data in (one for tile in all_ for one in tile.coarse):
            for at in np.frombuffer(data, "<i4").reshape(-1, 3).tolist():
                count[label, *at] = count.get((label, *at), 0) + 1
        return count

    assert len(parts) == 27 and triangles(parts) == triangles(whole) and voxels(parts) == voxels(whole)
    assert set(voxels(whole).values()) == {1}


def test_sizes_and_boxes(labels: Path):
    values = open_image(labels).read()
    for region, one in zip(blocks.regions(open_image(labels).layout(), "0-26"), found(labels, (8, 24, 32))):
        present = one.sizes["voxels"] > 0
        assert one.sizes["root_id"][present].tolist() == [n for n in np.unique(values[region]) if n]
        for n in np.flatnonzero(present):
            root = one.sizes["root_id"][n]
            there = np.argwhere(values[region] == root) + [s.start for s in region]
            assert one.sizes["voxels"][n] == len(there)
            assert [one.sizes[f"{a}0"][n] for a in "zyx"] == there.min(0).tolist()
            assert [one.sizes[f"{a}1"][n] for a in "zyx"] == (there.max(0) + 1).tolist()
