"""The demo of serial sections: made once, read back, scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.cli import main
from voxelmill.core.errors import DataError
from voxelmill.testing import oct_demo
from voxelmill.testing.oct import Acquisition

SMALL = Acquisition(slices=2, grid=(1, 2), tile=(8, 16, 16), rehomed={1: (3.0, 0.0)})


def test_what_was_made_is_read_back_and_not_made_again(tmp_path: Path):
    oct_demo.make(tmp_path / "made", SMALL)
    tile = tmp_path / "made/raw/z01/tile_x00_y01_z01/info.txt"
    before = tile.stat().st_mtime_ns
    oct_demo.make(tmp_path / "made", SMALL)
    assert tile.stat().st_mtime_ns == before
    assert oct_demo.read(tmp_path / "made") == SMALL


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="holds something else"):
        oct_demo.make(tmp_path, SMALL)


def test_results_that_are_none_are_refused(tmp_path: Path, capsys):
    assert main(["score-oct", str(tmp_path), str(tmp_path)]) == 65
    assert "no truth.json" in capsys.readouterr().err
    oct_demo.make(tmp_path / "made", SMALL)
    with pytest.raises(DataError, match="0 tables of tiles, 0 volumes"):
        oct_demo.scores(SMALL, tmp_path)
