"""Properties of tracking: one id a label, optimal assignments, packing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracking import tracked
from voxelmill.inference import linking
from voxelmill.inference.cell_tables import region_table
from voxelmill.inference.linking import Cells, packing
from voxelmill.inference.tracking import METHODS, track


@st.composite
def label_movies(draw):
    shape = draw(st.sampled_from([(1, 1), (6, 9), (24, 24)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = [rng.integers(0, 9, tuple(-(-n // 3) for n in shape)) for _ in range(draw(st.integers(1, 6)))]
    if draw(st.booleans()):  # frames that resemble each other, so that there is something to link
        coarse = [np.where(rng.random(coarse[0].shape) < 0.8, coarse[0], f) for f in coarse]
    return [np.kron(f, np.ones((3, 3), int))[: shape[0], : shape[1]] * (rng.random() < 0.9) for f in coarse]


@given(label_movies(), st.sampled_from(sorted(METHODS)))
@settings(max_examples=60, deadline=None)
def test_every_label_gets_one_id_and_lineages_run_forward(movie, method):
    result, out = tracked(movie, method)
    for f, g in zip(movie, out):
        pairs = np.unique(np.stack([f.ravel(), g.ravel()]), axis=1).T.tolist()
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)  # a bijection
        assert all((a == 0) == (b == 0) for a, b in pairs)
    row = {int(r["track_id"]): r for r in result.tracks}
    frames_of: dict[int, list[int]] = {}
    for n in result.nodes:
        frames_of.setdefault(int(n["track_id"]), []).append(int(n["frame"]))
    assert set(frames_of) == set(row)
    for i, r in row.items():
        there = frames_of[i]
        assert (there[0], there[-1]) == (r["first"], r["last"])
        if method == "growth":
            assert max(np.diff(there), default=1) <= 3  # two missing frames at the most: no id comes back later
        if method == "iou":
            assert max(np.diff(there), default=1) == 1
        if r["parent"]:
            assert row[int(r["parent"])]["last"] < r["first"]


@given(label_movies(), st.floats(0.05, 0.9))
@settings(max_examples=40, deadline=None)
def test_overlap_method_is_the_dense_hungarian_assignment(movie, min_iou):
    from scipy.optimize import linear_sum_assignment

    tables = [region_table(f) for f in movie]
    result = track(tables, "iou", min_iou=min_iou)
    for t in range(1, len(tables)):
        a, b = tables[t - 1].bbox, tables[t].bbox
        side = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
        inter = np.clip(side, 0, None).prod(axis=2)
        union = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1) - inter
        gain = np.where(inter / union >= min_iou, inter / union, 0)
        best = gain[linear_sum_assignment(-gain)].sum()
        (_, old), (_, new) = result.ids(t - 1), result.ids(t)
        _, i, j = np.intersect1d(old, new, return_indices=True)
        assert (gain[i, j] > 0).all()
        np.testing.assert_allclose(gain[i, j].sum(), best)  # ties may be broken another way


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_packing_is_optimal(seed):
    rng = np.random.default_rng(seed)
    n, h = 6, int(rng.integers(1, 11))
    sets = [rng.choice(n, rng.integers(1, 4), replace=False) for _ in range(h)]
    nodes = np.array([np.pad(s, (0, 3 - len(s)), constant_values=-1) for s in sets])
    gain = rng.integers(-2, 8, h) / 2
    best = 0.0
    for choice in range(2**h):
        taken = [k for k in range(h) if choice >> k & 1]
        members = np.concatenate([sets[k] for k in taken]) if taken else np.zeros(0)
        if len(set(members.tolist())) == len(members):
            best = max(best, gain[taken].sum())
    taken = packing(nodes, gain, n)
    members = nodes[taken][nodes[taken] >= 0]
    assert len(set(members.tolist())) == len(members)
    assert gain[taken].sum() == pytest.approx(best)


def test_the_linear_relaxation_is_not_taken_when_it_is_fractional():
    nodes = np.array([[0, 1, -1], [1, 2, -1], [0, 2, -1]])  # half of each would be worth 1.5
    assert packing(nodes, np.array([1.0, 1.0, 1.0]), 3).sum() == 1


def test_large_numbers_of_cells_are_paired_in_parts():
    rng = np.random.default_rng(3)
    n = 2300
    cells = Cells(
        rng.uniform(0, 900, (n, 2)), rng.uniform(50, 90, n), np.tile(np.eye(2) * 9, (n, 1, 1)), np.zeros(n, bool), np.zeros(n)
    )
    near = linking._neighbours(cells.centroid, cells.centroid)
    half = np.full(near.shape, 5.0)
    whole = linking._pairs(cells, cells, near, half, 2.0, 0.3)
    parts = [linking._pairs(cells.take(k), cells, near[k], half[k], 2.0, 0.3) for k in (slice(1500), slice(1500, n))]
    np.testing.assert_array_equal(whole[0], np.concatenate([parts[0][0], parts[1][0] + 1500]))
    np.testing.assert_array_equal(whole[3], np.concatenate([parts[0][3], parts[1][3]]))
