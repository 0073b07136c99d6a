"""`--workflow mosaic` on plain tiles, through the engine: tiles of sections -> one volume -> connectome."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tifffile
import zarr
from voxelmill.testing.chain import check_chain
from voxelmill.testing.em import neurites
from voxelmill.testing.engine import Run, run
from voxelmill.testing.mosaics import mosaic as tiles

pytestmark = pytest.mark.slow

SIDE, STEP, JITTER = 160, 112, 3  # px


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> tuple[Path, np.ndarray, dict[str, tuple[int, int]]]:
    """Eight sections of 2 x 2 tiles that overlap by 48 px, without section 5; the volume; where the tiles lie."""
    raw, _ = neurites((8, STEP + SIDE, STEP + SIDE), seed=3)
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("tiles") / "stack"
    truth = {}
    for z in (0, 1, 2, 3, 4, 6, 7):
        (folder / f"section_{z:03d}").mkdir(parents=True)
        rows = ["dim = 2"]
        for n, (y, x) in enumerate((y, x) for y in (0, STEP) for x in (0, STEP)):
            inward = [max(0, 1 - v) * 2 - 1 for v in (y, x)]  # tiles move into the volume, not out of it
            at = [v + s * int(rng.integers(0, JITTER + 1)) for v, s in zip((y, x), inward)]
            name = f"section_{z:03d}/tile {n}.tif"
            tifffile.imwrite(folder / name, raw[z, at[0] : at[0] + SIDE, at[1] : at[1] + SIDE])
            truth[name] = (at[0], at[1])
            rows.append(f"tile {n}.tif; ; ({x}.0, {y}.0)")
        (folder / f"section_{z:03d}/TileConfiguration.txt").write_text("\n".join(rows) + "\n")
    return folder, raw, truth


GRID = ("--chunk", "4,32,32", "--shard", "4,160,160", "--report_plots", "false")


def words_of(tiles: Path) -> tuple[object, ...]:
    return ("--workflow", "mosaic", "--input", tiles, "--voxel_size", "40,8,8", "--blocks", 3, *GRID)


@pytest.fixture(scope="module")
def mosaic(stack, tmp_path_factory) -> Run:
    done = run(*words_of(stack[0]), folder=tmp_path_factory.mktemp("mosaic"))
    assert done.code == 0, done.said
    return done


def test_tasks_and_what_is_published(mosaic: Run):
    once = ("INSPECT_TILES", "ESTIMATE_TILES", "PLAN_MOSAIC", "JOIN", "MULTISCALE", "MOSAIC_FIGURES", "REPORT")
    assert mosaic.tasks("COMPLETED") == {**dict.fromkeys(once, 1), "PLACE_TILES": 3, "STITCH_TILES": 3, "PYRAMID": 2}
    names = {path.name for path in mosaic.outdir.iterdir()}
    assert {"mosaic.ome.zarr", "tile_positions.csv", "tile_seams.csv", "figures", "report.html", "published.json"} <= names
    assert "section 5 is missing: its planes stay empty" in mosaic.said


def test_every_file_can_be_followed_to_the_tiles(mosaic: Run, stack):
    check_chain(mosaic.outdir, [stack[0]])


def test_tiles_lie_where_they_are(mosaic: Run, stack):
    with open(mosaic.outdir / "tile_positions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["tile", "y", "x", "quality"] and len(rows) == 28
    for section in sorted({row["tile"].split("/")[0] for row in rows}):
        these = [row for row in rows if row["tile"].startswith(section)]
        off = np.array([[float(row["y"]), float(row["x"])] for row in these]) - [stack[2][row["tile"]] for row in these]
        assert np.abs(off - off.mean(0)).max() < 0.2, section
    assert min(float(row["quality"]) for row in rows) > 0.8


def test_the_volume_is_the_one_that_was_cut_up(mosaic: Run, stack):
    group = zarr.open_group(str(mosaic.outdir / "mosaic.ome.zarr"), mode="r")
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    volume = group["0"][:]
    assert scale == [40, 8, 8] and volume.shape[0] == 8 and volume.dtype == np.uint8 and not volume[5].any()
    with open(mosaic.outdir / "tile_positions.csv", newline="") as file:
        placed = {row["tile"]: (float(row["y"]), float(row["x"])) for row in csv.DictReader(file)}
    for z in (0, 4, 7):
        names = [name for name in placed if name.startswith(f"section_{z:03d}")]
        dy, dx = np.mean([np.subtract(placed[name], stack[2][name]) for name in names], 0)
        move = np.array([[1, 0, dx], [0, 1, dy]])
        expected = cv2.warpAffine(stack[1][z].astype(np.float32), move, volume.shape[:0:-1], flags=cv2.INTER_CUBIC)
        inside = (slice(12, 250), slice(12, 250))
        assert np.abs(volume[z][inside] - expected[inside]).mean() < 3, z


def test_connectome_takes_the_mosaic(mosaic: Run, tmp_path):
    done = run("--input", mosaic.outdir / "mosaic.ome.zarr", *GRID, folder=tmp_path)
    assert done.code == 0, done.said
    facts = json.loads((done.outdir / "tables/raw.source.json").read_text())
    assert facts["voxel_size"] == [40, 8, 8] and [s["status"] for s in facts["sections"]].count("ok") == 7
    assert [row["section"] for row in facts["sections"] if row["status"] != "ok"] == [5]
    assert "ingest: sections blank: 5" in done.said  # bridged and told; --strict refuses it: engine/test_failures.py
    report = (done.outdir / "report.html").read_text()
    assert "Please look at" in report and "sections blank: 5" in report
    parts = [pq.read_table(path, columns=["root_id"]) for path in (done.outdir / "tables/merge").glob("*.parquet")]
    assert len(pc.unique(pa.concat_tables(parts)["root_id"])) > 20  # of 81 tubes


def test_a_czi_with_a_mosaic_in_each_scene(tmp_path):
    """Where the tiles lie stands in its metadata; the second scene is far away."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    made = [tiles(2, 2, tile=96, overlap=0.25, seed=seed) for seed in (4, 5)]
    with czi.create_czi(str(tmp_path / "slide 1.CZI")) as doc:
        for scene, one in enumerate(made):
            for tile, (y, x) in zip(one.tiles, one.nominal.astype(int).tolist()):
                doc.write(tile[..., None], plane={"C": 0}, scene=scene, location=(x + 5000 * scene, y - 300))
        doc.write_metadata("made", scale_x=0.5e-6, scale_y=0.5e-6)
    done = run("--workflow", "mosaic", "--input", tmp_path / "slide 1.CZI", *GRID, folder=tmp_path / "run")
    assert done.code == 0, done.said
    with open(done.outdir / "tile_positions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    at = np.array([[float(row["y"]), float(row["x"])] for row in rows]).reshape(2, 4, 2)
    assert [row["tile"].split("/")[0] for row in rows] == ["scene_0"] * 4 + ["scene_1"] * 4
    for one, found in zip(made, at):
        assert one.error(found) < 0.1
    assert min(float(row["quality"]) for row in rows) > 0.8
    group = zarr.open_group(str(done.outdir / "mosaic.ome.zarr"), mode="r")
    scale = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale[1:] == [500, 500] and group["0"].shape[0] == 2 and all((group["0"][z] > 0).mean() > 0.8 for z in (0, 1))


def test_a_changed_tile_repeats_what_depends_on_it(mosaic: Run, stack):
    """The last one, for it changes the input: sections 0 to 6 are no matter of a tile of section 7."""
    path = stack[0] / "section_007/tile 3.tif"
    pixels = tifffile.imread(path)
    pixels[100:140, 100:140] = 255 - pixels[100:140, 100:140]  # none that it shares with a neighbour
    tifffile.imwrite(path, pixels)
    done = run(*words_of(stack[0]), "-resume", folder=mosaic.outdir.parent)
    assert done.code == 0, done.said
    # three tasks each: sections 0-2, 3-6, 7; shards 0-2 (planes 0 to 3), 3-5 (0 to 7), 6-7 (4 to 7)
    assert done.tasks("CACHED") == {"ESTIMATE_TILES": 1, "PLACE_TILES": 2, "STITCH_TILES": 1}
