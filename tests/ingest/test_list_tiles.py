"""List tiles: the table, shifts as the stage has them, and every bad input: left out by name, or refused in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import plans, shifts
from voxelmill.ingest.tiles.oct import read_table
from voxelmill.testing import oct
from voxelmill.testing.stages import record_of, run_stage

MADE = oct.Acquisition(
    slices=3, missing=(1,), grid=(3, 2), tile=(6, 12, 10), thickness=2, surface=1.0, n_extra=4, galvo_shift=3, drift=1.0
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oct.write_raw(tmp_path_factory.mktemp("oct") / "raw", MADE)


@pytest.fixture
def source(raw: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw, tmp_path / "raw"))


def listed(folder: Path, source: Path, **more: object) -> int:
    out = {"tiles": "tiles.csv", "of_slices": "slices", "slice_list": "slices.csv", "tables": "published"}
    return run_stage("ingest.list_tiles", folder, source=source, input="raw", **out, **more)


def change(source: Path, tile: str, old: str, new: str) -> None:
    (path,) = source.rglob(f"{tile}/info.txt")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_table_tasks_and_shifts(tmp_path: Path, raw: Path):
    assert listed(tmp_path, raw) == 0
    tiles = read_table(tmp_path / "tiles.csv")
    assert [(t.slice, t.mx, t.my) for t in tiles[:3]] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)] and len(tiles) == 12
    assert tiles[0].shape(False) == MADE.tile and tiles[0].shape(True) == (6, 10, 12)
    assert [(row["id"], row["slice"]) for row in plans.read(tmp_path / "slices.csv")] == [("z00", "0"), ("z02", "2")]
    assert read_table(tmp_path / "slices/z02.csv") == tiles[6:]
    (found,) = shifts.read(tmp_path / "published/shifts_xy.csv")
    (truth,) = MADE.shifts()
    assert found[:2] == (0, 2) and found.reliable
    assert found[2:4] == pytest.approx((truth["x_shift_mm"], truth["y_shift_mm"]), abs=2e-6)
    assert "notes" not in record_of(tmp_path, "list_tiles")["quality"]


def test_the_key_of_a_slice_changes_with_its_files_alone(tmp_path: Path, source: Path):
    def key(slice: str, folder: str) -> list[object]:
        assert listed(tmp_path / folder, source) == 0
        rows = {row["id"]: row["files"] for row in plans.read(tmp_path / folder / "slices.csv")}
        return [rows[slice], (tmp_path / folder / f"slices/{slice}.csv").read_bytes()]

    before = key("z00", "a"), key("z02", "a")
    path = next(source.glob("z00/tile_x01_y01_z00/*.bin"))
    os.utime(path, ns=(0, 0))
    (path.parent / "preview.png").touch()  # no part of the tile
    assert key("z02", "b") == before[1]
    assert key("z00", "b")[0] != before[0][0] and key("z00", "b")[1] == before[0][1]
    shutil.rmtree(source / "z00")  # as good as a slice more or less
    assert key("z02", "c") == before[1]


def test_the_old_structure_and_slices_of_three_digits(tmp_path: Path):
    made = oct.Acquisition(slices=102, missing=tuple(range(100)), grid=(1, 1), tile=(4, 6, 6), thickness=1, drift=0.1)
    source = oct.write_raw(tmp_path / "flat", made, nested=False)
    assert listed(tmp_path, source, use_old_folder_structure=True) == 0
    assert [row["id"] for row in plans.read(tmp_path / "slices.csv")] == ["z100", "z101"]


def test_a_slice_that_has_a_row_more_begins_earlier_and_is_not_reliable(tmp_path: Path, source: Path):
    for tile in ("tile_x00_y00_z00", "tile_x00_y01_z00"):
        shutil.rmtree(source / "z00" / tile)
    assert listed(tmp_path, source) == 0
    (found,) = shifts.read(tmp_path / "published/shifts_xy.csv")
    step = MADE.step[0] * MADE.voxel_um[1] / 1000
    assert not found.reliable and found.x == pytest.approx(MADE.shifts()[0]["x_shift_mm"] + step, abs=2e-6)


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("nx: 12", "nx: many", "z02/tile_x01_y00_z02/info.txt: nx is 'many'; expected a whole number"),
        ("width: 120", "wide: 120", "z02/tile_x01_y00_z02/info.txt: no width in it; expected a line `width: NUMBER`"),
        ("stage_x_pos_mm: ", "stage_x_pos_mm: nan", "stage_x_pos_mm is 'nan20"),
        ("bottom_z: 5", "bottom_z: -1", "bottom_z -1, width 120, height 100; expected a size above 0 along all axes"),
        ("nx: 12", "nx: 14", "(6, 14, 4, 10, 120.0, 100.0); expected (6, 12, 4, 10, 120.0, 100.0), as most of its slice"),
    ],
)
def test_a_bad_tile_is_left_out_and_refused_under_strict(tmp_path: Path, source: Path, old: str, new: str, why: str, capsys):
    change(source, "tile_x01_y00_z02", old, new)
    assert listed(tmp_path, source) == 0
    left = record_of(tmp_path, "list_tiles")["left_out"]
    assert list(left) == ["z02/tile_x01_y00_z02"] and why in left["z02/tile_x01_y00_z02"]
    assert len(read_table(tmp_path / "tiles.csv")) == 11
    assert listed(tmp_path, source, strict=True) == 65
    assert why in capsys.readouterr().err


def test_a_colon_in_a_value_harms_nothing(tmp_path: Path, source: Path):
    change(source, "tile_x00_y00_z00", "n_repeat: 1", "started: 12:30: by hand")
    change(source, "tile_x01_y00_z00", "width: 120", "width: 120.04")  # written with fewer digits elsewhere
    assert listed(tmp_path, source) == 0 and not record_of(tmp_path, "list_tiles")["left_out"]


def test_the_usual_size_is_that_of_most_in_however_many_digits(tmp_path: Path, source: Path):
    tiles = sorted(path.name for path in source.rglob("tile_x*_z00"))
    for n, tile in enumerate(tiles[1:]):
        change(source, tile, "width: 120", f"width: {120.01 + n / 100}")
    change(source, tiles[0], "nx: 12", "nx: 14")
    assert listed(tmp_path, source) == 0
    assert list(record_of(tmp_path, "list_tiles")["left_out"]) == [f"z00/{tiles[0]}"]


def test_info_and_tiles_that_are_not_there(tmp_path: Path, source: Path):
    (source / "z00/tile_x02_y01_z00/info.txt").unlink()
    shutil.rmtree(source / "z02/tile_x01_y01_z02")
    assert listed(tmp_path, source) == 0
    left = record_of(tmp_path, "list_tiles")["left_out"]
    assert set(left) == {"z00/tile_x02_y01_z00", "tile_x01_y01_z02"}
    assert "no such file; expected one beside the B-scans" in left["z00/tile_x02_y01_z00"]
    assert left["tile_x01_y01_z02"] == "no such tile"


def test_a_slice_without_any_tile_is_named(tmp_path: Path, source: Path):
    for path in source.glob("z02/*/info.txt"):
        path.write_text("nothing of use")
    assert listed(tmp_path, source) == 0
    left = record_of(tmp_path, "list_tiles")["left_out"]
    assert len(left) == 7 and left["z02"] == "none of its 6 tiles has a usable info.txt"


def test_two_folders_for_one_tile_are_refused(tmp_path: Path, source: Path, capsys):
    shutil.copytree(source / "z00/tile_x01_y00_z00", source / "again/tile_x1_y0_z0")
    assert listed(tmp_path, source) == 65
    assert "raw: again/tile_x1_y0_z0 and z00/tile_x01_y00_z00 are one tile; expected one folder" in capsys.readouterr().err


def test_no_tiles(tmp_path: Path, source: Path, capsys):
    assert listed(tmp_path, source, use_old_folder_structure=True) == 65
    assert "tiles lie in folders in it, none directly; give --use_old_folder_structure false" in capsys.readouterr().err
    shutil.rmtree(source)
    (source / "a").mkdir(parents=True)
    assert listed(tmp_path, source) == 65
    assert "raw: no tiles in it; expected folders tile_x<X>_y<Y>_z<Z> with info.txt" in capsys.readouterr().err
    (source / "a/scan.oct").touch()
    assert listed(tmp_path, source) == 65
    assert "raw: Thorlabs .oct files are not read; convert them" in capsys.readouterr().err
    oct.write_raw(source, MADE)
    for path in source.rglob("info.txt"):
        path.write_text("nothing\n")
    assert listed(tmp_path, source) == 65
    assert "raw: none of 12 tiles has a usable info.txt; the first: z00/tile_x00_y00_z00/info.txt" in capsys.readouterr().err


def spread(source: Path, axis: str, f: object) -> None:
    """Stage positions of slice 0 along an axis, changed."""
    for path in source.glob("z00/*/info.txt"):
        rows = [line.partition(": ") for line in path.read_text().splitlines()]
        key = f"stage_{axis}_pos_mm"
        at = {"x": int(path.parent.name[6:8]), "y": int(path.parent.name[10:12])}
        text = [f"{k}{c}{f(float(v), at):.6f}" if k == key else f"{k}{c}{v}" for k, c, v in rows]  # type: ignore[operator]
        path.write_text("\n".join(text) + "\n")


@pytest.mark.parametrize(
    "axis, f, said",
    [
        ("x", lambda v, at: 20 + 0.5 * at["x"], "slice 0: tiles lie 0.500 mm apart along x and show 0.120 mm: no overlap"),
        ("y", lambda v, at: 30 - 0.05 * at["y"], "slice 0: stage y falls as tile y grows; shifts between slices may have"),
        ("x", lambda v, at: v + 0.09 * (at["x"] == 1 and at["y"] == 0), "mm beside its place in a regular grid, along x"),
    ],
)
def test_odd_places_are_said_and_refused_under_strict(tmp_path: Path, source: Path, axis: str, f: object, said: str, capsys):
    spread(source, axis, f)
    assert listed(tmp_path, source) == 0
    (note,) = record_of(tmp_path, "list_tiles")["quality"]["notes"]
    assert said in note
    assert listed(tmp_path, source, strict=True) == 65
    assert "--strict false goes on all the same" in capsys.readouterr().err


def test_pixels_of_a_tile_are_checked_against_its_info(raw: Path, tmp_path: Path):
    from voxelmill.core.errors import DataError
    from voxelmill.ingest.tiles.oct import acquired, read_info, read_tile

    source = Path(shutil.copytree(raw, tmp_path / "raw"))
    tile = read_info(source, "z00/tile_x00_y00_z00")
    whole = read_tile(source, tile)
    assert np.array_equal(whole, oct.recorded(MADE, MADE.pixels(0, 0)))
    first, last = sorted((source / tile.folder).glob("*.bin"))
    first.write_bytes(np.full(6 * 16 * 5, np.nan, "<f4").tobytes())
    values, lost = acquired(read_tile(source, tile))
    assert not values[:, :, :5].any() and np.array_equal(values[:, :, 5:], whole[:, :, 5:]) and lost == 6 * 16 * 5
    last.write_bytes(last.read_bytes()[:-4])
    with pytest.raises(
        DataError, match=r"image_00001.bin: 1916 bytes; expected a multiple of 384: float32 B-scans of 6 x 16"
    ):
        read_tile(source, tile)
    last.unlink()
    with pytest.raises(DataError, match=r"tile_x00_y00_z00: 5 B-scans in 1 image_\*.bin; expected 10, as info.txt says"):
        read_tile(source, tile)
