"""Estimate background: near the true one, never NaN, with cells left out, by plug-in too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.testing.movies import run_timelapse, write_ome_tiff
from voxelmill.testing.stages import record_of
from voxelmill.timelapse.store import open_channel


def test_it_is_near_the_truth(stages: Path, movies: list):
    for fov, movie in enumerate(movies):
        found = open_channel(stages / "background", fov, "fl_background_ch_1")
        assert found.dtype == np.float32 and found.shape == movie.phase.shape
        assert np.sqrt(((found.read() - movie.background[0]) ** 2).mean()) <= 3


def test_without_labels_it_is_said(tmp_path: Path, movie_file: Path):
    """Fluorescence only: nothing can be left out."""
    for step in ("copy_movie",):
        assert run_timelapse(tmp_path, movie_file, upto=step, fl_channels="1") == 0
    from voxelmill.testing.stages import run_stage

    assert (
        run_stage(
            "transform.estimate_background", tmp_path, movie="movie", facts="movie.json", batch="0-1", output="background"
        )
        == 0
    )
    assert "No cells were looked for" in record_of(tmp_path, "estimate_background")["quality"]["notes"][0]
    assert np.isfinite(open_channel(tmp_path / "background", 0, "fl_background_ch_1").read()).all()


def test_small_frames_and_full_ones(tmp_path: Path):
    """64 x 64 px; a cell that fills its frame: the background comes from the frames around, and that is said."""
    green = np.random.default_rng(0).normal(300, 5, (5, 1, 64, 64)).astype(np.uint16)
    source = write_ome_tiff(tmp_path / "m.ome.tif", [np.concatenate([green, green], 1)])
    labels = np.zeros((5, 64, 64), np.uint16)
    labels[2] = 1
    np.save(tmp_path / "l.npy", labels)
    assert (
        run_timelapse(
            tmp_path, source, upto="estimate_background", detections=tmp_path / "l.npy", pc_channel=0, fl_channels="1"
        )
        == 0
    )
    found = open_channel(tmp_path / "background", 0, "fl_background_ch_1").read()
    assert abs(found - 300).max() < 6
    assert record_of(tmp_path, "estimate_background")["quality"]["per_fov"]["0"]["ch_1"]["frames_borrowed"] == [2]


def test_a_plugin_estimates(tmp_path: Path, movie_file: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/flat.py").write_text(
        "import numpy as np\ndef estimate_flat(image, labels):\n    return np.full(image.shape, 7.0)\n"
    )
    how = {
        "upto": "estimate_background",
        "detections": movie_file.with_name("run.labels.npz"),
        "pc_channel": 0,
        "fl_channels": "1",
        "background_method": "plugin",
    }
    assert run_timelapse(tmp_path, movie_file, plugins=tmp_path / "p", background_plugin="flat", **how) == 0  # type: ignore[arg-type]
    assert (open_channel(tmp_path / "background", 0, "fl_background_ch_1").read() == 7).all()
    assert run_timelapse(tmp_path, movie_file, background_plugin="flat", **how) == 64  # type: ignore[arg-type]
    assert "--background_plugin 'flat': no such plug-in" in capsys.readouterr().err
