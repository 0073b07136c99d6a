"""Quality of slices: a spoiled one is found and takes no neighbour with it; first slices; what is compared."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from voxelmill.core import shifts, slice_config
from voxelmill.core.shifts import Shift
from voxelmill.testing.slices import STEP, slice_store
from voxelmill.testing.stages import record_of, run_stage

T = 6


def assess(
    folder: Path, spoiled: tuple[int, ...], numbers: tuple[int, ...] = (98, 99, 100, 101, 102), **more: Any
) -> slice_config.SliceConfig:
    """Slices of one block with speckle, each 5 px further along dim 1, and -3 px along dim 2, than the one before."""
    rng = np.random.default_rng(4)
    size = T * (numbers[-1] - numbers[0]) + 12
    block = ndimage.gaussian_filter(rng.random((size, 150, 150)), (3, 4, 4))
    block = 0.1 + 0.8 * (block - block.min()) / np.ptp(block)
    stores, table = [], []
    for n in numbers:
        k = n - numbers[0]
        values = block[T * k : T * k + 12, 5 * k : 5 * k + 100, 40 - 3 * k : 140 - 3 * k]
        values = np.full_like(values, 0.3) if n in spoiled else values
        stores.append(slice_store(folder, n, (values * rng.standard_gamma(6, values.shape) / 6).clip(1e-3, 1)))
    for a, b in pairwise(numbers):
        table.append(Shift(a, b, -5 * STEP * (b - a), 3 * STEP * (b - a)))
    shifts.write(folder / "s.csv", table, (STEP, STEP))
    slice_config.write(folder / "c.csv", slice_config.of(numbers))
    files = {"volumes": stores, "shifts_xy": "s.csv", "config": "c.csv", "output": "out.csv"}
    more = {"registration_slicing_interval_mm": T * STEP, "auto_assess_exclude_first": 0, **more}
    assert run_stage("transform.auto_assess_quality", folder, **files, **more) == 0
    return slice_config.read(folder / "out.csv")


def test_good_slices_stay(tmp_path):
    made = assess(tmp_path, ())
    assert made.used == [98, 99, 100, 101, 102]
    assert all(float(row["quality_score"]) > 0.6 for row in made.rows.values())


def test_a_spoiled_slice_is_left_out_and_no_other(tmp_path):
    made = assess(tmp_path, (100,))
    assert made.used == [98, 99, 101, 102] and "below 0.3" in made.rows[100]["exclude_reason"]
    assert "z100" in record_of(tmp_path, "auto_assess_quality")["left_out"]


def test_over_a_gap_the_same_tissue_is_compared(tmp_path):
    assert min(float(r["quality_score"]) for r in assess(tmp_path, (), (98, 99, 101, 102)).rows.values()) > 0.6


def test_the_first_slices_are_left_out_whatever_they_show(tmp_path):
    made = assess(tmp_path, (), auto_assess_exclude_first=2)
    assert made.used == [100, 101, 102] and made.rows[98]["exclude_reason"] == "one of the first slices"


def test_the_middle_is_what_counts(tmp_path):
    made = assess(tmp_path, (100,), auto_assess_roi_size=40, auto_assess_min_quality=0.35)
    assert made.used == [98, 99, 101, 102]


def test_one_slice_alone_is_not_judged(tmp_path):
    assert assess(tmp_path, (), (7,)).used == [7]
