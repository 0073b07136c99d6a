"""Bring to common space: signs and axes against what a stage says; not a value is changed or lost."""

from __future__ import annotations

import numpy as np
from voxelmill.core import shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import STEP, slice_store, texture
from voxelmill.testing.stages import record_of, run_stage


def plan_stage(folder, stores, table):
    shifts.write(folder / "s.csv", table, (STEP, STEP))
    slice_config.write(folder / "c.csv", slice_config.of(stores))
    out = {
        "common_space": "common_space.json",
        "offsets": "common_space.csv",
        "slice_list": "slices.csv",
        "gap_list": "gaps.csv",
        "stamped": "stamped.csv",
    }
    files = {"volumes": list(stores.values()), "shifts_xy": "s.csv", "config": "c.csv"}
    return run_stage("transform.plan_common_space", folder, **files, **out)


def test_what_lies_at_one_place_on_the_stage_comes_to_one_pixel(tmp_path):
    """Slice 5 begins 7 px further along stage x (dim 1) and 4 px back along stage y (dim 2) than slice 3."""
    block = texture((6, 60, 70))
    stores = {3: slice_store(tmp_path, 3, block[:, 5:45, 10:50]), 5: slice_store(tmp_path, 5, block[:, 12:52, 6:46])}
    assert plan_stage(tmp_path, stores, [Shift(3, 5, -7 * STEP, 4 * STEP)]) == 0
    brought = {}
    for n, path in stores.items():
        files = {"volume": path, "common_space": "common_space.json", "slice": n, "output": f"c{n}.ome.zarr"}
        assert run_stage("transform.bring_to_common_space", tmp_path, **files) == 0
        brought[n] = open_image(tmp_path / f"c{n}.ome.zarr")
    a, b = (image.read() for image in brought.values())
    assert a.shape == b.shape == (6, 47, 44)
    both = (a > 0) & (b > 0)
    assert both.sum() == 6 * 33 * 36 and np.array_equal(a[both], b[both])
    assert np.array_equal(a[a > 0], block[:, 5:45, 10:50].ravel())  # nothing interpolated, nothing lost
    assert np.allclose(brought[3].origin, brought[5].origin, atol=1)  # nm
    assert np.allclose(brought[3].scale, STEP * 1e6)
    rows = (tmp_path / "common_space.csv").read_text().splitlines()
    assert rows[1].startswith("03,0,4,") and rows[2].startswith("05,7,0,")


def test_a_slice_that_was_not_planned(tmp_path, capsys):
    stores = {3: slice_store(tmp_path, 3, texture((4, 20, 20)))}
    assert plan_stage(tmp_path, stores, []) == 0
    files = {"volume": stores[3], "common_space": "common_space.json", "slice": 4, "output": "c.ome.zarr"}
    assert run_stage("transform.bring_to_common_space", tmp_path, **files) == 65
    assert "slice 4 has no place in the common space; expected one of [3]" in capsys.readouterr().err


def test_what_is_no_number_is_counted_and_counts_as_not_acquired(tmp_path):
    block = texture((4, 20, 20))
    block[1, 2:4, 5], block[2, 9, 9] = np.nan, np.inf
    stores = {3: slice_store(tmp_path, 3, block)}
    assert plan_stage(tmp_path, stores, []) == 0
    files = {"volume": stores[3], "common_space": "common_space.json", "slice": 3, "output": "c.ome.zarr"}
    assert run_stage("transform.bring_to_common_space", tmp_path, **files) == 0
    told = record_of(tmp_path, "bring_to_common_space")["quality"]["notes"]
    assert told == "3 voxels of slice z03 are NaN or infinite; they count as not acquired"
    made = open_image(tmp_path / "c.ome.zarr").read()
    assert np.isfinite(made).all() and not made[1, 2:4, 5].any() and made[2, 9, 9] == 0
