"""Synapses: a dark spot between two neurites is found, once, wherever blocks end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from voxelmill.inference import segment
from voxelmill.postprocess import synapses
from voxelmill.testing.stages import make_store, run_stage


def scene(tmp_path: Path) -> tuple[Path, Path]:
    """Two neurites side by side, one dark spot on the membrane in section 5, darker on the left."""
    labels = np.ones((8, 128, 128), np.uint32)
    labels[:, :, 64:] = 2
    image = np.full((8, 128, 128), 0.8, np.float32)
    yy, xx = np.mgrid[:128, :128]
    image[5] -= 0.7 * np.exp(-((yy - 61) ** 2 + (xx - 62) ** 2) / (2 * 2.5**2)).astype(np.float32)
    return (
        make_store(tmp_path / "i.ome.zarr", np.rint(image * 255).astype(np.uint8)),
        make_store(tmp_path / "l.ome.zarr", labels, label=True),
    )


def find(folder: Path, image: Path, labels: Path, block: str) -> list[dict]:
    files = {"volume": image, "labels": labels, "supervoxels": labels, "candidates": "c.parquet"}
    assert run_stage("postprocess.synapses", folder, **files, block=block, synapses="blobs") == 0
    return pq.read_table(folder / "c.parquet").to_pylist()


def test_the_spot_is_found_with_its_neurites(tmp_path: Path):
    (found,) = find(tmp_path / "all", *scene(tmp_path), "0-7")
    assert (found["z"], found["pre_pt_root_id"], found["post_pt_root_id"]) == (5, 1, 2)
    assert abs(found["y"] - 61) <= 1 and abs(found["x"] - 62) <= 1
    assert 0.3 < found["score"] <= 1
    assert 25 < found["size"] < 60  # 2 pi 2.5^2 = 39
    # Each side's point is its pixel nearest to the spot, and the supervoxel is the one at the point.
    assert (found["pre_y"], found["pre_x"]) == (found["y"], min(found["x"], 63))
    assert (found["post_y"], found["post_x"]) == (found["y"], 64)
    assert (found["pre_pt_supervoxel_id"], found["post_pt_supervoxel_id"]) == (1, 2)


def test_blocks_agree(tmp_path: Path):
    """The spot lies beside the corner where four shards meet: one of them finds it."""
    files = scene(tmp_path)
    parts = [row for n in range(8) for row in find(tmp_path / str(n), *files, f"{n}-{n}")]
    assert parts == find(tmp_path / "all", *files, "0-7")


def test_a_parameter_of_no_method_is_refused(tmp_path: Path, capsys):
    image, labels = scene(tmp_path)
    assert (
        run_stage(
            "postprocess.synapses",
            tmp_path,
            volume=image,
            labels=labels,
            supervoxels=labels,
            block="0-7",
            candidates="c.parquet",
            synapses="guessed",
        )
        == 64
    )
    assert "--synapses 'guessed': expected one of" in capsys.readouterr().err


def dark_middle(cube: np.ndarray) -> float:
    """In place of the network: sure where the middle of a cube is dark."""
    return 4.0 if cube[11:13, 11:13, 11:13].mean() < -2 else -4.0


def density(tmp_path: Path, size: tuple[float, ...] | None = (10.0, 10.0, 10.0)) -> tuple[Path, Path]:
    """A neurite below, two above it; a dark ball inside the one below, at the membrane, where all three are near."""
    labels = np.full((40, 128, 128), 3, np.uint32)
    labels[:, :60, :64], labels[:, :60, 64:] = 1, 2
    z, y, x = np.indices(labels.shape)
    ball = np.exp(-((z - 20) ** 2 + (y - 64) ** 2 + (x - 64) ** 2) / (2 * 2.5**2))
    image = np.rint(200 - 150 * ball).astype(np.uint8)
    how: dict = {"voxel_size": size, "shard": (20, 64, 64), "chunk": (20, 64, 64)}
    return make_store(tmp_path / "i.ome.zarr", image, **how), make_store(tmp_path / "l.ome.zarr", labels, label=True, **how)


def learned(folder: Path, image: Path, labels: Path, block: str, **more: object) -> int:
    files = {"volume": image, "labels": labels, "supervoxels": labels, "candidates": "c.parquet"}
    return run_stage("postprocess.synapses", folder, **files, block=block, synapses="learned", **more)


def test_a_density_has_a_row_a_partner_and_lies_in_the_neurite_before(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(synapses, "network", lambda folder: dark_middle)
    assert learned(tmp_path, *density(tmp_path), "0-7") == 0
    rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
    assert [(r["pre_pt_root_id"], r["post_pt_root_id"]) for r in rows] == [(3, 1), (3, 2)]
    for row, x in zip(rows, (63, 64), strict=True):
        assert (row["z"], row["y"], row["x"]) == (row["pre_z"], row["pre_y"], row["pre_x"]) == (20, 64, 64)
        assert (row["post_z"], row["post_y"], row["post_x"]) == (20, 59, x)
        assert (row["pre_pt_supervoxel_id"], row["post_pt_supervoxel_id"]) == (3, row["post_pt_root_id"])
        assert abs(row["score"] - 0.982) < 1e-3
        assert 80 < row["size"] < 150  # a Gaussian of 2.5 px is darker than half within 2.9 px: 106 voxels


def test_blocks_agree_on_a_density_where_eight_shards_meet(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(synapses, "network", lambda folder: dark_middle)
    files, parts = density(tmp_path), []
    for n in range(8):
        assert learned(tmp_path / str(n), *files, f"{n}-{n}") == 0
        parts += pq.read_table(tmp_path / str(n) / "c.parquet").to_pylist()
    assert learned(tmp_path / "all", *files, "0-7") == 0
    assert len(parts) == 2 and parts == pq.read_table(tmp_path / "all/c.parquet").to_pylist()


def test_a_shard_is_looked_at_tile_by_tile(tmp_path: Path, monkeypatch):
    """No more is read at once than a tile with what is around it; the rows are those of the whole shard, in its order."""
    monkeypatch.setattr(synapses, "network", lambda folder: lambda cube: float(cube[11:13, 11:13, 11:13].mean()))
    grey = np.random.default_rng(0).integers(0, 256, (20, 160, 160), dtype=np.uint8)
    blocks_of = np.arange(1, 401, dtype=np.uint32).reshape(4, 10, 10)
    how: dict = {"voxel_size": (10.0, 10.0, 10.0), "shard": (20, 160, 160), "chunk": (20, 160, 160)}
    image = make_store(tmp_path / "i.ome.zarr", grey, **how)
    labels = make_store(tmp_path / "l.ome.zarr", np.kron(blocks_of, np.ones((5, 16, 16), np.uint32)), label=True, **how)
    spots, sizes = synapses.densities.spots, []
    monkeypatch.setattr(synapses.densities, "spots", lambda seen, scale: sizes.append(seen.shape) or spots(seen, scale))
    monkeypatch.setattr(synapses.densities, "CONTRAST", 1.0)
    for name, tile in (("whole", (64, 512, 512)), ("tiles", (64, 48, 48))):
        monkeypatch.setattr(synapses, "TILE", tile)
        assert learned(tmp_path / name, image, labels, "0-0", synapse_threshold=0.0) == 0
    reach = synapses.densities.reach((10.0, 10.0, 10.0))
    assert len(sizes) == 17 and max(size[1] for size in sizes[1:]) <= 48 + 2 * reach[1]
    assert pq.read_table(tmp_path / "whole/c.parquet").num_rows > 50
    assert (tmp_path / "whole/c.parquet").read_bytes() == (tmp_path / "tiles/c.parquet").read_bytes()


def test_what_is_below_the_threshold_is_none(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(synapses, "network", lambda folder: dark_middle)
    assert learned(tmp_path, *density(tmp_path), "0-7", synapse_threshold=0.99) == 0
    assert pq.read_table(tmp_path / "c.parquet").num_rows == 0


def test_a_density_in_one_neurite_alone_is_counted_and_left_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(synapses, "network", lambda folder: dark_middle)
    image, _ = density(tmp_path)
    how: dict = {"shard": (20, 64, 64), "chunk": (20, 64, 64), "label": True}
    one = make_store(tmp_path / "one.ome.zarr", np.ones((40, 128, 128), np.uint32), (10.0, 10.0, 10.0), **how)
    assert learned(tmp_path, image, one, "0-7") == 0
    assert pq.read_table(tmp_path / "c.parquet").num_rows == 0
    (record,) = tmp_path.glob("*.provenance.json")
    assert json.loads(record.read_text())["quality"]["without_partner"] == 1


def test_the_model_that_comes_along_runs_and_its_record_names_it(tmp_path: Path):
    assert learned(tmp_path, *density(tmp_path), "0-7", synapse_threshold=0) == 0
    (record,) = tmp_path.glob("*.provenance.json")
    card = json.loads((synapses.MODEL / "card.json").read_text())
    assert json.loads(record.read_text())["model_hash"] == card["sha256"]
    assert card["bytes"] <= 1_000_000 and pq.read_table(tmp_path / "c.parquet").num_rows == 2


def test_a_model_of_another_kind_or_with_other_weights_is_refused(tmp_path: Path, capsys):
    files = density(tmp_path)
    assert learned(tmp_path, *files, "0-7", model=segment.MODEL) == 65
    assert "a model of kind neurites" in capsys.readouterr().err
    other = shutil.copytree(synapses.MODEL, tmp_path / "other")
    weights = bytearray((other / "model.onnx").read_bytes())
    weights[-100] ^= 1
    (other / "model.onnx").write_bytes(weights)
    assert learned(tmp_path, *files, "0-7", model=other) == 65
    assert "not the weights that it describes" in capsys.readouterr().err


def test_an_unknown_voxel_size_is_said(tmp_path: Path, capsys):
    assert learned(tmp_path, *density(tmp_path, None), "0-7") == 0
    assert "the voxel size is not known" in capsys.readouterr().err
