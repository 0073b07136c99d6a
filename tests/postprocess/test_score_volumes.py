"""Scores: equal to scikit-image's, whatever the labels' size and however the volume is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.metrics import adapted_rand_error, variation_of_information
from voxelmill.postprocess import score

volumes = st.tuples(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 8), st.integers(2, 8), st.integers(2, 12))


def pair(seed: int, z: int, y: int, x: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, pred = (rng.integers(0, labels, (z, y, x)) for _ in range(2))
    truth[0, 0, :2] = 1  # at least one pair to score
    pred[0, 0, :2] = 1
    return truth, pred


@settings(max_examples=80, deadline=None)
@given(volumes)
def test_scores_equal_scikit_image(case):
    truth, pred = pair(*case)
    ours = score.score_volumes(truth, pred)
    split, merge = variation_of_information(truth, pred, ignore_labels=(0,))
    # scikit-image divides "precision" by the pairs of the truth; ours by those of the prediction.
    error, recall, precision = adapted_rand_error(truth, pred, ignore_labels=(0,))
    np.testing.assert_allclose([ours["voi_split"], ours["voi_merge"]], [split, merge], atol=1e-9)
    np.testing.assert_allclose([ours["arand"], ours["rand_precision"], ours["rand_recall"]], [error, precision, recall])
    every = score.score_volumes(truth, pred, ignore_truth_zero=False)
    split, merge = variation_of_information(truth, pred)
    np.testing.assert_allclose([every["voi_split"], every["voi_merge"]], [split, merge], atol=1e-9)
    np.testing.assert_allclose(every["arand"], adapted_rand_error(truth, pred, ignore_labels=())[0])


@settings(max_examples=30, deadline=None)
@given(volumes)
def test_neither_the_names_nor_the_slabs_matter(case):
    truth, pred = pair(*case)
    rng = np.random.default_rng(case[0])
    names = np.concatenate(([0], 2**63 - 1 - rng.permutation(40)[: case[-1]])).astype(np.uint64)
    table = score.Contingency()
    for z in range(len(truth)):
        table.add(names[truth[z]], names[pred[z]])
    whole = score.Contingency()
    whole.add(names[truth], names[pred])
    assert table.result() == whole.result()
    ours = score.score_volumes(truth, pred)
    for key, value in table.result().items():
        assert value == pytest.approx(ours[key], abs=1e-9)


def test_split_and_merge_have_their_names():
    one = np.ones((1, 4, 4), int)
    two = one.copy()
    two[:, :, 2:] = 2
    over, under = score.score_volumes(one, two), score.score_volumes(two, one)
    assert (over["voi_split"], over["voi_merge"]) == (1.0, 0.0)
    assert (under["voi_split"], under["voi_merge"]) == (0.0, 1.0)
    assert over["rand_precision"] == 1 and over["rand_recall"] < 1
    assert score.score_volumes(two, two)["arand"] == 0


def test_self_pairs_as_in_cremi():
    truth, pred = pair(3, 2, 6, 6, 4)
    kept = truth > 0
    n = np.histogram2d(truth[kept], pred[kept], bins=[np.arange(5), np.arange(5)])[0]
    both, t, p = (n**2).sum(), (n.sum(1) ** 2).sum(), (n.sum(0) ** 2).sum()
    assert score.score_volumes(truth, pred, self_pairs=True)["arand"] == pytest.approx(1 - 2 * both / (t + p))


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_border_is_a_window_in_the_section(distance):
    rng = np.random.default_rng(distance)
    for _ in range(30):
        section = rng.integers(0, 3, rng.integers(1, 5, 2)).repeat(5, 0).repeat(4, 1).astype(np.uint64) << np.uint64(40)
        small = (section >> np.uint64(40)).astype(int)
        size = 2 * distance + 1
        want = ndi.maximum_filter(small, size) != ndi.minimum_filter(small, size)
        np.testing.assert_array_equal(score.near_boundary(section, distance), want)


def test_border_forgives_a_shifted_boundary():
    truth = np.ones((2, 20, 20), int)
    truth[:, :, 10:] = 2
    shifted = np.roll(truth, 2, axis=2)
    shifted[:, :, :2] = 1
    assert score.score_volumes(truth, shifted)["arand"] > 0
    assert score.score_volumes(truth, shifted, border=2)["arand"] == 0


def test_sections_are_averaged_and_empty_ones_left_out():
    truth, pred = pair(5, 3, 6, 6, 4)
    truth[1] = 0
    ours = score.score_sections(truth, pred)
    alone = [score.score_volumes(truth[z : z + 1], pred[z : z + 1]) for z in (0, 2)]
    assert ours["sections"] == 2
    assert ours["arand"] == pytest.approx(np.mean([s["arand"] for s in alone]))


def test_bad_input_is_named():
    labels = np.ones((1, 2, 2), int)
    with pytest.raises(ValueError, match="expected one grid"):
        score.score_volumes(labels, labels[:, :1])
    with pytest.raises(ValueError, match="expected integer labels"):
        score.score_volumes(labels.astype(float), labels)
    with pytest.raises(ValueError, match="label -1"):
        score.score_volumes(labels, -labels)
    with pytest.raises(ValueError, match="no voxel to score"):
        score.score_volumes(0 * labels, labels)
    with pytest.raises(ValueError, match="border is -1"):
        score.Contingency(border=-1)


def test_the_command_skips_sections_without_a_voxel_to_score(tmp_path, capsys):
    """Empty ones, and with a border those that are all boundary; the figures are those of `score_sections`."""
    import json

    from voxelmill.cli import main

    truth, pred = (np.zeros((4, 16, 16), np.uint32) for _ in range(2))
    truth[0, :, :8], truth[0, :, 8:] = 1, 2
    pred[0] = 1
    truth[2, 4:6, 4:6] = 3  # nothing is left of it within a border of 1
    truth[3] = pred[3] = 5
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "pred.npy", pred)
    words = ["score", str(tmp_path / "truth.npy"), str(tmp_path / "pred.npy"), "--per-slice", "--border", "1"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == pytest.approx(score.score_sections(truth, pred, border=1)) and found["sections"] == 2
    np.save(tmp_path / "truth.npy", np.zeros_like(truth))
    assert main(words) == 65
    assert "no section has a voxel to score" in capsys.readouterr().err


def test_faults_are_counted_by_segment():
    """1 is in two pieces, 2 and 3 are one; 10 reaches a little into 2, and 13 is nobody's."""
    truth = np.repeat([1, 2, 3, 4, 0], [40, 40, 40, 40, 10])[None, None]
    pred = np.repeat([10, 11, 10, 12, 0, 13], [20, 20, 2, 78, 40, 10])[None, None]
    table = score.Contingency()
    table.add(truth, pred)
    faults = table.faults()
    assert faults.truth.tolist() == [1, 2, 3, 4] and faults.voxels.tolist() == [40] * 4
    assert faults.pieces.tolist() == [2, 1, 1, 1] and faults.others.tolist() == [0, 1, 1, 0]
    assert dict(zip(faults.pred.tolist(), faults.merged.tolist())) == {10: 1, 11: 1, 12: 2}
