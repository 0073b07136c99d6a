"""Join: the files of blocks, linked into one store; nothing is copied, nothing may differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store, run_stage


def blocks_of(tmp_path: Path, shards: tuple[str, ...]) -> list[Path]:
    raw, _ = neurites((8, 64, 64))
    store, facts = make_store(tmp_path / "in.ome.zarr", raw), make_facts(tmp_path / "facts.json", 8)
    for n, block in enumerate(shards, 1):
        assert (
            run_stage(
                "transform.preprocess", tmp_path / f"block{n}", volume=store, facts=facts, block=block, output="x.ome.zarr"
            )
            == 0
        )
    return [tmp_path / f"block{n}/x.ome.zarr" for n in range(1, len(shards) + 1)]


def test_joined_is_what_one_task_would_write(tmp_path: Path):
    parts = blocks_of(tmp_path, ("0-0", "1-1"))
    assert run_stage("transform.join", tmp_path, stores=parts, output="x.ome.zarr") == 0
    (whole,) = blocks_of(tmp_path / "whole", ("0-1",))
    files = {str(p.relative_to(whole)): p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    joined = tmp_path / "x.ome.zarr"
    assert files == {str(p.relative_to(joined)): p.read_bytes() for p in joined.rglob("*") if p.is_file()}
    assert (joined / "0/c/1/0/0").stat().st_ino == (parts[1] / "0/c/1/0/0").stat().st_ino
    listed = json.loads((tmp_path / "x.ome.zarr.manifest.json").read_text())
    assert listed == json.loads(whole.with_name("x.ome.zarr.manifest.json").read_text())
    assert np.array_equal(open_image(joined).read(), open_image(whole).read())


def test_a_block_whose_shard_is_gone_is_refused(tmp_path: Path, capsys):
    parts = blocks_of(tmp_path, ("0-0", "1-1"))
    (parts[1] / "0/c/1/0/0").unlink()
    assert run_stage("transform.join", tmp_path, stores=parts, output="x.ome.zarr") == 65
    assert "missing, though the manifest lists it" in capsys.readouterr().err
    assert not (tmp_path / "x.ome.zarr").exists()


def test_blocks_that_overlap_are_refused(tmp_path: Path, capsys):
    parts = blocks_of(tmp_path, ("0-1", "1-1"))
    array = parts[1] / "0/c/1/0/0"
    array.write_bytes(array.read_bytes()[::-1])
    from voxelmill.core import manifest

    manifest.write(parts[1])
    assert run_stage("transform.join", tmp_path, stores=parts, output="x.ome.zarr") == 65
    assert "must not overlap" in capsys.readouterr().err
