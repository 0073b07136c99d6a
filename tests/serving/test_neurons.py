"""Neurons: rows of all batches with their synapses; what the picture shows of meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voxelmill.serving import neurons


def test_rows_of_all_batches_in_order_with_their_synapses(tmp_path: Path):
    for n, ids in enumerate(([4, 2], [3])):
        pq.write_table(pa.table({"root_id": pa.array(ids, pa.uint64())}), tmp_path / f"{n}.parquet")
    nodes = {"root_id": pa.array([9, 3, 2], pa.uint64()), "in_degree": [7, 1, 0], "out_degree": [8, 2, 5]}
    pq.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    parts = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    assert neurons.write_neurons(tmp_path / "neurons", parts, tmp_path / "nodes.parquet") == 3
    assert pq.read_table(tmp_path / "neurons.parquet").to_pydict() == {
        "root_id": [2, 3, 4],
        "synapses_in": [0, 1, 0],
        "synapses_out": [5, 2, 0],
    }


def plate(z: float) -> neurons.Mesh:
    corners = np.array([[0, 0, z], [100, 0, z], [100, 100, z], [0, 100, z]], np.float32)
    return corners, np.array([[2, 1, 0], [3, 2, 0]])


def test_what_is_above_hides_what_is_below():
    """z points down, and the picture is seen from above: not mirrored, for right, down and away are right-handed."""
    assert np.allclose(neurons.VIEW @ neurons.VIEW.T, np.eye(3))
    assert np.allclose(np.cross(neurons.VIEW[0], neurons.VIEW[1]), -neurons.VIEW[2])
    colours = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    for meshes in ([plate(0), plate(5)], [plate(5), plate(0)]):
        above = int(meshes[0][0][0, 2] == 5)  # the number of the plate at z = 0
        _, picture = neurons.rendered(meshes, colours, 100)
        height, width = picture.shape[:2]
        middle = picture[height // 2, width // 2]
        assert middle[3] == 255 and middle[2 * above] > 80 and middle[2 - 2 * above] == 0


def test_vertices_that_fragments_share_become_one():
    position, triangles = neurons.merged([plate(0), (plate(0)[0] + np.float32([100, 0, 0]), plate(0)[1])])
    assert len(position) == 6 and len(triangles) == 4


def test_the_largest_of_all_batches_come_first(tmp_path: Path):
    from voxelmill.postprocess.shapes import as_fragment

    data = as_fragment(plate(0)[0][:, ::-1], plate(0)[1])
    for n in range(2):
        rows = {"root_id": pa.array(range(n, 20, 2), pa.uint64()), "voxels": list(range(n, 20, 2)), "data": [data] * 10}
        pq.write_table(pa.table(rows), tmp_path / f"{n}.parquet")
    found = neurons.largest_of([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert [root for root, _ in found] == list(range(19, 9, -1))


def ball(radius: int) -> neurons.Mesh:
    from skimage.measure import marching_cubes

    z, y, x = np.ogrid[-radius - 1 : radius + 2, -radius - 1 : radius + 2, -radius - 1 : radius + 2]
    vertices, triangles, *_ = marching_cubes(z**2 + y**2 + x**2 < radius**2, 0.5)
    return vertices[:, ::-1].astype(np.float32), triangles[:, ::-1]


def outward(mesh: neurons.Mesh) -> np.ndarray:
    """Whether triangles of a ball look away from its middle."""
    a, b, c = mesh[0][mesh[1]].transpose(1, 0, 2)
    return (np.cross(b - a, c - a) * (a - mesh[0].mean(0))).sum(1) > 0


def test_a_picture_holds_so_many_triangles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Meshes of any size: coarser where there would be more, and still where they were, with the outer side outside."""
    from voxelmill.postprocess.shapes import as_fragment

    mesh = ball(20)
    data = as_fragment(mesh[0][:, ::-1], mesh[1])
    pq.write_table(
        pa.table({"root_id": pa.array([7] * 2, pa.uint64()), "voxels": [9] * 2, "data": [data] * 2}), tmp_path / "0"
    )
    ((_, fine),) = neurons.largest_of([tmp_path / "0"])
    monkeypatch.setattr(neurons, "MOST_TRIANGLES", len(mesh[1]) // 3)
    ((_, coarse),) = neurons.largest_of([tmp_path / "0"])
    assert 200 < len(coarse[1]) <= len(mesh[1]) // 3 < len(fine[1])
    assert np.allclose(coarse[0].min(0), fine[0].min(0), atol=5) and np.allclose(coarse[0].max(0), fine[0].max(0), atol=5)
    assert outward(coarse).all() and outward(fine).all()
