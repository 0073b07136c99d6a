"""Plan mosaic: the canvas, the frame of sections, the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from voxelmill.core import plans, tables
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.place_tiles import POSITIONS, SEAMS, write_csv
from voxelmill.transform.plan_mosaic import Mosaic, key_of

Rows = list[tuple[str, int, float, float, float]]  # tile, section, y, x, quality


def plan(
    folder: Path, rows: Rows, seams: Rows | list = (), scale: tuple = (40, 4, 4), sections: int = 0, **more: object
) -> int:  # type: ignore[assignment]
    tiles = [{"name": n, "section": s, "y": y, "x": x, "height": 50, "width": 60} for n, s, y, x, _ in rows]
    names = [f"s{k}" for k in range(sections or max(row[1] for row in rows) + 1)]
    tiling = {"source": "t", "kind": "tiff", "channel": 0, "dtype": "uint8", "depth": 1, "scale": scale, "sections": names}
    tiling["corners"] = {s: [min(row[k] for row in rows if row[1] == s) for k in (2, 3)] for s in {row[1] for row in rows}}
    folder.mkdir(exist_ok=True)
    (folder / "tiles.json").write_text(json.dumps({**tiling, "tiles": tiles}))
    write_csv(folder / "p.csv", POSITIONS, [(n, y, x, q) for n, _, y, x, q in rows])
    write_csv(folder / "s.csv", SEAMS, seams)
    np.savez(folder / "l.npz", **{row[0]: np.full((27, 32), 9, np.float32) for row in rows})
    plans.write(folder / "sections.csv", [{"id": "0-99", "block": "0-99", "files": "k"}])
    out = {"mosaic": "mosaic.json", "tile_positions": "tile_positions.csv", "tile_seams": "tile_seams.csv"}
    lists = {"block_list": "blocks.csv", "superblock_list": "superblocks.csv", "of_blocks": "of_blocks"}
    files = {
        "tiles": "tiles.json",
        "sections": "sections.csv",
        "positions": ["p.csv"],
        "seams": ["s.csv"],
        "light": ["l.npz"],
    }
    return run_stage("transform.plan_mosaic", folder, **files, **out, **lists, **more)


def test_one_canvas_for_all_sections(tmp_path):
    rows = [("a", 0, -3.25, 7.5, 0.9), ("b", 0, -2.0, 50.0, 0.9), ("c", 2, 1.0, 6.25, 0.9), ("d", 2, 2.0, 48.0, 0.9)]
    assert plan(tmp_path, rows, chunk="1,32,32", shard="2,64,64") == 0
    made = Mosaic.load(tmp_path / "mosaic.json")
    assert made.layout.shape == (3, 56, 104)  # from y -4 to 52, from x 6 to 110
    assert [(t.y, t.x) for t in made.tiles] == [(0.75, 1.5), (2, 44), (5, 0.25), (6, 42)]
    assert made.space.origin == (0, -16, 24) and made.space.scale == (40, 4, 4)
    placed = tables.rows(tmp_path / "tile_positions.csv")
    assert list(placed[0]) == ["tile", "y", "x", "quality"] and placed[0]["y"] == "0.750"
    assert len(plans.read(tmp_path / "blocks.csv")) == 1


def test_sections_of_one_frame_keep_their_places_others_begin_at_their_corners(tmp_path):
    near = [("a", 0, 0.0, 0.0, 1), ("b", 1, 10.0, 15.0, 1)]
    assert plan(tmp_path, near) == 0
    assert [(t.y, t.x) for t in Mosaic.load(tmp_path / "mosaic.json").tiles] == [(0, 0), (10, 15)]
    far = [("a", 0, 0.0, 0.0, 1), ("b", 1, 100_000.5, 90_000.0, 1)]
    assert plan(tmp_path, far) == 0
    made = Mosaic.load(tmp_path / "mosaic.json")
    assert [(t.y, t.x) for t in made.tiles] == [(0, 0), (0.5, 0)] and made.layout.shape == (2, 51, 60)
    assert "each begins at its own corner" in record_of(tmp_path, "plan_mosaic")["quality"]["notes"][-1]


def test_a_tile_that_is_lost_at_the_corner_moves_no_section(tmp_path):
    rows = [("a", 0, 0, 0, 1), ("b", 0, 0, 50, 1), ("c", 1, 9000, 0, 1), ("d", 1, 9000, 50, 1)]
    assert plan(tmp_path, rows) == 0  # type: ignore[arg-type]
    write_csv(tmp_path / "p.csv", POSITIONS, [(n, y, x, q) for n, _, y, x, q in rows if n != "c"])
    files = {"tiles": "tiles.json", "positions": ["p.csv"], "seams": ["s.csv"], "light": ["l.npz"], "mosaic": "mosaic.json"}
    files |= {"sections": "sections.csv", "of_blocks": "of_blocks"}
    out = {"tile_positions": "t.csv", "tile_seams": "u.csv", "block_list": "b.csv", "superblock_list": "sb.csv"}
    assert run_stage("transform.plan_mosaic", tmp_path, **files, **out) == 0
    assert [(t.name, t.y, t.x) for t in Mosaic.load(tmp_path / "mosaic.json").tiles][-1] == ("d", 0, 50)


def test_an_axis_of_unknown_size_has_no_unit(tmp_path):
    assert plan(tmp_path, [("a", 0, 0, 0, 1)], scale=(None, 4, 4)) == 0
    space = Mosaic.load(tmp_path / "mosaic.json").space
    assert [axis.unit for axis in space.axes] == [None, "nanometer", "nanometer"] and space.scale == (1, 4, 4)


def test_poor_seams_and_tiles_without_any_are_said(tmp_path):
    rows = [("a", 0, 0, 0, 0.2), ("b", 0, 0, 50, 0.2), ("c", 0, 80, 0, 0)]
    seam = (0, "a", "b", 0.0, 50.0, 0.2, 0.0, 0.2)
    assert plan(tmp_path, rows, [seam]) == 0  # type: ignore[arg-type]
    quality = record_of(tmp_path, "plan_mosaic")["quality"]
    assert quality["notes"] == [
        "1 tiles share nothing with a neighbour and lie where the positions say: c",
        "1 of 1 seams are poor (quality below 0.3), look at them: a - b. "
        "Are the positions in px, y and x the right way round?",
    ]
    assert quality["seam_quality_median"] == 0.2 and np.isclose(quality["seam_residual_px"], 0)


def test_nothing_placed_is_an_error(tmp_path, capsys):
    assert plan(tmp_path, [("a", 0, 0, 0, 1)]) == 0
    write_csv(tmp_path / "p.csv", POSITIONS, [])
    files = {"tiles": "tiles.json", "positions": ["p.csv"], "seams": ["s.csv"], "light": ["l.npz"], "mosaic": "mosaic.json"}
    files |= {"sections": "sections.csv", "of_blocks": "of_blocks"}
    out = {"tile_positions": "t.csv", "tile_seams": "u.csv", "block_list": "b.csv", "superblock_list": "sb.csv"}
    assert run_stage("transform.plan_mosaic", tmp_path, **files, **out) == 65
    assert "t: no section could be placed" in capsys.readouterr().err


def test_the_key_of_a_block_is_of_the_batches_that_it_shows():
    batches = [{"id": b, "block": b, "files": k} for b, k in (("0-3", "a"), ("4-7", "b"), ("8-11", "c"))]
    of = key_of(batches, {3, 4})
    assert of == key_of([*batches[:2], {**batches[2], "files": "changed"}], {3, 4})
    assert of != key_of([batches[0], {**batches[1], "files": "changed"}, batches[2]], {3, 4})
