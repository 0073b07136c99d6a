"""Simulated misalignment: a dot moves by the recorded vector, whatever the blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, run_stage


def dots(depth: int = 8) -> np.ndarray:
    """One soft dot at (y, x) = (30, 40) in every section."""
    yy, xx = np.mgrid[:64, :96]
    one = 200 * np.exp(-((yy - 30) ** 2 + (xx - 40) ** 2) / 18)
    return np.repeat(one[None], depth, 0).astype(np.uint8)


def centre(section: np.ndarray) -> np.ndarray:
    weight = section.astype(float)
    return np.array([(weight.sum(1) * np.arange(64)).sum(), (weight.sum(0) * np.arange(96)).sum()]) / weight.sum()


def test_a_dot_moves_by_the_recorded_vector(tmp_path: Path):
    store = make_store(tmp_path / "in.ome.zarr", dots(), origin=(90, -16, 24))
    assert (
        run_stage(
            "transform.simulate_misalignment",
            tmp_path / "a",
            volume=store,
            block="0-3",
            output="out.ome.zarr",
            jitter="jitter.csv",
            jitter_px=2,
            seed=3,
        )
        == 0
    )
    assert open_image(tmp_path / "a/out.ome.zarr").space == open_image(store).space
    moved = open_image(tmp_path / "a/out.ome.zarr").read()
    recorded = np.genfromtxt(tmp_path / "a/jitter.csv", delimiter=",", names=True)
    for z in range(8):
        found = centre(moved[z]) - centre(dots()[z])
        assert np.allclose(found, [recorded["dy"][z], recorded["dx"][z]], atol=0.05)


def test_blocks_agree(tmp_path: Path):
    store = make_store(tmp_path / "in.ome.zarr", dots())
    for name, block in (("whole", "0-3"), ("one", "0-0"), ("rest", "1-3")):
        assert (
            run_stage(
                "transform.simulate_misalignment",
                tmp_path / name,
                volume=store,
                block=block,
                output="out.ome.zarr",
                jitter="jitter.csv",
            )
            == 0
        )
    whole = {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in tmp_path.glob("whole/out.ome.zarr/0/c/*/*/*")}
    parts = {
        p.relative_to(tmp_path / n): p.read_bytes()
        for n in ("one", "rest")
        for p in (tmp_path / n).glob("out.ome.zarr/0/c/*/*/*")
    }
    assert whole == parts and len(whole) == 4
