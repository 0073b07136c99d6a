"""Clocks and units of movies: stamps that are bad, twice or begin again; steps, pixel sizes, a z-stack that is a movie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.ingest.movies.formats import open_movie
from voxelmill.ingest.movies.ranges import listed
from voxelmill.ingest.movies.times import mended
from voxelmill.testing.movies import run_timelapse
from voxelmill.timelapse.store import open_channel

from .test_movie_cases import CASES, counts, inspected, means


def test_each_field_of_view_has_its_own_clock(tmp_path):
    source = CASES / "clock" / "one_fov_without_times.ome.tif"
    code, facts = inspected(tmp_path, source, pc_channel=0)
    assert code == 0 and facts["fovs"][0]["times"] == [0, 1, 2, 3, 4, 5] and facts["fovs"][1]["times"] == [0]
    assert facts["notes"] == [] and facts["time_source"] == "OME TimeIncrement"


def write_stamped(path: Path, *seconds: list[float | None]) -> Path:
    """OME-TIFF with an image per list of DeltaT."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for stamps in seconds:
            told = [s for s in stamps if s is not None]
            plane = {"Plane": {"DeltaT": told, "DeltaTUnit": ["s"] * len(told)}} if told else {}
            file.write(counts(len(stamps), 8, 8), photometric="minisblack", metadata={"axes": "TYX", **plane})
    return path


def test_a_bad_stamp_is_named_and_the_step_kept(tmp_path):
    good = [60.0 * t for t in range(6)]
    bad = [*good[:3], 0.0, *good[4:]]
    source = write_stamped(tmp_path / "a.ome.tif", good, bad, [None] * 6)
    with open_movie(source) as movie:
        assert all(f.times == pytest.approx([0, 1, 2, 3, 4, 5]) for f in movie.fovs)
        assert movie.fovs[0].notes == ()
        assert movie.fovs[1].notes[0].startswith("bad time stamps of frame 3 (0 min)")
        assert "1 min apart, as in the other fields of view" in movie.fovs[2].notes[0]
    code, facts = inspected(tmp_path, source, pc_channel=0, fovs="0")
    assert code == 0 and facts["notes"] == []  # the others were not chosen


def test_two_frames_of_one_stamp_are_named(tmp_path):
    source = write_stamped(tmp_path / "a.ome.tif", [0.0, 60, 60, 120, 180, 180], [60.0 * t for t in range(6)])
    with open_movie(source) as movie:
        assert movie.fovs[0].times == pytest.approx([0, 1, 1, 2, 3, 3]) and movie.fovs[1].notes == ()
        assert movie.fovs[0].notes[0].startswith("bad time stamps: frame 2, 5 has the time of the one before it")
    times = inspected(tmp_path, source, pc_channel=0, fovs="0", frame_interval=2)[1]["fovs"][0]["times"]
    assert times == pytest.approx([0, 2, 4, 6, 8, 10])  # what is given counts


@pytest.mark.parametrize(
    ("times", "right", "bad", "starts"),
    [
        ([0, 10, 1e9, 30], [0, 10, 20, 30], [2], []),
        ([np.nan, 10, 20, 30], [0, 10, 20, 30], [0], []),
        ([0, 10, 20, -5], [0, 10, 20, 30], [3], []),
        ([0, 10, 0, 10], [0, 10, 20, 30], [], [2]),
        ([0, 10, 20, 0, 5, 10, 15], [0, 10, 20, 25, 30, 35, 40], [], [3]),  # the median step lies between
        ([0, 1, 2, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8], [], [3]),  # beyond where it was before
        ([0, 10, 20, 7, np.nan, 27, 2, 12], [0, 10, 20, 30, 40, 50, 60, 70], [4], [3, 6]),
        ([0, 10, 20, np.nan, 0, 99, 20, 30], [0, 10, 20, 30, 40, 50, 60, 70], [3, 5], [4]),
        ([0, 10, 20, 5, 15, 50, 60], [0, 10, 20, 30, 40, 50, 60], [3, 4], []),  # goes on where it would have been
        ([0, 10, 500, 510, 40, 50, 60], [0, 10, 20, 30, 40, 50, 60], [2, 3], []),
        ([0, 1, 60, 61, 62, 0, 120, 121, 122], [0, 1, 60, 61, 62, 91, 120, 121, 122], [5], []),  # pauses are no starts
        ([0, 1, 2, 3, 4, 64, 124, 184, 3], [0, 1, 2, 3, 4, 64, 124, 184, 185], [8], []),  # the step changes
        ([0, 60, 65, 3, 75, 80, 85], [0, 60, 65, 70, 75, 80, 85], [3], []),  # the pause is after the first
        ([0, 5, 15, 30, 60, np.nan, 240, 480], [0, 5, 15, 30, 60, 150, 240, 480], [5], []),
        ([0, 10, 20, 20, 29, 40, 50, 3], [0, 10, 15, 20, 29, 40, 50, 60], [2, 7], []),  # two alike are no start
    ],
)
def test_stamps_are_mended_by_their_neighbours(times, right, bad, starts):
    found = mended(np.array(times, float))
    assert found is not None and found[0].tolist() == right and found[1:] == (bad, starts)


def test_too_few_good_stamps_are_not_believed():
    assert mended(np.array([5.0, 4.0, 3.0, 2.0])) is None and mended(np.full(3, np.nan)) is None
    by_chance = np.random.default_rng(5)
    assert all(mended(by_chance.uniform(0, 100, 60)) is None for _ in range(20))


def test_a_clock_that_starts_again_keeps_its_steps_and_is_named(tmp_path):
    twice = [0.0, 120, 240, 0, 120, 240]
    with open_movie(write_stamped(tmp_path / "a.ome.tif", twice, [None] * 6)) as movie:
        assert all(f.times == pytest.approx([0, 2, 4, 6, 8, 10]) for f in movie.fovs)
        assert movie.fovs[0].notes[0].startswith("its clock starts again at frame 3 (0 min): the pause before is not in the")
        assert "2 min apart, as in the other fields of view" in movie.fovs[1].notes[0]

    def frames(minutes):
        folder = tmp_path / f"frames_{len(minutes)}"
        folder.mkdir()
        for t, one in enumerate(minutes):
            name = f"img_t{t}_{one // 1440:02d}d{one // 60 % 24:02d}h{one % 60:02d}m.tif"
            tifffile.imwrite(folder / name, np.full((8, 8), t, np.uint16))
        return folder

    with open_movie(frames([0, 2, 4, 0, 2, 4])) as movie:
        assert movie.fovs[0].times == pytest.approx([0, 2, 4, 6, 8, 10]) and "names" in movie.time_source
        assert any("clock starts again at frame 3" in note for note in movie.notes_of([0]))
    widening = [0, 1, 2, 4, 8, 16, 64, 1440, 9000]  # what rises needs no steps that are alike
    with open_movie(frames(widening)) as movie:
        assert movie.fovs[0].times == pytest.approx(widening)


def test_numbers_are_listed_in_runs():
    assert listed([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9, 10" and listed([]) == ""


def test_each_field_of_view_has_its_own_pixel_size_and_order_of_channels(tmp_path):
    source = CASES / "clock" / "two_fovs_other_pixel_and_channel_order.ome.tif"
    code, facts = inspected(tmp_path, source, pc_channel="Phase", fl_channels="GFP")
    assert code == 0 and [f["pixel_size_um"] for f in facts["fovs"]] == [0.3, 0.6]
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel="Phase", fl_channels="GFP") == 0
    for name in ("pc_ch_0", "fl_ch_1"):  # both fields of view hold the same counts
        first, second = (open_channel(tmp_path / "movie", fov, name) for fov in (0, 1))
        a, b = first.read(), second.read()
        assert a.max() == (b.max()) and second.scale[1:] == (600, 600) and first.scale[1:] == (300, 300)
    stored = [tifffile.imread(source, series=s) for s in (0, 1)]
    assert np.array_equal(open_channel(tmp_path / "movie", 1, "pc_ch_0").read(), stored[1][:, 1])


def test_pixel_sizes_that_round_alike_are_one(tmp_path):
    with open_movie(CASES / "clock" / "two_fovs_other_pixel_and_channel_order.ome.tif") as movie:
        assert movie.describe([])["pixel_size_um"] is None and movie.describe()["pixel_size_um"] is None
        for size, one in ((0.3002, 0.3), (0.304, None), (None, None)):
            movie.fovs = (movie.fovs[0], replace(movie.fovs[1], pixel_size_um=size))
            assert movie.describe()["pixel_size_um"] == one


@pytest.mark.parametrize(
    ("tunit", "step"), [("sec", 2), ("minutes", 120), ("min", 120), ("hours", 7200), ("hr", 7200), ("msec", 0.002), ("", 2)]
)
def test_imagej_units(tmp_path, tunit, step):
    told = {"axes": "TYX", "finterval": 120.0, "unit": "microns"} | ({"tunit": tunit} if tunit else {})
    tifffile.imwrite(tmp_path / "a.tif", counts(3, 8, 8), imagej=True, resolution=(2, 2), metadata=told)
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.fovs[0].times == pytest.approx([0, step, 2 * step])
        assert movie.pixel_size_um == pytest.approx(0.5)


def test_unknown_units_are_said(tmp_path):
    told = {"axes": "TYX", "finterval": 120.0, "unit": "pixel", "tunit": "frame"}
    tifffile.imwrite(tmp_path / "a.tif", counts(3, 8, 8), imagej=True, resolution=(2, 2), metadata=told)
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.pixel_size_um is None
        said = " ".join(movie.notes_of([0]))
        assert "'pixel', which is no length" in said and "'frame', which is no time" in said


# ---- frames by other names -----------------------------------------------------------------------


def test_a_z_stack_that_is_a_movie(tmp_path, capsys):
    source = CASES / "ij_z_as_t.tif"
    assert inspected(tmp_path, source, pc_channel=0)[0] == 64
    assert "--z_is_time if they are the frames of a movie" in capsys.readouterr().err
    code, facts = inspected(tmp_path, source, pc_channel=0, z_is_time=True, frame_interval=5)
    assert code == 0 and facts["fovs"][0]["times"] == [0, 5, 10, 15, 20, 25]
    assert run_timelapse(tmp_path, source, upto="copy_movie", pc_channel=0, z_is_time=True) == 0
    assert np.array_equal(open_channel(tmp_path / "movie", 0, "pc_ch_0").read(), tifffile.imread(source))
    both = CASES / "czi_home_z.czi"
    pytest.importorskip("pylibCZIrw")
    assert inspected(tmp_path, both, pc_channel=0, z_is_time=True)[0] == 64


def test_positions_in_folders_and_metadata_of_micro_manager(tmp_path):
    told = {"Summary": {"ChNames": ["Phase"], "Interval_ms": 60000}}
    for p in range(2):
        (tmp_path / f"Pos{p}").mkdir()
        for t in range(3):
            tifffile.imwrite(tmp_path / f"Pos{p}" / f"img_{t:09d}_Default_000.tif", np.full((8, 8), 10 * p + t, np.uint16))
            told[f"FrameKey-{t}-0-0"] = {"ElapsedTime-ms": 120_000 * t + p, "FrameIndex": t, "PixelSizeUm": 0.65}
        (tmp_path / f"Pos{p}" / "metadata.txt").write_text(json.dumps(told))
    with open_movie(tmp_path) as movie:
        assert [f.name for f in movie.fovs] == ["Pos0", "Pos1"] and means(movie, 1) == [10, 11, 12]
        assert movie.fovs[0].times == pytest.approx([0, 2, 4]) and movie.pixel_size_um == 0.65


def test_the_step_by_the_file_s_own_word_is_kept_where_there_are_no_stamps(tmp_path):
    (tmp_path / "frames").mkdir()
    for t in range(3):
        tifffile.imwrite(tmp_path / "frames" / f"img_{t:09d}_Default_000.tif", np.full((8, 8), t, np.uint16))
    (tmp_path / "frames" / "metadata.txt").write_text(json.dumps({"Summary": {"Interval_ms": 90_000}}))
    told = {"axes": "ZYX", "finterval": 90.0, "tunit": "sec"}
    tifffile.imwrite(tmp_path / "z.tif", counts(3, 8, 8), imagej=True, metadata=told)
    for path, z_is_time in ((tmp_path / "frames", False), (tmp_path / "z.tif", True)):
        with open_movie(path, z_is_time=z_is_time) as movie:
            assert movie.fovs[0].times.tolist() == [0, 1.5, 3] and "own word" in movie.time_source
            assert not any("usable times" in note for note in movie.notes_of([0]))
