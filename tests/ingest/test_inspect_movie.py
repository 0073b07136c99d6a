"""Inspect movie: times, sizes and batches; what cannot be is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.core import plans
from voxelmill.testing.stages import record_of, run_stage


def inspect(folder: Path, source: Path, **params: object) -> int:
    return run_stage("ingest.inspect_movie", folder, source=source, facts="movie.json", batch_list="batches.csv", **params)


def test_facts_come_from_the_file(tmp_path: Path, movie_file: Path):
    assert inspect(tmp_path, movie_file, pc_channel=0, fl_channels="1", input="/data/run.ome.tif") == 0
    facts = json.loads((tmp_path / "movie.json").read_text())
    assert facts["base_name"] == "run" and facts["channel_names"] == ["phase", "GFP"]
    assert facts["pixel_size_um"] == 0.65 and facts["fovs"][1]["times"][:3] == [0, 7.5, 15]
    assert facts["chosen"] == [0, 1] and facts["pc_channel"] == 0 and facts["fl_channels"] == [1]
    assert [row["block"] for row in plans.read(tmp_path / "batches.csv")] == ["0-1"]
    assert record_of(tmp_path, "inspect_movie")["quality"]["times_from"] == "OME DeltaT of the planes"


@pytest.mark.parametrize(
    "given, times", [({"frame_interval": 4}, [0, 4, 8]), ({"frame_times": "0,1,5,6,7,8,9,11"}, [0, 1, 5])]
)
def test_times_of_the_user_win(tmp_path: Path, movie_file: Path, given: dict, times: list):
    assert inspect(tmp_path, movie_file, pc_channel=0, **given) == 0
    assert json.loads((tmp_path / "movie.json").read_text())["fovs"][0]["times"][:3] == times


def test_a_plain_tiff_is_one_channel_and_its_assumed_times_are_said(tmp_path: Path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((5, 64, 64), np.uint16), photometric="minisblack")
    assert inspect(tmp_path, tmp_path / "plain.tif", pc_channel=0) == 0
    facts = json.loads((tmp_path / "movie.json").read_text())
    assert facts["fovs"][0]["times"] == [0, 10, 20, 30, 40]
    assert "10 min apart" in record_of(tmp_path, "inspect_movie")["quality"]["notes"][0]


def test_batches_follow_the_choice(tmp_path: Path):
    from voxelmill.testing.movies import write_ome_tiff

    write_ome_tiff(tmp_path / "many.ome.tif", [np.zeros((2, 1, 8, 8), np.uint16)] * 5)
    assert inspect(tmp_path, tmp_path / "many.ome.tif", pc_channel=0, fovs="0,2-4", batch_size=3) == 0
    assert [row["block"] for row in plans.read(tmp_path / "batches.csv")] == ["0-3", "4-4"]


def test_the_key_of_a_batch_changes_with_its_files_alone(tmp_path: Path):
    """Frames of two positions; what is the same for all, `movie.json`, stays as it is."""
    for p, t in np.ndindex(2, 3):
        path = tmp_path / f"movie/pos{p}/img_{t:09d}_PC_000.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((16, 16), 1 + p + t, np.uint16))

    def looked(folder: str) -> tuple[list[str], bytes]:
        assert inspect(tmp_path / folder, tmp_path / "movie", pc_channel=0, batch_size=1) == 0
        rows = plans.read(tmp_path / folder / "batches.csv")
        return [row["files"] for row in rows], (tmp_path / folder / "movie.json").read_bytes()

    before, facts = looked("a")
    tifffile.imwrite(tmp_path / "movie/pos1/img_000000001_PC_000.tif", np.full((16, 16), 9, np.uint16))
    after, same = looked("b")
    assert after[0] == before[0] and after[1] != before[1] and same == facts


@pytest.mark.parametrize(
    "params, message",
    [
        ({"pc_channel": 5}, "there is no channel 5; the file has 0 phase, 1 GFP"),
        ({"pc_channel": 0, "fl_channels": "1,7"}, "there is no channel 7"),
        ({"pc_channel": 0, "fovs": "0-3"}, "field of view 3 is not there; there are 2, numbered 0-1"),
        ({"pc_channel": 0, "fovs": "1-0"}, "runs backwards; write 0-1"),
        ({"pc_channel": 0, "fovs": "a"}, "cannot read 'a'"),
        ({"pc_channel": "Phases"}, "there is no channel 'Phases'; the file has 0 phase, 1 GFP"),
        ({"pc_channel": 0, "frame_times": "0,1,2,3,4,5,7,6"}, "--frame_times does not rise: frame 6 is at 7 min"),
        ({"pc_channel": 0, "frame_times": "0,1,2,3,4,5,6,7,8"}, "--frame_times has 9 times for 8 frames"),
        ({}, "no channel was chosen; give --pc_channel, --fl_channels or both. The file has 0 phase, 1 GFP"),
        ({"pc_channel": 0, "frame_interval": 2, "frame_times": "0,1"}, "leave one out"),
        ({"pc_channel": 0, "frame_times": "0,1"}, "no time for frame 2"),
        ({"pc_channel": 0, "frame_interval": 0}, "--frame_interval '0': Input should be greater than 0"),
        ({"pc_channel": 0, "z_plane": 3}, "z_plane 3 is not there; field of view 0 has planes 0-0"),
        ({"pc_channel": 0, "batch_size": 0}, "--batch_size '0'"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, movie_file: Path, capsys: pytest.CaptureFixture, params: dict, message: str
):
    assert inspect(tmp_path, movie_file, **params) == 64
    assert message in capsys.readouterr().err
    assert not (tmp_path / "movie.json").exists()


def test_a_cut_off_file_is_refused(tmp_path: Path, movie_file: Path, capsys: pytest.CaptureFixture):
    whole = movie_file.read_bytes()
    (tmp_path / "cut.ome.tif").write_bytes(whole[: len(whole) // 2])
    assert inspect(tmp_path, tmp_path / "cut.ome.tif", pc_channel=0) == 65
    assert "cut" in capsys.readouterr().err
