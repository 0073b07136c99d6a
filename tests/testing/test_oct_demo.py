"""The demo of serial sections: made once, read back, scored."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import ndimage
from voxelmill.cli import main
from voxelmill.core.errors import DataError
from voxelmill.testing import oct_demo
from voxelmill.testing.oct import Acquisition
from voxelmill.testing.stages import make_store

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


def test_the_truth_itself_is_right_also_when_it_lies_turned(tmp_path: Path):
    """The whole block, turned by 0.4 degrees about its middle: tiles where they are, planes on each other."""
    made = Acquisition(slices=1, grid=(1, 2), tile=(16, 96, 96), seed=3)
    oct_demo.make(tmp_path / "made", made)
    placed = tmp_path / "out/stitch_3d_with_refinement/slice_z00_tiles.csv"
    placed.parent.mkdir(parents=True)
    rows = [f"{n},0,{n},{y},{x},1" for n, (y, x) in enumerate(made.positions(0).tolist())]
    placed.write_text("\n".join(["tile,mx,my,y,x,quality", *rows, ""]))
    volume = ndimage.rotate(made.block, 0.4, axes=(1, 2), reshape=False, order=3, mode="nearest").clip(1e-3)
    (tmp_path / "out/stack").mkdir()
    make_store(tmp_path / "out/stack/a.ome.zarr", volume, shard=(16, 256, 256), chunk=(16, 128, 128))
    said = {line.split()[0]: line for line in oct_demo.scores(oct_demo.read(tmp_path / "made"), tmp_path / "out")}
    assert said["slices"] == "slices   1 of 1" and " 0.00 px RMS" in said["tiles"]
    assert float(said["planes"].split()[1]) < 0.1
    assert "truth 0.99" in said["tissue"] or "truth 1.00" in said["tissue"], said
