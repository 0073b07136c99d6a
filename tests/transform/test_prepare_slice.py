"""Slices in one task and step by step: the same bytes; truth of a made acquisition; what cannot be prepared is left out."""

from __future__ import annotations

import csv
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.space import MM, Axis, Space
from voxelmill.core.volume import open_image
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.oct_score import tile_error, uneven_light
from voxelmill.testing.stages import make_store, record_of, run_stage
from voxelmill.transform import prepare_slice
from voxelmill.transform.slice_volume import SliceVolume
from voxelmill.transform.tile_grid import TileGrid

MADE = Acquisition(slices=1, grid=(2, 3), tile=(40, 96, 96), drift=0)
GRID = "mosaic_grid_3d_z00.ome.zarr"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mosaics(tmp_path_factory.mktemp("made"), MADE) / GRID


def prepare(grid: Path, folder: Path, **more: object) -> int:
    tables = {"tiles": "tiles.csv", "seams": "seams.csv", "notes": "notes.npz"}
    given = {"stitch_overlap_fraction": MADE.overlap, **tables, **more}
    return run_stage("transform.prepare_slice", folder, grid=grid, slice="0", output="out.ome.zarr", **given)


def test_steps_one_by_one_make_the_same_bytes(grid: Path, tmp_path: Path) -> None:
    wanted = {"resolution": 12.0}
    overlap = {"stitch_overlap_fraction": MADE.overlap}
    assert prepare(grid, tmp_path / "one", fix_curvature_enabled=True, **wanted) == 0
    steps = {
        "resample_mosaic_grid": wanted,
        "fix_focal_curvature": overlap,
        "fix_illumination": overlap,
        "stitch_3d_with_refinement": overlap | {"tiles": "tiles.csv", "seams": "seams.csv"},
        "beam_profile_correction": {},
        "crop_interface": {},
        "normalize": {},
    }
    at, arg = grid, "grid"
    for name, more in steps.items():
        folder = tmp_path / name
        assert run_stage(f"transform.{name}", folder, **{arg: at}, slice="0", output="out.ome.zarr", **more) == 0
        at = folder / "out.ome.zarr"
        arg = "volume" if name == "stitch_3d_with_refinement" or arg == "volume" else "grid"
    one, other = (sorted(p for p in (f / "out.ome.zarr").rglob("*") if p.is_file()) for f in (tmp_path / "one", folder))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
    assert (tmp_path / "one/tiles.csv").read_bytes() == (tmp_path / "stitch_3d_with_refinement/tiles.csv").read_bytes()


def test_tiles_lie_where_they_are_and_values_from_0_to_1(grid: Path, tmp_path: Path) -> None:
    assert prepare(grid, tmp_path) == 0
    with open(tmp_path / "tiles.csv") as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row["y"]), float(row["x"])] for row in rows])
    assert tile_error(MADE, 0, found) < 0.15
    image = open_image(tmp_path / "out.ome.zarr")
    values = image.read()
    assert values.max() == 1 and values.min() >= 0 and (values > 0.3).mean() > 0.1
    assert np.allclose(image.scale, 10_000) and abs(image.origin[0]) < 5_000  # nm: z = 0 is the surface
    figures = record_of(tmp_path, "prepare_slice")["quality"]
    assert abs(figures["surface_plane"] - MADE.surface) < 1 and figures["seams_found"] == 7


def test_light_is_even(grid: Path, tmp_path: Path) -> None:
    given = {"stitch_overlap_fraction": MADE.overlap, "output": "out.ome.zarr"}
    assert run_stage("transform.fix_illumination", tmp_path, grid=grid, slice="0", **given) == 0
    before, after = uneven_light(MADE, open_image(grid).read(), open_image(tmp_path / "out.ome.zarr").read())
    assert before > 0.05 and after < 0.01


def most_held(ny: int, scratch: Path) -> int:
    """Bytes that are held at most to make a clean slice of (16, ny, 512): tissue amid agarose, dimmer with depth."""
    nz, nx = 16, 512
    grain = np.random.default_rng(0).gamma(6, 1 / 6, (nz, 64, 64)).astype(np.float32)

    def read(region: tuple[slice, ...]) -> np.ndarray:
        z, y, x = (np.arange(r.start, r.stop) for r in region)
        tissue = (np.abs(y - ny / 2) < ny / 3)[:, None] & (np.abs(x - nx / 2) < nx / 3)
        light = 50 * np.exp(-z / 6, dtype=np.float32)[:, None, None]
        return light * np.where(tissue, np.float32(10), np.float32(1)) * grain[np.ix_(z, y % 64, x % 64)]

    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3)
    tracemalloc.start()
    volume = SliceVolume((nz, ny, nx), space, read)
    made, found = prepare_slice.finish(volume, prepare_slice.Parameters(), scratch / f"{ny}.ome.zarr")
    made.save(scratch / f"{ny} clean.ome.zarr", "none")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 < found["agarose_share"] < 0.6
    return most


def test_memory_does_not_follow_the_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is large: what is known of all columns is means of more of them, and of squares of tissue some do."""
    for name, most in {"agarose.MOST_BOXES": 2**14, "agarose.MOST_PX": 512, "attenuation.MOST_SQUARES": 2**12}.items():
        monkeypatch.setattr(f"voxelmill.transform.{name}", most)
    most_held(256, tmp_path)  # loads what it needs
    assert most_held(2048, tmp_path) - most_held(512, tmp_path) < 1.5 * 512 * 1536  # bytes a column; the slice has 64


def test_memory_is_that_of_two_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes into a step, one that comes out of it; whatever else is needed is of a part of a tile."""
    for module in ("tile_grid", "resample_mosaic_grid"):
        monkeypatch.setattr(f"voxelmill.transform.{module}.PART", 2**16)
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3)
    p = prepare_slice.Parameters(resolution=10.5, fix_curvature_enabled=True)

    def most_held_by_tiles(side: int) -> float:
        tile = np.random.default_rng(0).gamma(6, 1 / 6, (24, side, side)).astype(np.float32)
        tile[:8] *= 0.1
        tracemalloc.start()
        assert "sag" in prepare_slice.stitch(TileGrid((24, side, side), (1, 2), space, lambda _: tile), p, None)[2]
        most = tracemalloc.get_traced_memory()[1] / tile.nbytes
        tracemalloc.stop()
        return most

    most_held_by_tiles(64)  # loads what it needs
    assert most_held_by_tiles(256) < 3


def test_a_slice_that_shows_the_same_everywhere(tmp_path: Path) -> None:
    flat = make_store(tmp_path / GRID, np.full((16, 64, 64), 7, np.float32), shard=(16, 32, 32), chunk=(16, 32, 32))
    assert prepare(flat, tmp_path, resolution=-1) == 0
    assert "of 4 seams" in record_of(tmp_path, "prepare_slice")["quality"]["notes"]


def test_a_slice_without_anything_is_left_out(tmp_path: Path) -> None:
    empty = make_store(tmp_path / GRID, np.zeros((16, 64, 64), np.float32), shard=(16, 32, 32), chunk=(16, 32, 32))
    assert prepare(empty, tmp_path / "plain", resolution=-1) == 0
    assert "z00" in record_of(tmp_path / "plain", "prepare_slice")["left_out"]
    assert not (tmp_path / "plain/out.ome.zarr").exists() and not (tmp_path / "plain/stitched.ome.zarr").exists()
    assert prepare(empty, tmp_path / "strict", resolution=-1, strict=True) == 65


def test_a_slice_of_agarose_alone_is_made_and_it_is_said(tmp_path: Path) -> None:
    """Its tiles lie as the stage has them; nothing in it is amplified to look like tissue."""
    made = replace(MADE, spoiled=(0,), grid=(2, 2))
    assert prepare(write_mosaics(tmp_path / "made", made) / GRID, tmp_path) == 0
    figures = record_of(tmp_path, "prepare_slice")["quality"]
    assert figures["notes"] == "none of 4 seams shows anything that both tiles have; tiles lie as the stage has them"
    with open(tmp_path / "tiles.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["y"]), float(row["x"]), float(row["quality"])) for row in rows] == [
        (0, 0, 0), (0, 72, 0), (72, 0, 0), (72, 72, 0)
    ]  # fmt: skip
    assert np.isfinite(open_image(tmp_path / "out.ome.zarr").read()).all()


def test_tiles_that_are_missing_stay_empty_and_harm_no_other(grid: Path, tmp_path: Path) -> None:
    values = open_image(grid).read()
    values[:, :96, 96:192] = 0  # tile 1
    values[3:5, 100:110, 5:9] = np.nan
    holed = make_store(tmp_path / GRID, values, voxel_size=(1e4, 1e4, 1e4), shard=MADE.tile, chunk=MADE.tile)
    assert prepare(holed, tmp_path) == 0
    with open(tmp_path / "tiles.csv") as file:
        found = np.array([[float(row["y"]), float(row["x"])] for row in csv.DictReader(file)])
    there = [0, 2, 3, 4, 5]
    off = found[there] - MADE.positions(0)[there]
    assert np.hypot(*(off - off.mean(0)).T).max() < 0.3
    made = open_image(tmp_path / "out.ome.zarr").read()
    assert np.isfinite(made).all() and not made[:, 30:60, 110:130].any() and made[:, 110:150, 110:130].all()
    said = "80 voxels of 1 tiles are NaN or infinite, most in tile 3; they count as not acquired"
    assert record_of(tmp_path, "prepare_slice")["quality"]["notes_numbers"] == said
    for step in ("resample_mosaic_grid", "fix_illumination"):  # whichever comes first
        more = {"resolution": -1} if step == "resample_mosaic_grid" else {"stitch_overlap_fraction": MADE.overlap}
        assert run_stage(f"transform.{step}", tmp_path, grid=holed, slice="0", output=f"{step}.ome.zarr", **more) == 0
        assert record_of(tmp_path, step)["quality"]["notes_numbers"] == said


def test_a_saturated_tile_is_said_and_spoils_no_other(grid: Path, tmp_path: Path) -> None:
    """It is the brightest by far, and would say where the surface lies, how tiles are lit, and what is agarose."""
    values = open_image(grid).read()
    values[:, :96, :96] = 60_000
    full = make_store(tmp_path / GRID, values, voxel_size=(1e4, 1e4, 1e4), shard=MADE.tile, chunk=MADE.tile)
    assert prepare(grid, tmp_path / "whole") == prepare(full, tmp_path) == 0
    whole, found = (record_of(folder, "prepare_slice")["quality"] for folder in (tmp_path / "whole", tmp_path))
    assert found["notes_saturated"].startswith("1 tiles are saturated, most tile 0, of which 100% have the highest value")
    assert not [name for name in whole if name.startswith("notes")]
    assert abs(found["surface_plane"] - whole["surface_plane"]) < 1
    assert open_image(tmp_path / "out.ome.zarr").shape[0] == open_image(tmp_path / "whole/out.ome.zarr").shape[0]
    assert abs(found["illumination_cv"] / whole["illumination_cv"] - 1) < 0.1
    assert abs(found["agarose_share"] - whole["agarose_share"]) < 0.2
