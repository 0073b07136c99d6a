"""Synapse candidates: place, scale and direction of made blobs; the same in any block."""

import cv2
import numpy as np
import pytest
from voxelmill.postprocess import blobs


def scene(sigma: float, y: int = 40, x: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """A dark Gaussian blob on the boundary of segments 7 (left) and 2**52 (right)."""
    rows, columns = np.mgrid[:90, :100]
    dark = 120 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    image = np.rint(200 - dark).astype(np.uint8)[None]
    labels = np.where(columns < x, 7, 2**52).astype(np.uint64)[None]
    return image, labels


@pytest.mark.parametrize("sigma", [1.2, 1.6, 2.2, 2.8, 3.4])
def test_a_blob_is_found_once_where_and_as_wide_as_it_is(sigma):
    (found,) = blobs.detect(*scene(sigma), first_section=3)
    assert found["z"] == 3
    assert abs(found["y"] - 40) <= 1 and abs(found["x"] - 50) <= 1
    assert abs(found["sigma"] - sigma) <= 0.6


def test_the_darker_side_is_presynaptic_and_sets_the_score():
    image, labels = scene(1.6)
    image[:, :, :50] -= 40
    (found,) = blobs.detect(image, labels)
    assert (found["pre_pt_root_id"], found["post_pt_root_id"]) == (7, 2**52)
    lo, hi = int(image.min()), int(image.max())
    y, x = int(found["y"]), int(found["x"])
    window = np.s_[0, y - 3 : y + 4, x - 3 : x + 4]
    pre = labels[window] == 7
    want = (1 - (image[window].astype(float) - lo) / (hi - lo))[pre].mean()
    np.testing.assert_allclose(found["score"], want, rtol=1e-6)
    (mirrored,) = blobs.detect(image[:, :, ::-1].copy(), labels[:, :, ::-1].copy())
    assert (mirrored["pre_pt_root_id"], mirrored["post_pt_root_id"]) == (7, 2**52)


def test_no_candidate_inside_a_segment_nor_at_bright_blobs_nor_below_the_threshold():
    image, labels = scene(2.2)
    assert len(blobs.detect(image, np.ones_like(labels))) == 0
    assert len(blobs.detect(255 - image, labels)) == 0
    window = [[0, 255 * 40]]  # the same blob in a window 40 times as wide has a 40th of the response
    assert len(blobs.detect(image, labels, window)) == 0


def test_a_neighbourhood_with_too_few_labels_is_left_out():
    image, labels = scene(1.6)
    labels[:] = 0
    labels[0, 40, 49], labels[0, 40, 50] = 1, 2
    assert len(blobs.detect(image, labels)) == 0
    assert len(blobs.detect(image, labels, min_labelled=2)) == 1


def test_one_candidate_per_cell_and_pair_the_best():
    rows = np.zeros(3, blobs.DTYPE)
    rows["y"], rows["x"], rows["score"] = [8, 11, 8], [4, 7, 8], [0.2, 0.9, 0.1]
    rows["pre_pt_root_id"], rows["post_pt_root_id"] = 1, 2
    np.testing.assert_array_equal(np.sort(blobs._one_per_cell(rows)["score"]), np.float32([0.1, 0.9]))


def test_no_two_candidates_share_a_cell_and_a_pair():
    image, labels = scene(2.8)
    found = blobs.detect(image, labels, spacing=1)  # every pixel above the threshold is a maximum
    cells = {(row["y"] // 4, row["x"] // 4, row["pre_pt_root_id"], row["post_pt_root_id"]) for row in found}
    assert len(cells) == len(found) > 4


def test_blocks_equal_the_whole():
    rng = np.random.default_rng(0)
    total = 0
    for _ in range(25):
        shape = rng.integers(60, 240, 2)
        smooth = cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 1.5)
        image = ((smooth.astype(int) - 90) * 3).clip(0, 255).astype(np.uint8)[None]
        labels = rng.integers(0, 4, shape // 6 + 1).repeat(6, 0).repeat(6, 1)[None, : shape[0], : shape[1]].astype(np.uint64)
        window = np.array([[image.min(), image.max()]])
        whole = blobs.detect(image, labels, window)
        start = rng.integers(0, shape - 10)
        stop = rng.integers(start + 1, shape + 1)
        origin = np.maximum(start - blobs.halo() - rng.integers(0, 2), 0)
        read = (slice(None), *(slice(o, s + blobs.halo()) for o, s in zip(origin, stop, strict=True)))
        part = blobs.detect(
            image[read],
            labels[read],
            window,
            section_shape=tuple(shape),
            origin=tuple(origin),
            core=tuple(zip(start, stop, strict=True)),
        )
        inside = (whole["y"] >= start[0]) & (whole["y"] < stop[0]) & (whole["x"] >= start[1]) & (whole["x"] < stop[1])
        np.testing.assert_array_equal(part, whole[inside])
        total += len(part)
    assert total > 300


def test_bad_input_is_named():
    image, labels = scene(2)
    with pytest.raises(ValueError, match="expected uint8"):
        blobs.detect(image.astype(float), labels)
    with pytest.raises(ValueError, match=r"it needs .* px around the core"):
        blobs.detect(image, labels, section_shape=(300, 100), core=((0, 60), (0, 100)))
    with pytest.raises(ValueError, match="without windows"):
        blobs.detect(image, labels, section_shape=(300, 100), core=((0, 10), (0, 100)))
