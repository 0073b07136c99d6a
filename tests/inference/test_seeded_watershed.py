"""The classic watershed: exact floods, merging, tiles and blocks."""

import cv2
import numpy as np
import pytest
from voxelmill.core import ids
from voxelmill.inference import seeded_watershed


def cells(shape: tuple[int, int, int], seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells, brightest in their middle, between dark membranes: raw uint8 and true labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    points = rng.random((count, 2)) * shape[1:]
    truth = np.argmin((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2, axis=-1) + 1
    edge = cv2.morphologyEx(truth.astype(np.uint16), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    image = np.where(edge, 40, 150 + np.minimum(8 * away, 80)) + rng.normal(0, 8, (shape[0], *truth.shape))
    raw = np.stack([cv2.GaussianBlur(section, (5, 5), 1.0) for section in image])
    return raw.clip(0, 255).astype(np.uint8), np.broadcast_to(truth, raw.shape)


def test_flood_meets_at_the_ridge_and_leaves_no_lines():
    elevation = np.abs(np.arange(21) - 13).astype(np.uint8)
    elevation = np.tile(100 - elevation, (9, 1))  # one ridge, at x = 13
    markers = np.zeros((9, 21), np.int32)
    markers[4, 2], markers[4, 18] = 1, 2
    labels = seeded_watershed.flood(elevation, markers)
    assert (labels[:, :13] == 1).all() and (labels[:, 14:] == 2).all() and (labels > 0).all()


def test_flood_agrees_with_a_priority_flood():
    from skimage.segmentation import watershed as reference

    rng = np.random.default_rng(1)
    # Distinct minima between high walls: every flood order gives the same basins away from the walls.
    raw, truth = cells((1, 120, 150))
    elevation = np.minimum(255 - raw[0], 254)
    markers = np.zeros(elevation.shape, np.int32)
    for label in np.unique(truth[0]):
        y, x = np.nonzero(cv2.erode((truth[0] == label).astype(np.uint8), np.ones((9, 9), np.uint8)))
        if len(y):
            markers[(i := rng.integers(len(y)), y[i], x[i])[1:]] = label
    inside = raw[0] > 150
    agree = seeded_watershed.flood(elevation, markers) == reference(elevation, markers)
    assert agree[inside].mean() > 0.995


def test_threshold_is_numpy_quantile():
    rng = np.random.default_rng(2)
    for _ in range(50):
        image = rng.integers(0, rng.integers(2, 256), (1, 7, rng.integers(1, 12)), dtype=np.uint8)
        quantile = float(rng.random())
        level = seeded_watershed.threshold(seeded_watershed.histogram(image), quantile)
        np.testing.assert_array_equal(image > level[0], image > np.quantile(image, quantile))


def test_merging_follows_the_mean_and_not_the_chain():
    # 1 | 2 is bright, 2 | 3 dark: 1 and 2 merge, 3 stays.
    labels = np.repeat([[1, 2, 3]], 10, axis=0).repeat(10, axis=1).astype(np.int32)
    image = np.full(labels.shape, 200, np.uint8)
    image[:, 18:22] = 20
    (lut,) = seeded_watershed.merge_regions([labels], [image], 90)
    np.testing.assert_array_equal(lut, [0, 1, 1, 3])
    (lut,) = seeded_watershed.merge_regions([labels], [image], 255)
    np.testing.assert_array_equal(lut, [0, 1, 2, 3])


def test_sections_merge_as_if_alone():
    raw, _ = cells((3, 100, 100), count=30)
    labels = [seeded_watershed._regions(image, 150, 8, 128, 256, None) for image in raw]
    together = seeded_watershed.merge_regions(labels, raw, 120)
    for one, image, lut in zip(labels, raw, together, strict=True):
        np.testing.assert_array_equal(seeded_watershed.merge_regions([one], [image], 120)[0], lut)


def test_components_are_their_smallest_node():
    root = seeded_watershed.components(7, np.array([5, 4, 1]), np.array([4, 2, 6]))
    np.testing.assert_array_equal(root, [0, 1, 2, 3, 2, 2, 1])


@pytest.mark.parametrize("shrink", [1, 2])
def test_cells_are_found(shrink):
    raw, truth = cells((2, 201, 251), count=25)
    found = seeded_watershed.segment_block(raw, shrink=shrink, min_size=64)
    for labels, true in zip(found.labels, truth, strict=True):
        inside = cv2.erode((raw[0] > 150).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        pairs = np.unique(np.stack([labels[inside], true[inside].astype(np.uint64)]), axis=1, return_counts=True)
        best = {}
        for (found_id, t), n in zip(pairs[0].T, pairs[1], strict=True):
            if found_id:
                best[t] = max(best.get(t, 0), n)
        assert sum(best.values()) > 0.97 * inside.sum()
    assert not found.empty.any()


@pytest.mark.parametrize("shrink", [1, 2])
def test_blocks_give_the_same_ids_as_the_whole(shrink):
    raw, _ = cells((4, 190, 230), count=60)
    options = {"tile": 64, "margin": 16, "shrink": shrink}
    whole = seeded_watershed.segment_block(raw, **options)
    levels = seeded_watershed.threshold(seeded_watershed.histogram(raw))
    for z0, z1, y0, y1, x0, x1 in ((0, 2, 0, 64, 0, 230), (2, 4, 64, 190, 64, 192), (1, 2, 10, 77, 33, 230)):
        ya, yb = seeded_watershed.source_range(y0, y1, 190, 64, 16)
        xa, xb = seeded_watershed.source_range(x0, x1, 230, 64, 16)
        part = seeded_watershed.segment_block(
            raw[z0:z1, ya:yb, xa:xb],
            levels[z0:z1],
            first_section=z0,
            section_shape=(190, 230),
            origin=(ya, xa),
            core=((y0, y1), (x0, x1)),
            **options,
        )
        np.testing.assert_array_equal(part.labels, whole.labels[z0:z1, y0:y1, x0:x1])
        assert set(np.unique(part.labels)) - {0} <= set(part.ids.tolist()) <= set(whole.ids.tolist())


def test_ids_are_the_tile_number_and_a_local_number_from_1():
    raw, _ = cells((2, 128, 192), count=40)
    found = seeded_watershed.segment_block(raw, first_section=5, tile=64, margin=16)
    number, local = ids.decode(np.unique(found.labels[1, 64:128, 128:192]))
    assert set(number[local > 0]) == {(6 * 2 + 1) * 3 + 2}
    np.testing.assert_array_equal(local[local > 0], np.arange(1, (local > 0).sum() + 1))
    np.testing.assert_array_equal(np.unique(found.labels[found.labels > 0]), found.ids[np.argsort(found.ids)])


def test_a_blank_section_is_zero_and_reported():
    raw, _ = cells((3, 96, 96), count=10)
    raw[1] = 0
    found = seeded_watershed.segment_block(raw)
    np.testing.assert_array_equal(found.empty, [False, True, False])
    assert not found.labels[1].any() and found.labels[2].any()


def test_nodata_patches_stay_0_and_do_not_move_the_threshold():
    raw, _ = cells((1, 128, 128), count=15)
    masked = raw.copy()
    masked[:, :, :40] = 0
    found = seeded_watershed.segment_block(masked, nodata=0)
    assert not found.labels[:, :, :38].any() and found.labels[:, :, 42:].all()
    assert seeded_watershed.segment_block(masked).labels[:, :, :38].any()
    assert seeded_watershed.threshold(seeded_watershed.histogram(masked, 0)) == seeded_watershed.threshold(
        seeded_watershed.histogram(raw[:, :, 40:])
    )


@pytest.mark.parametrize(
    ("sections", "options", "message"),
    [
        (np.zeros((1, 9, 9), np.float32), {}, "run the contrast stage first"),
        (np.zeros((1, 9, 9), np.uint8), {"tile": 4096}, "tile is 4096"),
        (np.zeros((1, 9, 9), np.uint8), {"shrink": 3}, "shrink is 3"),
        (np.zeros((1, 9, 9), np.uint8), {"section_shape": (90, 9), "core": ((0, 9), (0, 9))}, r"depends on \[0, 90\)"),
        (
            np.zeros((1, 200, 64), np.uint8),
            {"section_shape": (300, 64), "core": ((0, 64), (0, 64)), "tile": 64, "margin": 16},
            "no thresholds",
        ),
    ],
)
def test_bad_input_is_named(sections, options, message):
    with pytest.raises(ValueError, match=message):
        seeded_watershed.segment_block(sections, **options)
