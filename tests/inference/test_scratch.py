"""Arrays larger than memory."""

import os
from pathlib import Path

import numpy as np
import pytest
from voxelmill.inference import scratch


def test_copies_of_many_arrays_take_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    shelved, rng = scratch.Copies(), np.random.default_rng(0)
    given = [rng.integers(0, 200, (3, n % 7)).astype(dtype) for n in range(300) for dtype in (np.uint64, np.uint8)]
    copies = [shelved(array) for array in given]
    scratch.release()
    assert len(os.listdir("/proc/self/fd")) - before == 1
    assert not any(tmp_path.iterdir())
    for array, copy in zip(given, copies, strict=True):
        assert copy.dtype == array.dtype
        np.testing.assert_array_equal(copy, array)


def test_an_array_larger_than_a_file_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scratch.Copies, "SIZE", 100)
    shelved = scratch.Copies()
    large, small = np.arange(1000), np.arange(5, dtype=np.uint8)
    first, second = shelved(large), shelved(small)
    scratch.release()
    np.testing.assert_array_equal(first, large)
    np.testing.assert_array_equal(second, small)
