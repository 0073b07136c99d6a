"""Inspect tiles: the facts, the tasks, and what is left out aloud."""

from __future__ import annotations

import json
from pathlib import Path

from voxelmill.core import plans
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
