"""Stitching: overlap tables, links, canonical segment numbers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.inference import section_linking


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.sampled_from([50, 2**53]))
def test_overlaps_equal_a_count_by_hand(seed, rows, columns, labels, spread):
    rng = np.random.default_rng(seed)
    names = np.concatenate(([0], 2**53 + rng.integers(1, spread, labels))).astype(np.uint64)
    a, b = (names[rng.integers(0, labels + 1, (rows, columns))] for _ in range(2))
    table = section_linking.section_overlaps(a, b)
    want = {(i, j): int(((a == i) & (b == j)).sum()) for i in np.unique(a) for j in np.unique(b) if i and j}
    want = {pair: n for pair, n in want.items() if n}
    assert {tuple(pair): n for pair, n in zip(table.pairs.tolist(), table.counts.tolist(), strict=True)} == want
    for (i, j), (size_a, size_b) in zip(table.pairs, table.sizes, strict=True):
        assert size_a == (a == i).sum() and size_b == (b == j).sum()


def test_step_equals_the_full_count_on_doubled_labels():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 5, (6, 7)).repeat(2, 0).repeat(2, 1) for _ in range(2))
    for full, sampled in zip(
        section_linking.section_overlaps(a, b), section_linking.section_overlaps(a, b, step=2), strict=True
    ):
        np.testing.assert_array_equal(full, sampled)


def overlap(*rows: tuple[int, int, int, int, int]) -> section_linking.Overlaps:
    """Rows of a, b, count, size of a, size of b."""
    array = np.array(rows).reshape(-1, 5)
    return section_linking.Overlaps(array[:, :2].astype(np.uint64), array[:, 2], array[:, 3:])


def test_a_link_needs_both_the_overlap_and_the_share():
    ids = np.arange(1, 9)
    table = overlap(
        (1, 2, 200, 300, 300),  # linked: 200 px, half of the union
        (3, 4, 199, 199, 199),  # one px too few
        (5, 6, 200, 500, 500),  # a quarter of the union
    )
    merged = section_linking.join(ids, table)
    np.testing.assert_array_equal(merged.supervoxel, ids)
    np.testing.assert_array_equal(merged.segment, [1, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_allclose(merged.score, [0.5, 0.5, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(section_linking.join(ids, table, min_iou=0).segment, [1, 1, 2, 3, 4, 4, 5, 6])


def test_seams_link_by_share_whatever_their_length():
    merged = section_linking.join(np.array([1, 2, 3]), overlap(), overlap((1, 2, 9, 10, 10), (2, 3, 1, 10, 10)))
    np.testing.assert_array_equal(merged.segment, [1, 1, 2])


def test_segments_do_not_depend_on_the_order_of_tables():
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(1, 2**53, 300)).astype(np.uint64)
    pairs = rng.choice(ids, (250, 2))
    table = section_linking.Overlaps(pairs, np.full(250, 500), np.full((250, 2), 600))
    first = section_linking.join(ids, table)
    order = rng.permutation(250)
    second = section_linking.join(rng.permutation(ids), section_linking.Overlaps(*(column[order] for column in table)))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    _, first_seen = np.unique(first.segment, return_index=True)
    assert (np.diff(first_seen) > 0).all()  # numbered by their smallest supervoxel
    for i, j in pairs:
        assert first.segment[ids == i] == first.segment[ids == j]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 11))
def test_batches_give_the_table_of_the_whole(seed, sections, cuts):
    """Random sections with random links, cut into random batches: the same segments and scores."""
    rng = np.random.default_rng(seed)
    ids = [np.uint64(1000 * z + 1) + np.arange(rng.integers(0, 9), dtype=np.uint64) for z in range(sections)]
    tables = []
    for upper, lower in pairwise(ids):
        n = int(rng.integers(0, 8)) if len(upper) and len(lower) else 0
        pairs = np.stack([rng.choice(x, n) if n else x[:0] for x in (upper, lower)], 1)
        tables.append(section_linking.Overlaps(pairs, np.full(n, 500), rng.integers(500, 1200, (n, 2))))
    whole = section_linking.join(np.concatenate(ids), section_linking.concatenate(tables))
    edges = sorted({0, sections, *rng.integers(0, sections, cuts).tolist()})
    linked = [
        section_linking.link(np.concatenate(ids[a:b]), section_linking.concatenate(tables[a:b]), first_ends=1000 * (a + 1))
        for a, b in pairwise(edges)
    ]
    joined = section_linking.join_borders([border for _, border in linked])
    parts = [section_linking.number(found, one) for (found, _), one in zip(linked, joined, strict=True)]
    for column, want in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(column), want)
    assert {one.segments for one in joined} == {int(whole.segment.max(initial=0))}


def test_a_batch_that_is_missing_or_other_is_found():
    border = [
        section_linking.link(np.array([1]), overlap((1, 2, 500, 500, 500)), first_ends=2)[1],
        section_linking.link(np.array([3]), overlap(), first_ends=4)[1],
    ]
    with pytest.raises(ValueError, match="names supervoxel 2, which no block reports"):
        section_linking.join_borders(border)
    with pytest.raises(ValueError, match="names supervoxel 2"):
        section_linking.join_borders(border[:1])


def test_tables_are_read_as_they_were_written(tmp_path):
    found, border = section_linking.link(np.array([1, 2]), overlap((1, 2, 500, 500, 500)), first_ends=2)
    for table in (found, border, *section_linking.join_borders([border])):
        section_linking.save(tmp_path / "t.npz", table)
        again = section_linking.load(tmp_path / "t.npz", type(table))
        for a, b in zip(again, table, strict=True):
            assert np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype


def test_remap_is_a_look_up():
    table = section_linking.MergeTable(np.array([3, 2**52], np.uint64), np.array([1, 2], np.uint64), np.zeros(2, np.float32))
    labels = np.array([[0, 3, 3], [2**52, 0, 3]], np.uint64)
    np.testing.assert_array_equal(section_linking.remap(labels, table), [[0, 1, 1], [2, 0, 1]])
    doubled = labels.repeat(2, 0).repeat(2, 1)[:3, :5]
    np.testing.assert_array_equal(section_linking.remap(doubled, table, step=2), section_linking.remap(doubled, table))
    with pytest.raises(ValueError, match="supervoxel 7 is not in the merge table"):
        section_linking.remap(np.array([7], np.uint64), table)


def test_a_column_that_drifts_is_one_segment():
    volume = np.zeros((5, 40, 60), np.uint64)
    for z in range(5):
        volume[z, 10:30, 5 + 3 * z : 30 + 3 * z] = z + 1
    tables = section_linking.concatenate(section_linking.section_overlaps(*pair) for pair in pairwise(volume))
    merged = section_linking.join(np.unique(volume), tables)
    assert set(section_linking.remap(volume, merged).ravel().tolist()) == {0, 1}


def test_empty_tables_join():
    assert section_linking.join(np.zeros(0, np.uint64), section_linking.concatenate([])).segment.size == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="expected one grid"):
        section_linking.section_overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="names supervoxel 9"):
        section_linking.join(np.array([1]), overlap((1, 9, 500, 500, 500)))
