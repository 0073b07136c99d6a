"""Track cells: the labels keep their pixels, ids live on; tables beside; any number of ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.inference.track_cells import load_tracks, too_large
from voxelmill.testing.movies import run_timelapse
from voxelmill.testing.stages import record_of
from voxelmill.timelapse.store import open_channel


def track(folder: Path, movie_file: Path, labels: np.ndarray, **params: object) -> np.ndarray:
    """Tracked labels of field of view 0, from given ones."""
    np.save(folder / "given.npy", labels)
    assert (
        run_timelapse(
            folder, movie_file, upto="track_cells", detections=folder / "given.npy", pc_channel=0, fovs="0", **params
        )
        == 0
    )  # type: ignore[arg-type]
    return open_channel(folder / "tracked", 0, "seg_tracked_ch_0").read()


@pytest.mark.parametrize("method", ["growth", "iou", "labels"])
def test_ids_live_on(tmp_path: Path, movie_file: Path, movies: list, method: str):
    truth = movies[0].labels
    found = track(tmp_path, movie_file, truth, tracking_method=method)
    assert np.array_equal(found > 0, truth > 0)
    pairs = {(int(a), int(b)) for a, b in zip(truth.ravel(), found.ravel())}
    assert len(pairs) == len(np.unique(truth))  # one id for each true cell, and back
    assert record_of(tmp_path, "track_cells")["quality"]["per_fov"]["0"]["tracks"] == len(np.unique(truth)) - 1


def test_tables_say_what_the_labels_say(stages: Path):
    tracks = load_tracks(stages / "tracked/fov_000/tracks.npz")
    labels = open_channel(stages / "tracked", 0, "seg_tracked_ch_0").read()
    for row in tracks.tracks:
        frames = np.flatnonzero((labels == row["track_id"]).any((1, 2)))
        assert (frames[0], frames[-1]) == (row["first"], row["last"])
    kept = tracks.nodes[tracks.nodes["track_id"] > 0]
    assert kept["area"].sum() == np.count_nonzero(labels)


def test_more_than_65535_ids_stay_apart(tmp_path: Path, movie_file: Path):
    labels = np.zeros((8, 160, 160), np.uint32)
    labels[:, 5:20, 5:20], labels[:, 60:80, 60:80] = 70_000, 70_000 - 65_536
    found = track(tmp_path, movie_file, labels, tracking_method="labels")
    assert found.dtype == np.uint32 and np.array_equal(found, labels)
    assert track(tmp_path, movie_file, labels).dtype == np.uint16  # two tracks need no more


def test_sizes_that_are_not_tracked_are_gone(tmp_path: Path, movie_file: Path):
    labels = np.zeros((8, 160, 160), np.uint16)
    labels[:, 5:8, 5:8], labels[:, 60:80, 60:80] = 1, 2
    assert np.array_equal(track(tmp_path, movie_file, labels, track_min_size=50) > 0, labels == 2)


def test_a_plugin_tracks(tmp_path: Path, movie_file: Path, movies: list):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/ours.py").write_text("def track_ours(labels):\n    return labels * 2\n")
    found = track(tmp_path, movie_file, movies[0].labels, tracking_method="plugin", plugins=tmp_path / "p")
    assert np.array_equal(found, movies[0].labels * 2)


def test_a_movie_without_cells(tmp_path: Path, movie_file: Path):
    assert not track(tmp_path, movie_file, np.zeros((8, 160, 160), np.uint16)).any()


def test_outlines_many_times_too_large_are_remarked():
    usual = [np.full(10, 50.0) for _ in range(6)]
    assert too_large(usual) == "" and too_large([np.array([900.0])]) == ""
    colony = [np.array([2000.0]), np.array([2500.0]), *usual]
    assert "more than 6 times as large as the usual cell (50 px): 2, in frame 0, 1." in too_large(colony)
