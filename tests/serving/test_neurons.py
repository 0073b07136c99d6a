"""Neurons: rows of all batches with their synapses; what the picture shows of meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from voxelmill.serving import neurons


def test_rows_of_all_batches_in_order_with_their_synapses(tmp_path: Path):
    for n, ids in enumerate(([4, 2], [3])):
        pq.write_table(pa.table({"root_id": pa.array(ids, pa.uint64())}), tmp_path / f"{n}.parquet")
    nodes = {"root_id": pa.array([9, 3, 2], pa.uint64()), "in_degree": [7, 1, 0], "out_degree": [8, 2, 5]}
    pq.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    table = neurons.with_synapses([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "nodes.parquet")
    assert table.to_pydict() == {"root_id": [2, 3, 4], "synapses_in": [0, 1, 0], "synapses_out": [5, 2, 0]}


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
