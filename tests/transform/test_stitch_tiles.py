"""Stitch tiles: the scene again, the same bytes however it is divided."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.core import blocks, plans
from voxelmill.core.volume import open_image
from voxelmill.testing.engine import PROJECT
from voxelmill.testing.mosaics import Mosaic, mosaic, write_tiles
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.stitch_tiles import as_pixels

GRID = {"chunk": "1,32,32", "shard": "2,64,64"}


@pytest.fixture(scope="module")
def cut() -> tuple[np.ndarray, Mosaic]:
    """A scene and tiles cut out of it at whole pixels, where the table says."""
    scene = np.random.default_rng(0).integers(1, 60000, (150, 170)).astype(np.uint16)
    at = np.array([(y, x) for y in (0, 50, 100) for x in (0, 60, 120)], float)
    tiles = np.stack([np.pad(scene, ((0, 50), (0, 50)))[int(y) : int(y) + 64, int(x) : int(x) + 80] for y, x in at])
    return scene, Mosaic(tiles, at, at, np.ones((64, 80), np.float32))


def stitched(folder: Path, source: Path, tasks: int = 1, light: bool = False, refine: bool = False, **more: object) -> Path:
    """The store, by all stages."""
    run = lambda name, **words: run_stage(name, folder, **words)  # noqa: E731
    assert run("ingest.inspect_tiles", source=source, tiles="tiles.json", section_list="s.csv", blocks=1) == 0
    block = plans.read(folder / "s.csv")[0]["block"]
    words = {"source": source, "tiles": "tiles.json", "block": block, "refine_tile_positions": refine}
    assert run("transform.place_tiles", **words, positions="p.csv", seams="q.csv", light="l.npz") == 0
    out = {"mosaic": "mosaic.json", "tile_positions": "tile_positions.csv", "tile_seams": "tile_seams.csv"}
    lists = {"block_list": "blocks.csv", "superblock_list": "superblocks.csv", "of_blocks": "of_blocks"}
    files = {"tiles": "tiles.json", "sections": "s.csv", "positions": ["p.csv"], "seams": ["q.csv"], "light": ["l.npz"]}
    assert run("transform.plan_mosaic", **files, **out, **lists, blocks=tasks, tile_illumination=light, **GRID) == 0
    stores = []
    for row in plans.read(folder / "blocks.csv"):
        stores.append(folder / row["id"] / "mosaic.ome.zarr")
        words = {"source": source, "mosaic": f"of_blocks/{row['id']}.json", "block": row["block"], "output": stores[-1]}
        assert run("transform.stitch_tiles", **words, **more) == 0
    blocks.join(stores, folder / "mosaic.ome.zarr")
    return folder / "mosaic.ome.zarr"


@pytest.mark.parametrize("blending", ["none", "average", "diffusion", "narrow"])
def test_tiles_cut_from_a_scene_give_it_back(tmp_path, cut, blending):
    scene, made = cut
    store = stitched(tmp_path, write_tiles(tmp_path / "tiles", made), stitch_blending_method=blending)
    values = open_image(store).read()
    assert values.dtype == np.uint16 and values.shape == (1, 164, 200)
    np.testing.assert_array_equal(values[0, :150, :170], scene)


def test_the_number_of_tasks_changes_no_byte(tmp_path, cut):
    source = write_tiles(tmp_path / "tiles", mosaic(2, 2, tile=64))
    one, many = stitched(tmp_path / "1", source), stitched(tmp_path / "5", source, 5)
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert len(files) == 6 and all((one / f).read_bytes() == (many / f).read_bytes() for f in files)


def test_a_stack_of_sections_with_one_missing(tmp_path, cut):
    scene, made = cut
    for n in (1, 2, 4):
        factor = np.uint16(n)
        write_tiles(tmp_path / "stack" / f"s{n}", Mosaic(made.tiles // factor, made.nominal, made.truth, made.flat))
    values = open_image(stitched(tmp_path, tmp_path / "stack", 3)).read()
    assert values.shape == (4, 164, 200) and not values[2].any()
    for z, n in ((0, 1), (1, 2), (3, 4)):
        np.testing.assert_array_equal(values[z, :150, :170], scene // n)


def test_found_positions_give_the_same_mosaic_again(tmp_path):
    """`tile_positions.csv` is a table of positions, too."""
    source = write_tiles(tmp_path / "tiles", mosaic(2, 2, tile=64))
    first = open_image(stitched(tmp_path / "1", source)).read()
    with open(tmp_path / "1/tile_positions.csv", newline="") as file:
        assert [row["tile"] for row in csv.DictReader(file)] == [f"{n:04d}.tif" for n in range(4)]
    (source / "positions.csv").write_bytes((tmp_path / "1/tile_positions.csv").read_bytes())
    np.testing.assert_array_equal(open_image(stitched(tmp_path / "2", source)).read(), first)


def test_uneven_light_is_said_and_evened_out_where_asked(tmp_path):
    """Vignetted tiles and the same tiles without: what is left between the two mosaics."""
    made = mosaic(3, 3, tile=96, vignetting=0.3, jitter=0)
    flat = Mosaic(np.rint(made.tiles / made.flat).astype(np.uint16), made.nominal, made.truth, np.ones_like(made.flat))
    true = open_image(stitched(tmp_path / "true", write_tiles(tmp_path / "flat", flat))).read()[0].astype(float)
    source = write_tiles(tmp_path / "tiles", made)
    off = []
    for light in (False, True):
        folder = tmp_path / str(light)
        found = open_image(stitched(folder, source, light=light)).read()[0]
        inner = np.s_[8:-8, 8:-8]
        ratio = found[inner][true[inner] > 0] / true[inner][true[inner] > 0]
        off.append(float(ratio.std() / ratio.mean()))
        notes = record_of(folder, "plan_mosaic")["quality"].get("notes", [])
        assert any("--tile_illumination true evens it out" in note for note in notes) != light
    assert off[0] > 0.04 and off[1] < 0.015


def test_tiles_of_a_czi_that_were_moved(tmp_path):
    """They are found again by their names, not by where they lie now."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    made = mosaic(2, 2, tile=96, jitter=3)
    with czi.create_czi(str(tmp_path / "a.czi")) as doc:
        for tile, (y, x) in zip(made.tiles, made.nominal.astype(int).tolist()):
            doc.write(tile[..., None], plane={"C": 0}, location=(x, y + 500))
        doc.write_metadata("made", scale_x=1e-6, scale_y=1e-6)
    seen = open_image(stitched(tmp_path / "czi", tmp_path / "a.czi", refine=True)).read()
    same = open_image(stitched(tmp_path / "tiff", write_tiles(tmp_path / "tiles", made), refine=True)).read()
    np.testing.assert_array_equal(seen, same)


def test_tiles_of_other_sizes_and_what_was_not_acquired(tmp_path, cut):
    """Floats; the second tile is smaller and has a hole, which the first one shows."""
    scene = cut[0].astype(np.float32) / 7
    (tmp_path / "tiles").mkdir()
    hole = scene[10:60, 40:140].copy()
    hole[5:20, 5:30], hole[12, 12] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "tiles/a.tif", scene[:90, :80])
    tifffile.imwrite(tmp_path / "tiles/b.tif", hole)
    (tmp_path / "tiles/t.csv").write_text("tile,y,x\na.tif,0,0\nb.tif,10,40\n")
    values = open_image(stitched(tmp_path, tmp_path / "tiles")).read()[0]
    assert values.dtype == np.float32 and values.shape == (90, 140)
    np.testing.assert_allclose(values[:, :80], scene[:90, :80], rtol=1e-6)
    np.testing.assert_allclose(values[10:60, 80:], scene[10:60, 80:140], rtol=1e-6)
    assert not values[:10, 80:].any() and not values[60:, 80:].any()
    note = "375 pixels of 1 tiles are NaN or infinite, most in b.tif; they count as not acquired"
    assert record_of(tmp_path, "place_tiles")["quality"]["notes"] == note


def test_pixels_are_rounded_and_clipped():
    given = np.array([-3.2, 0.5, 1.5, 254.6, 300], np.float32)
    assert as_pixels(given, np.dtype("uint8")).tolist() == [0, 0, 2, 255, 255]
    assert as_pixels(given, np.dtype("float32")).tolist() == given.tolist()


def test_workers_make_the_same_bytes(tmp_path):
    """Of sections placed and of shards stitched."""
    for n in (1, 2):
        write_tiles(tmp_path / "stack" / f"s{n}", mosaic(2, 2, tile=64, seed=n))
    stitched(tmp_path / "1", tmp_path / "stack", light=True)
    block = plans.read(tmp_path / "1/blocks.csv")[0]["block"]
    tables = ["--positions", "p.csv", "--seams", "q.csv", "--light", "l.npz"]
    place = [
        "place_tiles",
        "--tiles",
        tmp_path / "1/tiles.json",
        "--block",
        "0-1",
        *tables,
        "--refine_tile_positions",
        "false",
    ]
    stitch = ["stitch_tiles", "--mosaic", tmp_path / "1/mosaic.json", "--block", block, "--output", "mosaic.ome.zarr"]
    (tmp_path / "2").mkdir()
    for name, *words in (place, stitch):
        command = [sys.executable, PROJECT / f"bin/{name}.py", "--source", tmp_path / "stack", *words]
        subprocess.run(command, cwd=tmp_path / "2", env={**os.environ, "VOXELMILL_PROCESSES": "2"}, check=True)
    for name in ("p.csv", "q.csv", "l.npz"):
        assert (tmp_path / "2" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    one, two = (open_image(tmp_path / of / "mosaic.ome.zarr").read() for of in "12")
    np.testing.assert_array_equal(one, two)
