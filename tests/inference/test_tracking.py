"""Tracking against made movies of known tracks, and what must hold for any label movie."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.inference.cell_tables import region_table, relabel_frame
from voxelmill.inference.linking import Cells, Links, voted_shift
from voxelmill.inference.tracking import track
from voxelmill.testing.timelapse import make_movie

SHAPE = (64, 96)


def frame(*discs, shape=SHAPE):
    """Discs (label, y, x, radius) on background."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    out = np.zeros(shape, np.uint16)
    for label, y, x, r in discs:
        out[(yy - y) ** 2 + (xx - x) ** 2 <= r * r] = label
    return out


def tracked(frames, method="growth", **params):
    tables = [region_table(f) for f in frames]
    result = track(tables, method, **params)
    return result, [result.relabel(t, f) for t, f in enumerate(frames)]


def ids_along(frames, *points):
    return [int(f[y, x]) for f, (y, x) in zip(frames, points)]


def link_f1(truth, result):
    """F1 of links, for tables whose labels are the true track ids."""
    true = claimed = good = 0
    before = None
    for t in range(len(truth)):
        label, ids = result.ids(t)
        if before is not None:
            _, i, j = np.intersect1d(before[0], label, return_indices=True)
            true, good = true + len(i), good + int((before[1][i] == ids[j]).sum())
            claimed += len(np.intersect1d(before[1], ids))
        before = label, ids
    return 2 * good / (true + claimed)


# region tables


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.int32, np.uint32, np.int64]))
@settings(max_examples=25, deadline=None)
def test_region_table_agrees_with_brute_force(seed, dtype):
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 5, rng.integers(1, 20, 2)) * rng.integers(1, 40)).astype(dtype)
    found = region_table(labels)
    assert found.label.tolist() == [i for i in np.unique(labels).tolist() if i]
    for k, i in enumerate(found.label):
        y, x = np.nonzero(labels == i)
        assert found.area[k] == len(y)
        np.testing.assert_allclose(found.centroid[k], [y.mean(), x.mean()])
        expected = np.cov(np.stack([y, x]), bias=True) + np.eye(2) / 12
        np.testing.assert_allclose(found.cov[k], expected, atol=1e-9)
        assert found.bbox[k].tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]
        touches = y.min() == 0 or x.min() == 0 or y.max() == labels.shape[0] - 1 or x.max() == labels.shape[1] - 1
        assert found.on_border[k] == touches


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((4, 4)), "float64"),
        (np.zeros((2, 4, 4), int), "one by one"),
        (np.zeros((0, 4), int), "non-empty"),
        (np.array([[0, -3]]), "-3"),
        (np.array([[0, 2**63 + 1]], np.uint64), "int64"),
    ],
)
def test_what_is_no_label_frame_is_refused(labels, words):
    with pytest.raises(DataError, match=words):
        region_table(labels)


def test_relabel_never_wraps_and_refuses_another_frame():
    labels = np.array([[0, 1, 1], [3, 3, 0]], np.uint8)
    out = relabel_frame(labels, np.array([1, 3]), np.array([70_000, 2]))
    assert out.dtype == np.uint32
    assert out.tolist() == [[0, 70_000, 70_000], [2, 2, 0]]
    with pytest.raises(DataError, match="label 3 is in the frame"):
        relabel_frame(labels, np.array([1]), np.array([1]))
    with pytest.raises(DataError, match="uint32"):
        relabel_frame(labels, np.array([1, 3]), np.array([1, 2**32]))


# made movies


def test_two_dots_that_cross_keep_their_ids():
    steps = range(-8, 9)
    movie = [frame((1, 32 + 3 * s, 48 + 3 * s, 3), (2, 32 + 3 * s + 8, 48 - 3 * s, 3)) for s in steps]
    result, out = tracked(movie)
    assert len(result.tracks) == 2
    for label in (1, 2):
        assert len({i for f, m in zip(out, movie) for i in np.unique(f[m == label])}) == 1


def test_daughters_begin_where_their_mother_was():
    """Also in the last frame, and where cells may move far: a cell 128 px away is nobody's daughter."""
    still = [(k, 40 + 60 * (k // 4), 40 + 60 * (k % 4), 16) for k in range(1, 9)]

    def last(dx: int) -> list[tuple[int, int, int, int]]:
        return [*still[1:], (1, 40, 90, 11), (20, 40, 110 + dx, 11)]

    frames = [frame(*still, shape=(240, 480)) for _ in range(5)]
    for apart, divisions in ((0, 1), (128, 0)):
        moved = [*frames, frame(*last(apart), shape=(240, 480))]
        found = track([region_table(f) for f in moved], max_move=150)
        assert len(np.unique(found.tracks["parent"][found.tracks["parent"] > 0])) == divisions, apart


def test_a_division_has_a_mother_and_two_daughters():
    before, after = frame((1, 30, 40, 10)), frame((1, 30, 33, 7), (2, 30, 48, 7))
    result, out = tracked([before, before, after, after])
    assert result.tracks.tolist() == [(1, 0, 1, 0), (2, 2, 3, 1), (3, 2, 3, 1)]
    assert ids_along(out, (30, 40), (30, 40), (30, 33), (30, 48)) == [1, 1, 2, 3]
    alone, _ = tracked([before, before, after, after], divisions=False)
    assert not alone.tracks["parent"].any()


@pytest.mark.parametrize("lived", [1, 2, 3])
def test_a_fragment_that_is_lost_at_once_was_no_daughter(lived):
    whole, split = frame((1, 30, 40, 10)), frame((1, 30, 33, 7), (2, 30, 48, 7))
    other = frame((1, 30, 33, 7))
    movie = [whole, whole, *[split] * lived, *[other] * 5]
    result, out = tracked(movie, max_gap=0)
    if lived < 3:
        assert ids_along(out[-1:], (30, 33)) == [1] and not result.tracks["parent"].any()
    else:
        assert result.tracks["parent"].tolist() == [0, 1, 1]
    assert tracked(movie, max_gap=0, min_daughter=0)[0].tracks["parent"].tolist() == [0, 1, 1]
    assert tracked(movie[: 2 + lived])[0].tracks["parent"].tolist() == [0, 1, 1]  # the movie ended too soon to tell


def test_a_neighbour_that_enters_at_the_border_is_no_daughter():
    before, after = frame((1, 20, 30, 12)), frame((1, 18, 21, 9), (2, 19, 40, 9))
    assert track([region_table(before), region_table(after)]).tracks["parent"].tolist() == [0, 1, 1]
    cut = [f[12:] for f in (before, after)]  # the same cells, cut by the border
    result = track([region_table(f) for f in cut])
    assert result.tracks["parent"].tolist() == [0, 0]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_gaps_are_closed_up_to_the_bound(missing):
    here, away = frame((1, 20, 20, 6), (2, 45, 70, 6)), frame((2, 45, 70, 6))
    movie = [here, here, *[away] * missing, here, here]
    for bound in (0, 1, 2):
        result, out = tracked(movie, max_gap=bound)
        assert (out[0][20, 20] == out[-1][20, 20]) == (missing <= bound)
        assert len(result.tracks) == (2 if missing <= bound else 3)


def test_a_gap_of_one_frame_ends_the_track_of_the_overlap_method():
    here, away = frame((1, 20, 20, 6), (2, 45, 70, 6)), frame((2, 45, 70, 6))
    result, out = tracked([here, away, here], "iou")
    assert ids_along(out, (20, 20), (20, 20), (20, 20)) == [1, 0, 3]
    assert ids_along(out, (45, 70), (45, 70), (45, 70)) == [2, 2, 2]
    assert result.tracks.tolist() == [(1, 0, 0, 0), (2, 0, 2, 0), (3, 2, 2, 0)]


def test_cells_that_enter_and_leave_begin_and_end_tracks():
    movie = [frame((1, 30, x, 6), *[(2, 30, 8, 6)] * (t >= 3)) for t, x in enumerate(range(70, 118, 6))]
    result, out = tracked(movie, max_gap=0)
    last = max(t for t, f in enumerate(movie) if (f == 1).any())
    assert result.tracks.tolist() == [(1, 0, last, 0), (2, 3, 7, 0)]
    assert out[-1][30, 8] == 2


def test_a_jump_of_the_stage_keeps_all_ids():
    rng = np.random.default_rng(0)
    where = rng.uniform(20, 180, (60, 2))
    where = where[[all(np.hypot(*(p - q)) > 16 for q in where[:k]) for k, p in enumerate(where)]]
    discs = [(k + 1, y, x, 4 + k % 4) for k, (y, x) in enumerate(where)]
    jumped = [(k, y + 25, x - 31, r) for k, y, x, r in discs]
    tables = [region_table(frame(*d, shape=(240, 240))) for d in (discs, jumped)]
    assert link_f1(tables, track(tables)) == 1
    assert link_f1(tables, track(tables, max_drift=0)) < 0.5
    np.testing.assert_allclose(voted_shift(*(Cells.of(t) for t in tables), 60), [25, -31], atol=2)


@pytest.mark.parametrize("preset", ["dense", "fast"])
def test_a_jump_by_half_of_the_field_is_bridged(preset):
    """Along both axes: a quarter of the cells stay in view, and all of those keep their ids."""
    labels = make_movie(preset=preset, frames=4, size=768, seed=0).labels
    corners = [0, 0, 256, 256]
    tables = [region_table(np.ascontiguousarray(f[k : k + 512, k : k + 512])) for f, k in zip(labels, corners)]

    def kept(**params) -> list[bool]:
        tracks = track(tables, **params)
        before, after = (dict(zip(*(column.tolist() for column in tracks.ids(t)))) for t in (1, 2))
        return [before[label] == after[label] for label in before.keys() & after.keys()]

    assert len(kept()) > 4 and np.mean(kept()) > 0.8
    assert not any(kept(max_drift=100))


def test_a_jump_of_few_fast_cells_is_bridged():
    """What begins with another jump and settles at none gains much, but has no more cells in view for it."""
    labels = make_movie("fast", frames=4, size=432, channels=0, seed=2, cells=75).labels
    tables = [region_table(np.ascontiguousarray(f[k : k + 288, :288])) for f, k in zip(labels, (144, 144, 0, 0))]
    tracks = track(tables)
    before, after = (dict(zip(*(column.tolist() for column in tracks.ids(t)))) for t in (1, 2))
    both = before.keys() & after.keys()
    assert len(both) == 11 and all(before[label] == after[label] for label in both)


def test_cells_that_move_far_are_no_jump():
    """Few that fit by chance far away say less than many that fit badly here."""
    rng = np.random.default_rng(1)
    at = rng.uniform(20, 460, (40, 2))
    kept = 0
    for _ in range(2):
        to = np.clip(at + rng.normal(0, 20, at.shape), 10, 470)
        frames = [frame(*((k + 1, *p, 7) for k, p in enumerate(one)), shape=(480, 480)) for one in (at, to)]
        tracks = track([region_table(f) for f in frames])
        before, after = (dict(zip(*(column.tolist() for column in tracks.ids(t)))) for t in (0, 1))
        kept += sum(before[k] == after[k] for k in before.keys() & after.keys())
        at = to
    assert kept > 25


def test_a_growing_crowded_colony_keeps_its_ids():
    half = np.random.default_rng(2).integers(8, 16, (17, 9))

    def rods(scale):
        out = np.zeros((500, 900), np.int32)
        for k, (i, j) in enumerate(np.ndindex(half.shape)):
            y, x = round(250 + 14 * scale * (i - 8)), round(450 + 32 * scale * (j - 4))
            out[y - 5 : y + 5, x - half[i, j] : x + half[i, j]] = k + 1
        return out

    tables = [region_table(rods(1.1**t)) for t in range(4)]  # the outer rods move by a lane
    assert link_f1(tables, track(tables)) == 1
    assert link_f1(tables, track(tables, "iou")) < 0.8


@pytest.mark.parametrize("preset", ["pattern", "sparse", "dense", "fast"])
def test_links_of_true_masks(preset):
    movie = make_movie(preset, frames=10, size=320, channels=0, seed=5)
    tables = [region_table(f) for f in movie.labels]
    result = track(tables)
    assert link_f1(tables, result) >= 0.998
    parents = {(p, i) for i, _, _, p in movie.tracks if p}
    last = {int(n["track_id"]): int(n["label"]) for n in result.nodes}
    first = {int(n["track_id"]): int(n["label"]) for n in result.nodes[::-1]}
    assert {(last[int(r["parent"])], first[int(r["track_id"])]) for r in result.tracks if r["parent"]} == parents


# edges of the input


@pytest.mark.parametrize("method", ["growth", "iou", "labels"])
def test_blank_and_single_frames(method):
    blank, cell = np.zeros(SHAPE, np.uint8), frame((7, 20, 20, 5))
    result, out = tracked([blank], method)
    assert not len(result.tracks) and not out[0].any()
    result, out = tracked([cell], method)
    assert result.tracks["first"].tolist() == result.tracks["last"].tolist() == [0]
    result, out = tracked([blank, cell, blank, blank, blank, blank, cell, blank], method)
    assert [bool(f.any()) for f in out] == [False, True, False, False, False, False, True, False]
    assert not len(track([], method).tracks)


@pytest.mark.parametrize("method", ["growth", "iou"])
def test_more_than_65535_ids(method):
    dots = np.zeros((2 * 190, 2 * 190), np.int64)
    dots[::2, ::2] = np.arange(190 * 190).reshape(190, 190) + 1
    movie = [dots, np.zeros_like(dots), dots]
    params = {"max_gap": 0, "max_drift": 0} if method == "growth" else {}
    result, out = tracked(movie, method, **params)
    assert len(result.tracks) == 2 * 190 * 190 > 65_535
    assert out[2].dtype == np.uint32
    assert len(np.unique(out[2])) == 190 * 190 + 1
    assert out[2].max() == 2 * 190 * 190


def test_sizes_outside_the_bounds_are_left_out_and_counted():
    movie = [frame((1, 15, 15, 2), (2, 15, 50, 6), (3, 45, 50, 12))] * 2
    areas = region_table(movie[0]).area
    result, out = tracked(movie, min_size=int(areas[1]), max_size=int(areas[1]))  # both are included
    assert result.tracks.tolist() == [(1, 0, 1, 0)]
    assert ids_along(out, (15, 15), (15, 50)) == [0, 1]
    assert (result.nodes["track_id"] == 0).sum() == 4


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"method": "nearest"}, "nearest"),
        ({"method": "iou", "min_iou": 0.0}, "min_iou is 0.0"),
        ({"method": "iou", "max_gap": 1}, "max_gap"),
        ({"max_gap": -1}, "max_gap is -1"),
        ({"max_cost": 0}, "max_cost is 0"),
        ({"max_cost": float("nan")}, "max_cost is nan"),
        ({"min_size": 9, "max_size": 3}, "min_size 9"),
    ],
)
def test_parameters_out_of_bounds_are_refused(params, words):
    with pytest.raises(ParameterError, match=words):
        track([region_table(frame((1, 20, 20, 5)))], **params)


def test_frames_of_unequal_size_are_refused():
    with pytest.raises(DataError, match=r"frame 1 is \(5, 6\)"):
        track([region_table(np.ones(s, int)) for s in [(5, 5), (5, 6)]])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Links([[1, 1], [1, 2]], {}), "frame 0: one id was given to two"),
        (Links([[1, 2], [0, 2]], {}), "frame 1: ids 0 to 2"),
        (Links([[1, 2], [1]], {}), "frame 1: 1 ids for 2 regions"),
        (Links([[1, 2]], {}), "answered 1 frames, expected 2"),
        (Links([[1, 2], [1, 2]], {2: 9}), "parent 9"),
        (Links([[1, 2], [1, 2]], {2: 1}), "parent 1 is still there in frame 1"),
    ],
)
def test_a_method_that_breaks_the_rules_is_refused(answer, words):
    def plugin(tables):
        return answer

    tables = [region_table(frame((1, 20, 20, 5), (2, 40, 60, 5)))] * 2
    with pytest.raises(DataError, match=words):
        track(tables, plugin)


def test_the_import_is_cheap():
    code = "import sys, voxelmill.inference.tracking; print('scipy' in sys.modules, 'skimage' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


# what must hold for any movie
