"""Export labels: each supervoxel gets its segment; one that is not in the table is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from voxelmill.core.volume import open_image
from voxelmill.inference import section_linking
from voxelmill.postprocess import export_labels
from voxelmill.testing.stages import make_store, record_of, run_stage


def components(path: Path, pairs: dict[int, int]) -> Path:
    found = section_linking.Components(
        np.array(list(pairs), np.uint64), np.array(list(pairs.values())), np.full(len(pairs), 0.5, np.float32)
    )
    section_linking.write_components(path, [found])
    return path


def joined(
    path: Path,
    first: int = 1,
    merged: dict[int, int] | None = None,
    scores: dict[int, float] | None = None,
    segments: int = 9,
) -> Path:
    merged, scores = merged or {}, scores or {}
    section_linking.save(
        path,
        section_linking.Joined(
            first,
            np.array(list(merged), np.int64),
            np.array(list(merged.values()), np.uint64),
            np.array(list(scores), np.uint64),
            np.array(list(scores.values()), np.float32),
            segments,
        ),
    )
    return path


def export(folder: Path, store: Path, **given) -> int:
    return run_stage("postprocess.export_labels", folder, supervoxels=store, output="out.ome.zarr", merge="merge", **given)


def test_a_shard_is_looked_up_tile_by_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With 64-bit numbers only a tile is held; the volume is the same."""
    supervoxels = np.arange(1, 4 * 64 * 64 // 16 + 1, dtype=np.uint64).repeat(16).reshape(4, 64, 64)
    store = make_store(tmp_path / "in.ome.zarr", supervoxels)
    table = components(tmp_path / "c.parquet", {n: n // 3 for n in range(1, 1025)})
    of, sizes = section_linking.remap, []
    monkeypatch.setattr(section_linking, "remap", lambda labels, table: sizes.append(labels.size) or of(labels, table))
    monkeypatch.setattr(export_labels, "TILE", (4, 24, 40))
    assert export(tmp_path, store, block="0-0", components=table) == 0
    assert len(sizes) == 6 and max(sizes) == 4 * 24 * 40
    assert np.array_equal(open_image(tmp_path / "out.ome.zarr").read(), supervoxels // 3 + 1)


def test_supervoxels_become_segments(tmp_path: Path):
    supervoxels = np.zeros((4, 64, 64), np.uint64)
    supervoxels[:, :20], supervoxels[:, 20:40] = 7, 2**22
    store = make_store(tmp_path / "in.ome.zarr", supervoxels)
    assert export(tmp_path, store, block="0-0", components=components(tmp_path / "c.parquet", {7: 0, 2**22: 1})) == 0
    image = open_image(tmp_path / "out.ome.zarr")
    out = image.read()
    assert image.dtype == np.uint32 and image.scale == (30.0, 8.0, 8.0)
    assert (out[:, :20] == 1).all() and (out[:, 20:40] == 2).all() and not out[:, 40:].any()
    assert pq.read_table(tmp_path / "merge/z0000000.parquet").to_pydict() == {
        "supervoxel": [7, 2**22],
        "root_id": [1, 2],
        "score": [0.5, 0.5],
    }


def test_the_numbers_of_a_batch_follow_those_of_the_others(tmp_path: Path):
    """Component 0 goes on segment 3 of an earlier batch, 1 begins here and is the volume's 5th."""
    store = make_store(tmp_path / "in.ome.zarr", np.array([7, 8], np.uint64).repeat(2048).reshape(1, 64, 64))
    others = joined(tmp_path / "j.npz", 5, {0: 3}, {7: 0.75, 8: 0.25})
    assert (
        export(tmp_path, store, block="0-0", components=components(tmp_path / "c.parquet", {7: 0, 8: 1}), joined=others) == 0
    )
    assert set(np.unique(open_image(tmp_path / "out.ome.zarr").read())) == {3, 5}
    assert pq.read_table(tmp_path / "merge").to_pydict() == {"supervoxel": [7, 8], "root_id": [3, 5], "score": [0.75, 0.5]}


def test_a_part_of_the_table_for_each_layer_of_shards(tmp_path: Path):
    supervoxels = (np.arange(8, dtype=np.uint64)[:, None, None] << np.uint64(21)) + np.ones((8, 64, 64), np.uint64)
    store = make_store(tmp_path / "in.ome.zarr", supervoxels, shard=(4, 64, 64))
    table = components(tmp_path / "c.parquet", {(z << 21) + 1: z for z in range(8)})
    for folder, blocks in (("one", ["0-1"]), ("two", ["0-0", "1-1"])):
        for block in blocks:
            assert export(tmp_path / folder / block, store, block=block, components=table) == 0
    one, two = (sorted((p.name, p.read_bytes()) for p in (tmp_path / n).glob("*/merge/*.parquet")) for n in ("one", "two"))
    assert [name for name, _ in one] == ["z0000000.parquet", "z0000004.parquet"] and one == two


def test_ids_that_need_64_bits_get_them(tmp_path: Path):
    """All blocks get the same type: that of the volume's largest segment, here in another batch."""
    store = make_store(tmp_path / "in.ome.zarr", np.full((4, 64, 64), 3, np.uint64))
    assert (
        export(
            tmp_path,
            store,
            block="0-0",
            components=components(tmp_path / "c.parquet", {3: 0}),
            joined=joined(tmp_path / "j.npz", segments=2**33),
        )
        == 0
    )
    assert open_image(tmp_path / "out.ome.zarr").dtype == np.uint64


def test_a_supervoxel_that_is_not_in_the_table_is_an_error(tmp_path: Path, capsys):
    store = make_store(tmp_path / "in.ome.zarr", np.full((4, 64, 64), 3, np.uint64))
    assert export(tmp_path, store, block="0-0", components=components(tmp_path / "c.parquet", {4: 0})) == 65
    assert "supervoxel 3 is not in the merge table" in capsys.readouterr().err


def test_a_task_reads_the_rows_of_its_layers(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(section_linking, "ROW_GROUP", 2)
    supervoxels = (np.arange(16, dtype=np.uint64)[:, None, None] << np.uint64(21)) + np.ones((16, 64, 64), np.uint64)
    store = make_store(tmp_path / "in.ome.zarr", supervoxels, shard=(4, 64, 64))
    table = components(tmp_path / "c.parquet", {(z << 21) + 1: z for z in range(16)})
    for block, z, rows in (("0-0", 0, 4), ("2-3", 8, 8)):
        assert export(tmp_path / block, store, block=block, components=table) == 0
        assert record_of(tmp_path / block, "export_labels")["quality"] == {"segments": 16, "rows_read": rows}
        out = open_image(tmp_path / block / "out.ome.zarr").read(slice(z, z + rows))
        assert (out == np.arange(z + 1, z + rows + 1)[:, None, None]).all()


def test_an_empty_volume_has_an_empty_table(tmp_path: Path):
    store = make_store(tmp_path / "in.ome.zarr", np.zeros((4, 64, 64), np.uint64))
    assert export(tmp_path, store, block="0-0", components=components(tmp_path / "c.parquet", {})) == 0
    assert not open_image(tmp_path / "out.ome.zarr").read().any()
    assert pq.read_table(tmp_path / "merge").num_rows == 0
