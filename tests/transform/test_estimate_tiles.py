"""Estimate tiles: plain and raw ones; a small disk ends the run."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from voxelmill.ingest.tiles.tiling import Tiling
from voxelmill.testing.mosaics import mosaic, write_tiles
from voxelmill.testing.oct import Acquisition, write_raw
from voxelmill.testing.stages import run_stage
from voxelmill.transform.estimate_tiles import Parameters, of_plain, of_raw

Usage = namedtuple("Usage", "total used free")


def test_plain_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    write_tiles(tmp_path / "tiles", mosaic(2, 2, tile=64))
    assert run_stage("ingest.inspect_tiles", tmp_path, source="tiles", tiles="tiles.json", section_list="sections.csv") == 0
    tiling = Tiling.model_validate_json((tmp_path / "tiles.json").read_text())
    assert of_plain(Parameters(), tiling) == {"mosaic": 4 * 64 * 64 * 2, "pyramid": pytest.approx(4 * 64 * 64 * 2 / 3)}
    assert of_plain(Parameters(save_minimal=True), tiling)["pyramid"] == 0
    assert run_stage("transform.estimate_tiles", tmp_path, tiles="tiles.json", sizes="sizes.txt") == 0
    assert "Disk: up to 0.000 GB, uncompressed (mosaic 0.000, pyramid 0.000)" in (tmp_path / "sizes.txt").read_text()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 1000, 1000))
    assert run_stage("transform.estimate_tiles", tmp_path, tiles="tiles.json", sizes="sizes.txt") == 74
    assert "give fewer tiles, or put -work-dir elsewhere" in capfd.readouterr().err


def test_raw_tiles(tmp_path: Path) -> None:
    made = Acquisition(slices=2, grid=(2, 2), tile=(24, 48, 48))
    write_raw(tmp_path / "raw", made)
    files = {"tiles": "tiles.csv", "of_slices": "slices", "slice_list": "slices.csv", "tables": "tables"}
    assert run_stage("ingest.list_tiles", tmp_path, source="raw", **files) == 0
    assert of_raw(Parameters(resolution=-1), tmp_path / "tiles.csv") == {"mosaic grids": 4 * 2 * 4 * 24 * 48 * 48}
    assert of_raw(Parameters(resolution=100), tmp_path / "tiles.csv")["mosaic grids"] < 4 * 2 * 4 * 24 * 48 * 48 / 50
