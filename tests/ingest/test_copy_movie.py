"""Copy movie: the same counts, the right scale; an unreadable field of view is left out, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.testing.movies import run_timelapse, spoil_page, stack_of, write_ome_tiff
from voxelmill.testing.stages import record_of
from voxelmill.timelapse.store import channel_path, fovs_in, open_channel, saturated_at


def test_counts_and_scale_are_the_files(stages: Path, movies: list):
    for fov, movie in enumerate(movies):
        phase, green = (open_channel(stages / "movie", fov, name) for name in ("pc_ch_0", "fl_ch_1"))
        assert np.array_equal(phase.read(), movie.phase) and np.array_equal(green.read(), movie.fluorescence[0])
        assert phase.scale == pytest.approx((7.5, 650, 650))


def test_only_what_was_chosen(tmp_path: Path, movie_file: Path):
    assert run_timelapse(tmp_path, movie_file, upto="copy_movie", fl_channels="1", fovs="1") == 0
    assert fovs_in(tmp_path / "movie") == [1]
    assert [p.name for p in sorted((tmp_path / "movie/fov_001/images.zarr").iterdir())] == ["fl_ch_1", "zarr.json"]


def bad_movie(folder: Path, movies: list) -> Path:
    """Frame 2 of the second of two fields of view cannot be read."""
    path = write_ome_tiff(folder / "bad.ome.tif", [stack_of(m) for m in movies], compression="zlib")
    spoil_page(path, 16 + 2 * 2)
    return path


def test_a_bad_fov_is_left_out(tmp_path: Path, movies: list):
    assert run_timelapse(tmp_path, bad_movie(tmp_path, movies), upto="copy_movie", pc_channel=0, fl_channels="1") == 0
    assert fovs_in(tmp_path / "movie") == [0]
    (reason,) = record_of(tmp_path, "copy_movie")["left_out"].values()
    assert "field of view 1, frame 2, channel 0: cannot be read" in reason and "copy it again" in reason


@pytest.mark.parametrize("params", [{"strict": True}, {"fovs": "1"}])
def test_it_ends_the_run_when_strict_or_alone(tmp_path: Path, movies: list, params: dict, capsys: pytest.CaptureFixture):
    assert run_timelapse(tmp_path, bad_movie(tmp_path, movies), upto="copy_movie", pc_channel=0, **params) == 65
    assert "field of view 1, frame 2" in capsys.readouterr().err
    assert not (tmp_path / "movie").exists()


def test_blank_and_saturated_frames_are_counted(tmp_path: Path):
    stack = np.random.default_rng(0).integers(0, 9999, (5, 1, 64, 64)).astype(np.uint16)
    stack[1], stack[3] = 0, 65535
    source = write_ome_tiff(tmp_path / "m.ome.tif", [stack])
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0) == 0
    assert record_of(tmp_path, "copy_movie")["quality"]["per_fov"]["0"] == {
        "blank_frames": 1,
        "saturated_frames": 1,
        "repeated_frames": 0,
    }


def quality_of(tmp_path: Path, stack: np.ndarray) -> dict:
    """What `copy_movie` records of a movie (t, c, y, x) of phase contrast and GFP."""
    source = write_ome_tiff(tmp_path / "m.ome.tif", [stack])
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0, fl_channels="1") == 0
    return record_of(tmp_path, "copy_movie")["quality"]


def test_frames_that_are_earlier_ones_again_are_named(tmp_path: Path):
    """GFP stands still at frames 2 and 3, and is frame 1 once more at 6; blank frames are blank, and no more."""
    stack = np.random.default_rng(0).integers(0, 9999, (8, 2, 64, 64)).astype(np.uint16)
    stack[2:4, 1], stack[6, 1], stack[5:7, 0] = stack[1, 1], stack[1, 1], 0
    quality = quality_of(tmp_path, stack)
    assert quality["per_fov"]["0"] == {"blank_frames": 2, "saturated_frames": 0, "repeated_frames": 3}
    blank, repeated = quality["notes"]
    assert blank == "Channel 0 (phase) is blank at frame 5, 6: not measured there."
    assert repeated.startswith("Channel 1 (GFP) repeats an earlier frame, pixel for pixel, at frame 2, 3, 6: ")


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_saturation_is_that_of_the_camera(tmp_path: Path, bits: int):
    """Frame 1 of GFP is saturated throughout, of frame 3 a corner is; phase contrast may be cut off."""
    top = 2**bits - 1
    stack = np.random.default_rng(0).integers(0, top // 2, (5, 2, 64, 64)).astype(np.uint16)
    stack[1, 1], stack[3, 1, :5, :5], stack[:, 0, :9] = top, top, top
    quality = quality_of(tmp_path, stack)
    assert quality["per_fov"]["0"] == {"blank_frames": 0, "saturated_frames": 1, "repeated_frames": 0}
    first, second = quality["notes"]
    assert first == "Channel 1 (GFP) is saturated at frame 1: not measured there."
    assert second.startswith(f"Channel 1 (GFP) has pixels at the end of its range ({top}) at frame 3: ")
    assert saturated_at(channel_path(tmp_path / "movie", 0, "fl_ch_1")) == top


def test_fovs_may_differ_in_size_and_length(tmp_path: Path, movies: list):
    """As the scenes of a CZI do: each keeps its own, through all stages."""
    stacks = [stack_of(movies[0]), stack_of(movies[1])[:5, :, :64, :96]]
    source = write_ome_tiff(tmp_path / "m.ome.tif", stacks)
    assert run_timelapse(tmp_path, source, pc_channel=0, fl_channels="1") == 0
    for fov, stack in enumerate(stacks):
        for name, channel in (("pc_ch_0", 0), ("fl_ch_1", 1)):
            assert np.array_equal(open_channel(tmp_path / "published", fov, name).read(), stack[:, channel])
        assert open_channel(tmp_path / "published", fov, "seg_tracked_ch_0").shape == stack[:, 0].shape
