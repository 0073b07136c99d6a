"""Ids: no two alike, found again, in ranges by region."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core import ids
from voxelmill.core.errors import DataError

steady = settings(max_examples=100, deadline=None, derandomize=True)


@steady
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**21 - 1)), min_size=1))
def test_ids_are_numbers_of_two_parts(parts):
    cell, local = (np.array(column) for column in zip(*parts))
    made = ids.encode(cell, local)
    assert made.dtype == np.uint64 and len(set(made.tolist())) == len(set(parts))
    assert all(float(i) == i for i in made.tolist()) and np.array_equal(made.astype(float).astype(np.uint64), made)
    for found, given_ in zip(ids.decode(made), (cell, local), strict=True):
        np.testing.assert_array_equal(found, given_)


@pytest.mark.parametrize("cell, local", [(2**32, 1), (0, 2**21), (np.array([3, -1]), 1), (0, np.array([5, 2**21]))])
def test_what_does_not_fit_is_refused(cell, local):
    with pytest.raises(DataError, match="ids"):
        ids.encode(cell, local)


triples = st.tuples(*[st.integers(1, 30)] * 3)


@steady
@given(triples, st.tuples(*[st.integers(1, 12)] * 3), st.data())
def test_ranges_hold_the_cells_that_a_region_touches(shape, cell, data):
    cells = ids.Cells(shape, cell)
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape))
    numbers = np.empty(shape, np.int64)
    for index in itertools.product(*map(range, cells.grid)):
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, cell))
        numbers[part] = np.ravel_multi_index(index, cells.grid)
        assert cells.number(*(s.start for s in part)) == np.ravel_multi_index(index, cells.grid)
    ranges = cells.ranges(region)
    found = [n for start, stop in ranges for n in range(start >> ids.LOCAL_BITS, stop >> ids.LOCAL_BITS)]
    assert found == np.unique(numbers[region]).tolist()
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
    everything = np.array([i for n in range(math.prod(cells.grid)) for i in ids.encode(n, [1, 2**21 - 1])])
    there = np.isin(ids.decode(everything)[0], found)
    np.testing.assert_array_equal(ids.within(everything, ranges), np.flatnonzero(there))


def test_no_region_no_ids():
    assert len(ids.within(np.arange(9, dtype=np.uint64), [])) == 0
