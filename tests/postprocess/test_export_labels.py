"""Export labels: each supervoxel gets its segment; one that is not in the table is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, run_stage


def merge_table(path: Path, pairs: dict[int, int]) -> Path:
    pq.write_table(pa.table({"supervoxel": np.array(list(pairs), np.uint64), "score": np.ones(len(pairs), np.float32),
                             "segment": np.array(list(pairs.values()), np.uint64)}), path)
    return path


def test_supervoxels_become_segments(tmp_path: Path):
    supervoxels = np.zeros((4, 64, 64), np.uint64)
    supervoxels[:, :20], supervoxels[:, 20:40] = 7, 2**40
    store = make_store(tmp_path / "in.ome.zarr", supervoxels)
    assert run_stage("postprocess.export_labels", tmp_path, supervoxels=store, block="0-0", output="out.ome.zarr",
                     segments=merge_table(tmp_path / "m.parquet", {7: 2, 2**40: 1})) == 0
    image = open_image(tmp_path / "out.ome.zarr")
    out = image.read()
    assert image.dtype == np.uint32 and image.scale == (30.0, 8.0, 8.0)
    assert (out[:, :20] == 2).all() and (out[:, 20:40] == 1).all() and not out[:, 40:].any()


def test_ids_that_need_64_bits_get_them(tmp_path: Path):
    store = make_store(tmp_path / "in.ome.zarr", np.full((4, 64, 64), 3, np.uint64))
    assert run_stage("postprocess.export_labels", tmp_path, supervoxels=store, block="0-0", output="out.ome.zarr",
                     segments=merge_table(tmp_path / "m.parquet", {3: 2**33})) == 0
    assert (open_image(tmp_path / "out.ome.zarr").read() == 2**33).all()


def test_a_supervoxel_that_is_not_in_the_table_is_an_error(tmp_path: Path, capsys):
    store = make_store(tmp_path / "in.ome.zarr", np.full((4, 64, 64), 3, np.uint64))
    assert run_stage("postprocess.export_labels", tmp_path, supervoxels=store, block="0-0", output="out.ome.zarr",
                     segments=merge_table(tmp_path / "m.parquet", {4: 1})) == 65
    assert "supervoxel 3 is not in the merge table" in capsys.readouterr().err
