"""Align pairs: pairs of a block reach into the next; `none` makes none; blocks agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import Image
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store, run_stage
from voxelmill.transform import align_pairs, bandpass
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


def test_no_more_of_the_sections_is_held_than_said(tmp_path: Path, monkeypatch):
    """Sections too large to be held are read some rows at a time; what is found is the same."""
    raw = np.tile(neurites((8, 96, 96))[0], (1, 8, 2))
    files = {
        "volume": make_store(tmp_path / "in.ome.zarr", raw, shard=(4, 96, 96)),
        "facts": make_facts(tmp_path / "f.json", 8),
    }
    strips = [slice(y, y + 96) for y in range(0, 768, 96)]
    monkeypatch.setattr(bandpass.Reduced, "strips", staticmethod(lambda *_: strips))
    found, most = {}, []
    read = Image.read
    monkeypatch.setattr(Image, "read", lambda self, at: most.append(read(self, at).nbytes) or read(self, at))
    for held in (align_pairs.MOST_BYTES, 2e5):
        monkeypatch.setattr(align_pairs, "MOST_BYTES", held)
        most.clear()
        arguments = {"block": "0-31", "output": "pairs.npz", "align_max_size": 256}
        assert run_stage("transform.align_pairs", tmp_path / str(held), **files, **arguments) == 0
        found[held] = load(tmp_path / str(held) / "pairs.npz")
        assert max(most) <= held
    for one, other in zip(*found.values(), strict=True):
        assert np.array_equal(one.matrix, other.matrix) and one.correlation == other.correlation
