"""Place tiles: found positions beside truth, seams, and what cannot be read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.testing.mosaics import Mosaic, mosaic, write_tiles
from voxelmill.testing.stages import record_of, run_stage


@pytest.fixture(scope="module")
def made() -> Mosaic:
    return mosaic(3, 3, tile=96, jitter=3)


def place(folder: Path, source: Path, block: str = "0-0", **more: object) -> int:
    assert run_stage("ingest.inspect_tiles", folder, source=source, tiles="tiles.json", section_list="s.csv", blocks=1) == 0
    out = {"positions": "positions.csv", "seams": "seams.csv", "light": "light.npz"}
    return run_stage("transform.place_tiles", folder, source=source, tiles="tiles.json", block=block, **out, **more)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def positions(folder: Path) -> np.ndarray:
    return np.array([(float(row["y"]), float(row["x"])) for row in table(folder / "positions.csv")])


def test_tiles_lie_where_they_are(tmp_path, made):
    assert place(tmp_path, write_tiles(tmp_path / "tiles", made)) == 0
    assert made.error(made.nominal) > 2.5 and made.error(positions(tmp_path)) < 0.06
    seams = table(tmp_path / "seams.csv")
    assert len(seams) == 12 and min(float(row["quality"]) for row in seams) > 0.8
    first = seams[0]
    assert (first["tile_a"], first["tile_b"]) == ("0000.tif", "0001.tif")
    true = made.truth[1] - made.truth[0]
    np.testing.assert_allclose([float(first["dy"]), float(first["dx"])], true, atol=0.15)


def test_positions_as_they_are_and_what_neighbours_think_of_them(tmp_path, made):
    assert place(tmp_path, write_tiles(tmp_path / "tiles", made), refine_tile_positions=False) == 0
    np.testing.assert_array_equal(positions(tmp_path), made.nominal)
    off = [float(row["residual_px"]) for row in table(tmp_path / "seams.csv")]
    steps = [(made.truth - made.nominal)[b] - (made.truth - made.nominal)[a] for a, b in ((0, 1), (0, 3))]
    np.testing.assert_allclose(off[:2], [np.hypot(*step) for step in steps], atol=0.15)


def test_reach(tmp_path):
    """A stage that says 19 px of overlap where there are 56 is found out within reach, and not beyond."""
    made = mosaic(2, 3, tile=160, overlap=0.35)
    source = write_tiles(tmp_path / "tiles", Mosaic(made.tiles, made.nominal * 1.354, made.truth, made.flat))
    assert place(tmp_path, source, tile_reach=40) == 0
    assert made.error(positions(tmp_path)) < 0.06
    assert place(tmp_path, source, tile_reach=1) == 0
    assert made.error(positions(tmp_path)) > 1


def test_a_tile_whose_pixels_cannot_be_read_is_left_out(tmp_path, made, capsys):
    source = write_tiles(tmp_path / "tiles", made)
    tifffile.imwrite(source / "0004.tif", made.tiles[4], compression="zlib", rowsperstrip=16)
    data = bytearray((source / "0004.tif").read_bytes())
    data[-3000:-1000] = b"\0" * 2000
    (source / "0004.tif").write_bytes(data)
    assert place(tmp_path, source) == 0
    record = record_of(tmp_path, "place_tiles")
    assert list(record["left_out"]) == ["0004.tif"] and "0004.tif: not a whole TIFF" in record["left_out"]["0004.tif"]
    others = np.arange(9) != 4
    off = positions(tmp_path) - made.truth[others]
    assert np.hypot(*(off - off.mean(0)).T).max() < 0.2
    assert not [row for row in table(tmp_path / "seams.csv") if "0004.tif" in (row["tile_a"], row["tile_b"])]
    assert place(tmp_path, source, strict=True) == 65
    assert "0004.tif: not a whole TIFF" in capsys.readouterr().err


def test_tiles_that_do_not_overlap_are_refused(tmp_path, made, capsys):
    source = write_tiles(tmp_path / "tiles", Mosaic(made.tiles, made.nominal * 2, made.truth, made.flat))
    assert place(tmp_path, source) == 65
    said = capsys.readouterr().err
    assert "tiles: no two of 9 tiles overlap by 8 px; are the positions in px of these tiles, y and x the right way" in said
    assert place(tmp_path, source, refine_tile_positions=False) == 0
    np.testing.assert_array_equal(positions(tmp_path), made.nominal * 2)


def test_positions_in_micrometres_are_refused(tmp_path, made, capsys):
    """Of 4 nm pixels: a step of 102 px reads 0.4, and every tile lies upon every other."""
    source = write_tiles(tmp_path / "tiles", Mosaic(made.tiles, made.nominal * 0.004, made.truth, made.flat))
    assert place(tmp_path, source) == 65
    assert "tiles: tiles lie upon each other by 100%; are the positions in px of these tiles" in capsys.readouterr().err
    assert place(tmp_path, source, refine_tile_positions=False) == 0


def test_of_several_sections_one_that_cannot_be_placed_is_left_out(tmp_path, made, capsys):
    write_tiles(tmp_path / "stack/s1", made)
    write_tiles(tmp_path / "stack/s2", Mosaic(made.tiles, made.nominal * 2, made.truth, made.flat))
    assert place(tmp_path, tmp_path / "stack", "0-1") == 0
    assert "section s2: no two of 9 tiles overlap" in record_of(tmp_path, "place_tiles")["left_out"]["s2"]
    assert {row["tile"][:2] for row in table(tmp_path / "positions.csv")} == {"s1"}
    assert place(tmp_path, tmp_path / "stack", "0-1", strict=True) == 65
    assert "section s2: no two of 9 tiles overlap" in capsys.readouterr().err


def test_a_section_by_its_number(tmp_path, made):
    for n in (1, 2, 4):
        write_tiles(tmp_path / "stack" / f"s{n}", made)
    assert place(tmp_path, tmp_path / "stack", "1-2") == 0
    assert {row["tile"][:2] for row in table(tmp_path / "positions.csv")} == {"s2"}
    assert {row["section"] for row in table(tmp_path / "seams.csv")} == {"1"}
