"""Mosaic figures: drawn for one section and for a stack, the same bytes every time; the worst section is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.serving.mosaic_figures import worst
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.transform.place_tiles import SEAMS, write_csv


def seam(section: int, quality: float) -> tuple:
    return (section, f"{section}a", f"{section}b", 0.0, 50.0, quality, 0.1, quality)


def draw(folder: Path, sections: int, seams: list[tuple]) -> Path:
    folder.mkdir()
    values = np.random.default_rng(0).integers(1, 255, (sections, 60, 120)).astype(np.uint8)
    store = make_store(folder / "mosaic.ome.zarr", values)
    at = {"a": 0, "b": 50}
    tiles = [
        {"name": f"{s}{n}", "section": s, "y": 0, "x": x, "height": 60, "width": 70}
        for s in range(sections)
        for n, x in at.items()
    ]
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    space = {"axes": axes, "scale": [30, 8, 8], "origin": [0, 0, 0]}
    lay = {"shape": values.shape, "dtype": "uint8", "chunk": [4, 32, 32], "shard": [4, 64, 64]}
    tiling = {"source": "t", "kind": "tiff", "channel": 0, "dtype": "uint8", "depth": 1, "scale": [30, 8, 8]}
    names = [f"s{n}" for n in range(sections)]
    (folder / "mosaic.json").write_text(
        json.dumps({**tiling, "sections": names, "corners": {}, "tiles": tiles, "layout": lay, "space": space})
    )
    (folder / "tables").mkdir()
    write_csv(folder / "tables/tile_seams.csv", SEAMS, seams)
    words = {"volume": store, "mosaic": "mosaic.json", "tables": "tables", "output": "figures", "figure_dpi": 50}
    assert run_stage("serving.mosaic_figures", folder, **words) == 0
    return folder / "figures/tile_layout.png"


@pytest.mark.parametrize("seams", [[seam(0, 0.9)], []])
def test_one_section(tmp_path, seams):
    first, again = (draw(tmp_path / name, 1, seams) for name in "ab")
    assert first.read_bytes() == again.read_bytes() and first.with_suffix(".pdf").exists()


def test_a_stack_shows_its_worst_section(tmp_path):
    draw(tmp_path / "a", 3, [seam(0, 0.9), seam(1, 0.2), seam(2, 0.8)])
    assert worst({0: [{"quality": "0.9"}], 1: [{"quality": "0.2"}]}, [0, 1]) == 1 and worst({}, [4, 5]) == 4
