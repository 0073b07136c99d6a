"""Resampling of mosaic grids: tile by tile, at the size asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from voxelmill.core import device
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, record_of, run_stage


def test_tiles_are_resampled_each_for_itself(tmp_path: Path) -> None:
    raw = np.repeat(np.repeat(np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2), 8, 1), 8, 2).repeat(8, 0)
    grid = make_store(tmp_path / "g.ome.zarr", raw, (5e3, 5e3, 5e3), shard=(8, 8, 8), chunk=(8, 8, 8))
    assert run_stage("transform.resample_mosaic_grid", tmp_path, grid=grid, slice="0", output="o.ome.zarr") == 0
    made = open_image(tmp_path / "o.ome.zarr")
    assert made.layout().chunk == (4, 4, 4) and np.allclose(made.scale, 10_000) and np.allclose(made.origin, 2_500)
    assert np.allclose(made.read(), raw[::2, ::2, ::2])  # no tile bleeds into the next


def test_a_grid_whose_chunks_are_no_tiles_is_refused(tmp_path: Path) -> None:
    grid = make_store(tmp_path / "g.ome.zarr", np.ones((8, 16, 16), np.float32), shard=(4, 8, 8), chunk=(4, 8, 8))
    given = {"grid": grid, "slice": "0", "output": "o.ome.zarr", "strict": True}
    assert run_stage("transform.resample_mosaic_grid", tmp_path, **given) == 65


@pytest.mark.parametrize("use_gpu", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_the_gpu_is_used_where_there_is_one_and_the_record_says_so(tmp_path: Path, monkeypatch, there: bool, use_gpu: bool):
    """CuPy is stood in for by NumPy, which counts what it was given."""
    sent: list[np.ndarray] = []
    stand_in = SimpleNamespace(moveaxis=np.moveaxis, tensordot=np.tensordot, asnumpy=np.asarray)
    stand_in.asarray = lambda values: sent.append(values) or np.asarray(values)
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setattr(device, "gpu_name", lambda: "A GPU" if there else None)
    grid = make_store(tmp_path / "g.ome.zarr", np.ones((8, 16, 16), np.float32), (5e3,) * 3, shard=(8, 8, 8), chunk=(8, 8, 8))
    given = {"grid": grid, "slice": "0", "output": "o.ome.zarr", "use_gpu": use_gpu}
    assert run_stage("transform.resample_mosaic_grid", tmp_path, **given) == 0
    used = there and use_gpu
    assert bool(sent) == used and record_of(tmp_path, "resample_mosaic_grid")["device"] == ("A GPU" if used else "cpu")
