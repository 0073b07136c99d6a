"""Align pairs: pairs of a block reach into the next; `none` makes none; blocks agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store, run_stage
from voxelmill.transform.align import load


def made(tmp_path: Path) -> dict:
    raw, _ = neurites((8, 96, 96))
    return {
        "volume": make_store(tmp_path / "in.ome.zarr", raw, shard=(4, 96, 96)),
        "facts": make_facts(tmp_path / "facts.json", 8),
    }


def test_pairs_reach_over_the_end_of_a_block(tmp_path: Path):
    files = made(tmp_path)
    found = {}
    for block in ("0-1", "0-0", "1-1"):
        assert (
            run_stage("transform.align_pairs", tmp_path / block, **files, block=block, output="pairs.npz", align_neighbours=2)
            == 0
        )
        found[block] = {(p.fixed, p.moving): p for p in load(tmp_path / block / "pairs.npz")}
    assert set(found["0-0"]) == {(z, z + d) for z in range(4) for d in (1, 2)}
    assert set(found["0-0"]) | set(found["1-1"]) == set(found["0-1"])
    for pair, result in (found["0-0"] | found["1-1"]).items():
        assert np.array_equal(result.matrix, found["0-1"][pair].matrix)


def test_no_alignment_no_pairs(tmp_path: Path):
    assert (
        run_stage("transform.align_pairs", tmp_path, **made(tmp_path), block="0-1", output="pairs.npz", alignment="none") == 0
    )
    assert load(tmp_path / "pairs.npz") == []
