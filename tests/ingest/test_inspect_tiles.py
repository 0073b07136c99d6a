"""Inspect tiles: the facts, the tasks, and what is left out aloud."""

from __future__ import annotations

import json
from pathlib import Path

from voxelmill.core import plans
from voxelmill.ingest.inspect_tiles import key_of
from voxelmill.ingest.tiles.tiling import Tile, Tiling
from voxelmill.testing.mosaics import mosaic, write_tiles
from voxelmill.testing.stages import record_of, run_stage

MADE = mosaic(2, 2, tile=64)


def inspect(tmp_path: Path, source: Path, **more: object) -> int:
    out = {"tiles": "tiles.json", "section_list": "sections.csv"}
    return run_stage("ingest.inspect_tiles", tmp_path, source=source, input=source.name, **out, **more)


def test_facts_and_record(tmp_path):
    source = write_tiles(tmp_path / "tiles", MADE)
    assert inspect(tmp_path, source, voxel_size="40,4,4") == 0
    facts = json.loads((tmp_path / "tiles.json").read_text())
    assert facts["scale"] == [40, 4, 4] and len(facts["tiles"]) == 4 and facts["dtype"] == "uint16"
    assert [row["block"] for row in plans.read(tmp_path / "sections.csv")] == ["0-0"]
    quality = record_of(tmp_path, "inspect_tiles")["quality"]
    assert quality["tiles"] == 4 and "notes" not in quality


def test_sections_are_handed_out_by_their_size(tmp_path):
    for n in (1, 2, 3, 5):
        write_tiles(tmp_path / "stack" / f"s{n}", MADE)
    assert inspect(tmp_path, tmp_path / "stack", block_voxels=2 * 4 * 64 * 64) == 0
    assert [row["block"] for row in plans.read(tmp_path / "sections.csv")] == ["0-1", "2-4"]
    assert inspect(tmp_path, tmp_path / "stack", blocks=4) == 0
    assert [row["block"] for row in plans.read(tmp_path / "sections.csv")] == ["0-0", "1-1", "2-2", "4-4"]


def test_a_missing_tile_is_said_and_refused_under_strict(tmp_path, capsys):
    source = write_tiles(tmp_path / "tiles", MADE)
    (source / "0002.tif").unlink()
    assert inspect(tmp_path, source) == 0
    record = record_of(tmp_path, "inspect_tiles")
    assert record["left_out"] == {"0002.tif": "the table of positions names it, and it is not there"}
    assert "the voxel size is not known" in record["quality"]["notes"][0]
    assert inspect(tmp_path, source, strict=True) == 65
    assert "0002.tif: the table of positions names it, and it is not there; --strict false" in capsys.readouterr().err


def test_a_doubt_is_refused_under_strict(tmp_path, capsys):
    assert inspect(tmp_path, write_tiles(tmp_path / "tiles", MADE), strict=True) == 65
    assert "tiles: the voxel size is not known on every axis; give --voxel_size" in capsys.readouterr().err


def test_the_key_of_a_task_is_that_of_its_files(tmp_path):
    """A changed file changes the key of the sections that are read from it, and of no others."""
    tiling = Tiling(
        source="t", kind="tiff", channel=0, dtype="uint8", depth=1, scale=(None, None, None), sections=["0", "1"], corners={},
        tiles=[Tile(name=f"{n}.tif", section=n, y=0, x=0, height=1, width=1) for n in range(2)],
    )  # fmt: skip
    for name in ("0.tif", "1.tif", "all.czi"):
        (tmp_path / name).write_bytes(b"1")
    of = [(tmp_path, "0-0"), (tmp_path, "1-1"), (tmp_path / "all.czi", "0-1")]
    before = [key_of(source, tiling, block) for source, block in of]
    for changed, name in enumerate(("0.tif", "1.tif", "all.czi")):
        (tmp_path / name).write_bytes(b"12")
        after = [key_of(source, tiling, block) for source, block in of]
        assert [n for n in range(3) if after[n] != before[n]] == [changed]
        before = after
