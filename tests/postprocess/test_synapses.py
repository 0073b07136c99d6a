"""Synapses: a dark spot between two neurites is found, once, wherever blocks end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
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
    assert run_stage("postprocess.synapses", folder, **files, block=block) == 0
    return pq.read_table(folder / "c.parquet").to_pylist()


def test_the_spot_is_found_with_its_neurites(tmp_path: Path):
    (found,) = find(tmp_path / "all", *scene(tmp_path), "0-7")
    assert (found["z"], found["pre_pt_root_id"], found["post_pt_root_id"]) == (5, 1, 2)
    assert abs(found["y"] - 61) <= 1 and abs(found["x"] - 62) <= 1
    assert 0.3 < found["score"] <= 1
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
            synapses="learned",
        )
        == 64
    )
    assert "--synapses 'learned': expected one of blobs" in capsys.readouterr().err
