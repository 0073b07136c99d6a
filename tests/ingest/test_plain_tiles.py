"""Plain tiles: what people have is found, and what cannot work is said in one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.core import plans
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.ingest.tiles.czi import JPEGXR, decoded
from voxelmill.ingest.tiles.plain import Reader, find_tiles
from voxelmill.ingest.tiles.positions import read_positions
from voxelmill.ingest.tiles.tiling import Found
from voxelmill.testing.mosaics import mosaic, write_tiles
from voxelmill.testing.stages import run_stage

MADE = mosaic(2, 2, tile=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiles(tmp_path / "tiles", MADE)


def found(folder: Path, table: Path | None = None, channel: int = 0) -> Found:
    return find_tiles(folder, table, channel, folder.name, table.name if table else "")


def test_a_folder_of_tiffs_with_a_table(folder):
    tiling = found(folder).tiling
    assert [t.name for t in tiling.tiles] == ["0000.tif", "0001.tif", "0002.tif", "0003.tif"]
    np.testing.assert_array_equal([(t.y, t.x) for t in tiling.tiles], MADE.nominal)
    assert (tiling.dtype, tiling.depth, tiling.sections, tiling.scale) == ("uint16", 1, ["all"], (None, None, None))
    pixels = Reader(folder, tiling)(tiling.tiles[2])
    np.testing.assert_array_equal(np.asarray(pixels), MADE.tiles[2:3])
    np.testing.assert_array_equal(pixels[..., 5:9, 60:], MADE.tiles[2:3, 5:9, 60:])


def test_the_key_of_a_task_changes_with_its_files_alone(tmp_path):
    for n in range(3):
        write_tiles(tmp_path / f"stack/s{n}", MADE)

    def keys() -> list[str]:
        words = {"source": tmp_path / "stack", "tiles": "tiles.json", "section_list": "sections.csv", "blocks": 3}
        assert run_stage("ingest.inspect_tiles", tmp_path, **words) == 0
        return [row["files"] for row in plans.read(tmp_path / "sections.csv")]

    before = keys()
    assert keys() == before and len(set(before)) == 3
    os.utime(tmp_path / "stack/s1/0002.tif", ns=(1, 1))
    after = keys()
    assert (after[0], after[2]) == (before[0], before[2]) and after[1] != before[1]


def test_tables(tmp_path):
    table = tmp_path / "a.txt"
    table.write_text("# Define the number of dimensions\ndim = 2\n\na b.tif; ; (10.5, -2)\nc.tif; ; ( 3 , 4.0 )\n")
    assert read_positions(table) == {"a b.tif": (-2.0, 10.5), "c.tif": (4.0, 3.0)}  # Fiji has x first
    table.write_text("dim = 3\na.tif; ; (1, 2, 7)\nb.tif; ; (3, 4, 7)\n")
    assert read_positions(table) == {"a.tif": (2.0, 1.0), "b.tif": (4.0, 3.0)}
    table.write_text("\ufefftile, Y, X, quality\na.tif,1,2,0.9\n")
    assert read_positions(table) == {"a.tif": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tile,x\na.tif,1\n", r"t\.csv: no column y; expected tile, y, x, found tile, x"),
        ("tile,y,x\na.tif,1,wide\n", r"t\.csv: position 'wide' of tile a\.tif; expected a number of px"),
        ("tile,y,x\na.tif,1\n", r"t\.csv: position '' of tile a\.tif; expected a number of px"),
        ("tile,y,x\na.tif,nan,1\n", r"position 'nan' of tile a\.tif"),
        ("tile,y,x\na.tif,1,1\na.tif,2,2\n", r"t\.csv: tile a\.tif stands there twice"),
        ("tile,y,x\n", r"t\.csv: no tile in it"),
        ("", r"t\.csv: no column tile, y, x; expected tile, y, x, found nothing"),
        ("dim = 2\na.tif (1, 2)\n", r"t\.csv, line 2: 'a\.tif \(1, 2\)'; expected `tile; ; \(x, y\)`"),
        ("dim = 3\na.tif; ; (1, 2, 0)\nb.tif; ; (1, 9, 40)\n", r"tiles at 2 different z; expected one"),
        ("dim = 2\na.czi; 3; (1, 2)\n", r"line 2: image 3 of a file of several; expected a file a tile"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, said):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_positions(tmp_path / "t.csv")


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"t\.csv: no text"):
        read_positions(tmp_path / "t.csv")


def sections(tmp_path: Path, names: tuple[str, ...] = ("s1", "s2", "s4"), tables: bool = True) -> Path:
    for name in names:
        write_tiles(tmp_path / "stack" / name, MADE, table=tables)
    return tmp_path / "stack"


def test_a_folder_of_sections_with_a_number_missing(tmp_path):
    seen = found(sections(tmp_path))
    assert seen.tiling.sections == ["s1", "s2", "", "s4"] and seen.remarks == ["section 2 is missing: its planes stay empty"]
    assert [t.section for t in seen.tiling.tiles] == [0] * 4 + [1] * 4 + [3] * 4
    assert seen.tiling.tiles[-1].name == "s4/0003.tif"


def test_one_table_for_all_sections_and_one_that_names_them(tmp_path):
    stack, table = sections(tmp_path, ("s1", "s2"), tables=False), tmp_path / "all.csv"
    table.write_text("tile,y,x\n0000.tif,0,0\n0001.tif,0,50\n")
    seen = found(stack, table)
    assert [t.name for t in seen.tiling.tiles] == [f"s{s}/{n:04d}.tif" for s in (1, 2) for n in (0, 1)]
    assert seen.remarks[0] == "s1/0002.tif, s1/0003.tif: no position is given; left out (2 files)"
    table.write_text("tile,y,x\n" + "".join(f"s{s}/{n:04d}.tif,{s},{50 * n}\n" for s in (1, 2) for n in (0, 1)))
    assert [(t.name, t.y, t.x) for t in found(stack, table).tiling.tiles][2:] == [
        ("s2/0000.tif", 2, 0),
        ("s2/0001.tif", 2, 50),
    ]


def test_tiles_of_several_pages_and_their_voxel_size(tmp_path):
    (tmp_path / "z").mkdir()
    for n in range(2):
        planes = np.stack([MADE.tiles[n]] * 3)
        meta = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
        tifffile.imwrite(tmp_path / f"z/{n}.tif", planes, imagej=True, metadata=meta, resolution=(4, 4 + n / 1000))
    (tmp_path / "z/t.csv").write_text("tile,y,x\n0.tif,0,0\n1.tif,0,50\n")
    tiling = found(tmp_path / "z").tiling
    assert tiling.depth == 3 and tiling.scale == (2000, 250, 250)
    assert np.asarray(Reader(tmp_path / "z", tiling)(tiling.tiles[1])).shape == (3, 64, 64)


def test_a_tile_that_is_missing_and_one_that_cannot_be_read_are_left_out_by_name(folder):
    (folder / "0001.tif").unlink()
    (folder / "0003.tif").write_bytes((folder / "0003.tif").read_bytes()[:500])
    (folder / "0002.tif").write_bytes(b"")
    seen = found(folder)
    assert [t.name for t in seen.tiling.tiles] == ["0000.tif"]
    assert seen.tiling.corners == {0: (0, 0)}  # as the table has it, so that a lost corner shifts nothing
    assert seen.left_out["0001.tif"] == "the table of positions names it, and it is not there"
    assert "0003.tif: " in seen.left_out["0003.tif"] and "copy it again" in seen.left_out["0003.tif"]
    assert seen.left_out["0002.tif"] == "0002.tif: the file is empty (0 bytes); copy it again"


def test_what_cannot_be_stitched_is_refused(folder, tmp_path):
    def refused(said: str, *args: Path) -> None:
        with pytest.raises(DataError, match=said):
            found(*args)

    table = tmp_path / "t.csv"
    table.write_text("tile,y,x\n0000.tif,0,0\n0001.tif,0,0\n")
    refused(r"t\.csv: 0000\.tif and 0001\.tif both lie at y 0, x 0 px; expected one tile a place", folder, table)
    table.write_text("tile,y,x\n0000.tif,0,0\n0001.tif,0,50\n0002.tif,50,1e12\n")
    refused(r"over 1000 times what the tiles cover, and 0002\.tif lies farthest out, at y 50, x 1e\+12", folder, table)
    table.write_text("tile,y,x\nother.tif,0,0\n")
    refused(r"t\.csv names none of its 4 tiles \(0000\.tif, 0001\.tif, \.\.\.\) but other\.tif; expected file", folder, table)
    tifffile.imwrite(folder / "0001.tif", MADE.tiles[1].astype(np.uint8))
    refused(r"0000\.tif is uint16, 1 plane and 0001\.tif is uint8, 1 plane; expected tiles of one type and depth", folder)
    for path in folder.glob("*.tif"):
        tifffile.imwrite(path, MADE.tiles[1].astype(np.int32))
    refused(r"tiles: int32 pixels; expected uint8, uint16 or float32", folder)
    for path in folder.glob("*.tif"):
        path.write_bytes(b"II*\0")
    refused(r"tiles: none of 4 tiles can be read; the first: 0000\.tif", folder)
    (folder / "second.csv").touch()
    refused(r"several tables \(positions\.csv, second\.csv\) beside its tiles; give --tile_positions", folder)
    for path in folder.glob("*.csv"):
        path.unlink()
    refused(r"tiles: no table of positions beside its tiles; give --tile_positions FILE", folder)
    (tmp_path / "bare").mkdir()
    refused(r"bare: no TIFF in it or in its folders", tmp_path / "bare")
    shutil.copytree(folder, folder / "s1")
    refused(r"tiles: tiles in it and in its folder s1; expected either", folder)
    refused(r"t\.csv: expected a folder of TIFF tiles", table)


def write_czi(path: Path, options: str = "uncompressed:", scenes: int = 1, planes: int = 1, channels: int = 1) -> Path:
    """MADE as a mosaic in each scene, far from each other; plane z and channel c show it z + 10 c counts brighter."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(path)) as doc:
        for s, z, c, n in np.ndindex(scenes, planes, channels, len(MADE.tiles)):
            y, x = MADE.nominal[n].astype(int).tolist()
            doc.write(
                (MADE.tiles[n] + np.uint16(z + 10 * c))[..., None],
                plane={"C": c, "Z": z, "T": 0},
                scene=s,
                location=(x + 1000 * s, y),
                compression_options=options,
            )
        doc.write_metadata("made", scale_x=0.65e-6, scale_y=0.65e-6, scale_z=2e-6)
    return path


@pytest.mark.parametrize("options", ["uncompressed:", "zstd0:", "zstd1:ExplicitLevel=1;PreProcess=HiLoByteUnpack"])
def test_tiles_of_a_czi_are_read_as_they_were_taken(tmp_path, options):
    """libCZI would show what lies on top; both tiles of an overlap are needed."""
    path = write_czi(tmp_path / "a.czi", options)
    tiling = found(path).tiling
    read = Reader(path, tiling)
    for tile in tiling.tiles:
        n = MADE.nominal.tolist().index([tile.y, tile.x])
        np.testing.assert_array_equal(np.asarray(read(tile))[0], MADE.tiles[n])
    assert tiling.scale == (2000, 650, 650)


def test_scenes_planes_and_channels_of_a_czi(tmp_path):
    path = write_czi(tmp_path / "a.czi", scenes=2, planes=2, channels=2)
    tiling = found(path, channel=1).tiling
    assert tiling.sections == ["scene_0", "scene_1"] and tiling.depth == 2 and len(tiling.tiles) == 8
    last = np.asarray(Reader(path, tiling)(tiling.tiles[-1])[..., 3:5, :])
    np.testing.assert_array_equal(last, np.stack([MADE.tiles[-1][3:5] + 10, MADE.tiles[-1][3:5] + 11]))
    with pytest.raises(ParameterError, match=r"--channel 2: a\.czi has 2 channels"):
        found(path, channel=2)
    with pytest.raises(DataError, match=r"positions of a\.czi stand in its metadata; leave it out"):
        find_tiles(path, path, 0, "a.czi", "t.csv")


def test_compressions_of_a_czi():
    import imagecodecs

    tile = MADE.tiles[0]
    packed = imagecodecs.jpegxr_encode(tile, level=1.0)
    np.testing.assert_array_equal(decoded(packed, JPEGXR, (64, 64), tile.dtype), tile)
    with pytest.raises(DataError, match="compression 2; readable are none, JPEG XR and Zstandard"):
        decoded(b"", 2, (64, 64), tile.dtype)
