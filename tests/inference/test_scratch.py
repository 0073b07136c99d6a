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


def test_elements_far_apart_are_looked_at_window_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What one look takes into memory is bounded, whatever a table's size and wherever its elements lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scratch, "REACH", 1 << 18)
    released: list[None] = []
    monkeypatch.setattr(scratch, "release", lambda: released.append(None))
    rng, n = np.random.default_rng(0), 1_000_000
    table, index = scratch.zeros(n, np.int64), rng.integers(0, n, 5000)
    for part in scratch.near(table, index):
        assert len(np.unique(index[part] * 8 >> 16)) <= 4
    assert len(released) == -(-8 * n // (1 << 18))
    assert [*scratch.near(table, np.sort(index) % 30_000)] == [slice(None)]  # close together: all at once
    scratch.put(table, index, index)
    scratch.gather(np.add, table, index, 1)
    expected = np.zeros(n, np.int64)
    expected[index] = index
    np.add.at(expected, index, 1)
    np.testing.assert_array_equal(table, expected)
    np.testing.assert_array_equal(scratch.take(table, index), expected[index])


def test_rows_are_sorted_into_bins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    bins = scratch.Bins(2, 4)
    for start in (0, 10):
        bins.put([np.arange(start, start + 6), np.arange(6)], np.array([3, 1, 3, 0, 0, 3]))
    assert [np.concatenate([*parts], 1).tolist() for parts in bins] == [
        [[3, 4, 13, 14], [3, 4, 3, 4]],
        [[1, 11], [1, 1]],
        [[0, 2, 5, 10, 12, 15], [0, 2, 5, 0, 2, 5]],
    ]
