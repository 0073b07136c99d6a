"""The slice configuration of an acquisition."""

from __future__ import annotations

import json
from pathlib import Path

from voxelmill.core import slice_config
from voxelmill.ingest.tiles.oct import RawTile, write_table
from voxelmill.testing.stages import run_stage


def generate(folder: Path, **more: object) -> slice_config.SliceConfig:
    """Of slices 7, 9, 120, the last without a mosaic grid."""
    tiles = [RawTile(f"tile_x00_y00_z{n}", n, 0, 0, 4, 5, 1, 6, 50.0, 60.0, 1.0, 2.0, 3.0) for n in (120, 7, 9)]
    write_table(folder / "tiles.csv", tiles)
    (folder / "galvo").mkdir()
    for n in (7, 9):
        found = {"slice": n, "galvo_shift": 3, "galvo_confidence": 0.5 + n / 100, "galvo_fix": n == 9, "looked_at": 1}
        (folder / f"galvo/galvo_{n}.json").write_text(json.dumps(found))
    words = {"tiles": "tiles.csv", "galvo": "galvo", "tables": "published"}
    assert run_stage("ingest.generate_slice_config", folder, **words, **more) == 0
    return slice_config.read(folder / "published/slice_config.csv")


def test_the_first_slices_and_lost_ones_are_not_used(tmp_path: Path):
    config = generate(tmp_path)
    assert list(config.rows) == [7, 9, 120] and config.used == [9]
    assert config.rows[7]["notes"] == "calibration_slice" and config.rows[120]["exclude_reason"] == "no mosaic grid"
    assert config.rows[9]["galvo_confidence"] == ""


def test_galvo_and_no_calibration(tmp_path: Path):
    config = generate(tmp_path, detect_galvo=True, exclude_first_slices=0)
    assert config.used == [7, 9]
    assert config.rows[7]["galvo_confidence"] == "0.57" and config.flag(7, "galvo_fix") is False
    assert config.flag(9, "galvo_fix") is True
