"""Segment cells: every method finds the made cells; plug-ins and preprocessors; frames with nothing to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.inference.track_cells import load_tracks
from voxelmill.testing.movies import run_timelapse, write_ome_tiff
from voxelmill.testing.stages import record_of
from voxelmill.testing.timelapse import make_movie
from voxelmill.testing.timelapse_score import segmentation
from voxelmill.timelapse.store import open_channel

PLUGIN = """import numpy as np
from scipy import ndimage
def segment_dark(image):
    return ndimage.label(ndimage.gaussian_filter(image.astype(float), 2) < np.median(image) - 300)[0]
"""


def segment(folder: Path, source: Path, **params: object) -> int:
    return run_timelapse(folder, source, upto="segment_cells", pc_channel=0, **params)  # type: ignore[arg-type]


def quality(folder: Path) -> dict:
    return record_of(folder, "segment_cells")["quality"]


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/dark.py").write_text(PLUGIN)
    return tmp_path / "plugins"


@pytest.mark.parametrize("method, least", [("cells", 0.9), ("logstd", 0.5)])
def test_cells_are_found(tmp_path: Path, movie_file: Path, movies: list, method: str, least: float):
    assert segment(tmp_path, movie_file, segmentation_method=method, fovs="0") == 0
    image = open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0")
    assert image.dtype == np.uint16
    assert segmentation(movies[0].labels, image.read())["f1_50"] >= least
    assert quality(tmp_path)["method"] == method


@pytest.mark.parametrize("method", ["cells", "logstd"])
def test_cells_that_are_visibly_apart_never_share_a_label(tmp_path: Path, method: str):
    """A crowded movie with many divisions: each label is one piece in its frame, and daughters are two cells."""
    import cc3d

    made = make_movie("dense", frames=13, size=240, channels=0, seed=8, divide=0.1)
    source = write_ome_tiff(tmp_path / "m.ome.tif", [made.phase[:, None]])
    given = {"pc_channel": 0, "segmentation_method": method}
    assert run_timelapse(tmp_path, source, upto="track_cells", **given) == 0
    for frame in open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read():
        pieces = cc3d.connected_components(frame, connectivity=8, return_N=True)[1]
        assert pieces == frame.max() == len(np.unique(frame)) - 1
    tracks = load_tracks(tmp_path / "tracked" / "fov_000" / "tracks.npz")
    place = {(int(n["track_id"]), int(n["frame"])): (n["y"], n["x"]) for n in tracks.nodes}
    last = {int(row["track_id"]): int(row["last"]) for row in tracks.tracks}
    born = [row for row in tracks.tracks if row["parent"]]
    assert born
    for row in born:  # a daughter begins no farther from her mother than a cell's width
        mother = int(row["parent"])
        here, there = place[int(row["track_id"]), int(row["first"])], place[mother, last[mother]]
        assert np.hypot(*np.subtract(here, there)) < 36


def test_a_plugin_is_a_method(tmp_path: Path, movie_file: Path, plugins: Path):
    assert segment(tmp_path, movie_file, plugins=plugins, segmentation_method="plugin", fovs="0") == 0
    frame = open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read(0)
    assert set(np.unique(frame)) == set(range(frame.max() + 1)) and np.bincount(frame.ravel()).min() >= 50


def test_preprocessors_come_first(tmp_path: Path, movie_file: Path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/blank.py").write_text("def preprocess_blank(image):\n    return image * 0\n")
    assert segment(tmp_path, movie_file, plugins=tmp_path / "p", fovs="0") == 0
    assert quality(tmp_path)["preprocessors"] == ["blank"] and quality(tmp_path)["empty_frames"] == {
        "field of view 0": "frame 0-7"
    }


def test_a_plugin_that_raises_is_named(tmp_path: Path, movie_file: Path, plugins: Path, capsys: pytest.CaptureFixture):
    (plugins / "dark.py").write_text(
        "def segment_dark(image):\n    if image.shape[0] > 24:\n"
        "        raise IndexError('oh')\n    return (image > 200).astype('uint16')\n"
    )
    assert segment(tmp_path, movie_file, plugins=plugins, segmentation_method="plugin") == 64
    said = capsys.readouterr().err
    assert "plug-in 'dark'" in said and "raised IndexError: oh" in said


@pytest.mark.parametrize(
    "params, message",
    [
        ({"segmentation_method": "plugin"}, "--segmentation_plugin '': the folder of --plugins has none"),
        ({"segmentation_method": "plugin", "segmentation_plugin": "x"}, "has dark of this kind"),
        ({"min_object_size": 500, "max_object_size": 100}, "--min_object_size 500 is above --max_object_size 100"),
        ({"segmentation_method": "cellpose"}, "expected one of cells, logstd, plugin"),
        ({"halo_width": 3}, "--halo_width '3' has no use with --segmentation_method cells; it belongs to logstd"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, movie_file: Path, plugins: Path, params: dict, message: str, capsys: pytest.CaptureFixture
):
    given = plugins if params.get("segmentation_plugin") else None
    assert segment(tmp_path, movie_file, plugins=given, fovs="0", **params) == 64
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["cells", "logstd"])
def test_small_blank_and_saturated_frames(tmp_path: Path, method: str):
    """64 x 64 px, five frames, two of them without anything to see: no cells there, no error."""
    stack = np.random.default_rng(0).normal(20_000, 150, (5, 1, 64, 64)).astype(np.uint16)
    stack[1], stack[3] = 0, 65535
    source = write_ome_tiff(tmp_path / "m.ome.tif", [stack])
    assert segment(tmp_path, source, segmentation_method=method) == 0
    labels = open_channel(tmp_path / "labels", 0, "seg_labeled_ch_0").read()
    assert not labels[1].any() and not labels[3].any()
    assert quality(tmp_path)["empty_frames"]["field of view 0"].startswith("frame ")
    assert quality(tmp_path)["per_fov"]["0"]["empty_frames"] >= 2


@pytest.mark.parametrize("method", ["cells", "logstd"])
@pytest.mark.parametrize(("limits", "said"), [({}, ""), ({"max_object_size": 500}, "larger than --max_object_size 500 px")])
def test_cells_that_are_lost_by_their_size_are_said(tmp_path: Path, method: str, limits: dict, said: str):
    source = write_ome_tiff(tmp_path / "m.ome.tif", [make_movie("sparse", frames=1, size=256, seed=3).phase[:, None]])
    assert segment(tmp_path, source, segmentation_method=method, **limits) == 0
    notes = " ".join(quality(tmp_path).get("notes", []))
    assert said in notes and ("give more if these are cells" in notes) == bool(limits), notes


def test_small_cells_that_are_lost_are_said(tmp_path: Path):
    source = write_ome_tiff(tmp_path / "m.ome.tif", [make_movie("sparse", frames=1, size=256, seed=3).phase[:, None]])
    assert segment(tmp_path, source, min_object_size=800) == 0
    assert "smaller than --min_object_size 800 px" in " ".join(quality(tmp_path)["notes"])
