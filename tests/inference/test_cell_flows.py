"""Cells out of maps: with the maps that labels give, the cells are the labels."""

import numpy as np
import pytest
from voxelmill.inference.cell_flows import MAPS, decode, normalise
from voxelmill.testing.timelapse import make_movie
from voxelmill.testing.timelapse_score import segmentation
from voxelmill.training import targets


def maps_of(labels: np.ndarray) -> np.ndarray:
    way = targets.way_to_middle(labels)
    sure = np.where(labels > 0, 5.0, -5.0), np.where(targets.seams(labels), 5.0, -5.0)
    return np.stack([*sure, targets.centrality(labels), *targets.flow(labels, way)]).astype(np.float32)


def test_touching_discs_and_a_bent_rod_come_back():
    yy, xx = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.int32)
    labels[np.hypot(yy - 20, xx - 20) < 8] = 1
    labels[(np.hypot(yy - 20, xx - 34) < 8) & (labels == 0)] = 2
    ring = np.hypot(yy - 44, xx - 40)
    labels[(ring > 10) & (ring < 16) & (yy > 44)] = 3
    found = decode(maps_of(labels))
    score = segmentation([labels], [found])
    assert score["f1_75"] == 1 and found.max() == 3
    assert ((found > 0) == (labels > 0)).all()


def test_made_cells_at_the_networks_scale():
    labels = make_movie("dense", frames=1, size=384, channels=0).labels[0][::2, ::2].astype(np.int32)
    assert segmentation([labels], [decode(maps_of(labels))])["f1_75"] > 0.97


def test_nothing_and_crumbs():
    empty = np.zeros((len(MAPS), 16, 32), np.float32)
    empty[0] = -1
    assert decode(empty).shape == (16, 32) and not decode(empty).any()
    empty[0, 5, 5] = 3
    assert not decode(empty).any()  # smaller than any cell
    empty[0, 4:12, 5:13] = 3
    assert (decode(empty) > 0).sum() == 64


def test_normalised_frames_do_not_depend_on_gain_and_offset():
    frame = make_movie(frames=1, size=192, channels=0).phase[0].astype(np.float32)
    expected = normalise(frame)
    np.testing.assert_allclose(normalise(30 * frame + 2000), expected, atol=5e-3)
    assert abs(np.median(expected)) < 0.05
    np.testing.assert_allclose(normalise(np.full((32, 32), 3000, np.float32)), 0, atol=1e-3)
    slope = 4 * np.arange(192, dtype=np.float32)
    assert np.abs(normalise(frame + slope) - expected)[48:-48, 48:-48].mean() < 0.15


@pytest.mark.parametrize("where", ["corner", "edge"])
def test_cells_at_the_border_stay_whole(where):
    labels = np.zeros((40, 40), np.int32)
    labels[:9, (0 if where == "corner" else 15) :][:, :9] = 1
    found = decode(maps_of(labels))
    assert found.max() == 1 and ((found > 0) == (labels > 0)).all()
