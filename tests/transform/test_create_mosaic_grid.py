"""Mosaic grids: the pixels of raw tiles, exactly, however they were recorded; what cannot be read is left out by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing import oct
from voxelmill.testing.stages import record_of, run_stage

MADE = oct.Acquisition(slices=1, grid=(3, 2), tile=(10, 36, 24), surface=2.0, n_extra=6, galvo_shift=17)
STORE = "published/mosaic_grid_3d_z00.ome.zarr"


def create(folder: Path, made: oct.Acquisition, spoil: object = None, **more: object) -> int:
    """Exit code of the two stages on its raw tiles; `spoil` gets their folder before."""
    source = oct.write_raw(folder / "raw", made)
    if spoil:
        spoil(source)  # type: ignore[operator]
    listing = {"tiles": "tiles.csv", "of_slices": "slices", "slice_list": "slices.csv", "tables": "published"}
    legacy = {"preprocess": True} if made.legacy else {}
    assert run_stage("ingest.list_tiles", folder, source=source, **listing, **legacy) == 0
    words = {"source": source, "tiles": "tiles.csv", "slice": "z00", "output": STORE, "galvo": "galvo.json"}
    return run_stage("transform.create_mosaic_grid", folder, **{**words, "axial_resolution": 10, **legacy, **more})


@pytest.mark.parametrize("kind", [{}, {"legacy": True}, {"galvo_shift": 0}, {"n_extra": 0}, {"looks": 0}])
def test_the_pixels_come_out_exactly(tmp_path: Path, kind: dict):
    made = replace(MADE, **kind)
    assert create(tmp_path, made, resolution=-1) == 0
    image = open_image(tmp_path / STORE)
    assert np.array_equal(image.read(), made.mosaic(0))
    assert image.layout().chunk == made.tile and image.scale == pytest.approx((1e4, 1e4, 1e4))
    assert json.loads((tmp_path / "galvo.json").read_text())["galvo_fix"] == bool(made.n_extra)


def test_the_cameras_shift_is_undone(tmp_path: Path):
    made = replace(MADE, camera_shift=9, galvo_shift=0)
    assert create(tmp_path, made, resolution=-1, fix_camera_shift=True) == 0
    found, truth = open_image(tmp_path / STORE).read(), made.mosaic(0)
    first = np.arange(0, found.shape[1], made.tile[1])  # saturated, and now as their neighbours
    assert np.array_equal(found[:, first], truth[:, first + 1])
    assert np.array_equal(np.delete(found, first, 1), np.delete(truth, first, 1))


@pytest.mark.parametrize("factor, files", [(1, 6), (2, 2), (4, 1)])
def test_a_file_holds_a_square_of_tiles(tmp_path: Path, factor: int, files: int):
    assert create(tmp_path, MADE, resolution=-1, sharding_factor=factor) == 0
    assert len([p for p in (tmp_path / STORE / "0/c").rglob("*") if p.is_file()]) == files
    assert np.array_equal(open_image(tmp_path / STORE).read(), MADE.mosaic(0))


def test_another_resolution_keeps_each_tile_to_itself(tmp_path: Path):
    assert create(tmp_path, MADE, resolution=20) == 0
    image, (nz, n1, n2) = open_image(tmp_path / STORE), MADE.tile
    assert image.layout().chunk == (5, 18, 12) and image.scale == pytest.approx((2e4, 2e4, 2e4))
    assert image.origin == pytest.approx((5e3, 5e3, 5e3))  # the middle of the first voxel, as the old ones lie
    cells = MADE.mosaic(0).reshape(nz // 2, 2, 3 * n1 // 2, 2, n2, 2)
    assert np.allclose(image.read(), cells.mean((1, 3, 5)), rtol=1e-5)


def test_below_the_threshold_nothing_is_rolled_and_it_is_said(tmp_path: Path):
    assert create(tmp_path, replace(MADE, n_extra=0), galvo_confidence_threshold=1) == 0
    assert "notes" not in record_of(tmp_path, "create_mosaic_grid")["quality"]  # there is no return
    flat = oct.Acquisition(slices=1, spoiled=(0,), grid=(1, 2), tile=(6, 36, 24), surface=1.0, n_extra=6, galvo_shift=17)
    assert create(tmp_path / "b", flat, lambda raw: fill(raw, 5.0), resolution=-1) == 0
    (note,) = record_of(tmp_path / "b", "create_mosaic_grid")["quality"]["notes"]
    assert note == "slice 0: the galvo's return was not found (its tiles are empty); A-lines stay as recorded"
    noise = np.random.default_rng(1)
    assert create(tmp_path / "c", flat, lambda raw: fill(raw, 100.0, noise), resolution=-1) == 0
    (note,) = record_of(tmp_path / "c", "create_mosaic_grid")["quality"]["notes"]
    assert "below 0.6); A-lines stay as recorded" in note


def fill(raw: Path, mean: float, noise: np.random.Generator | None = None) -> None:
    """Tiles without any structure."""
    for path in raw.rglob("*.bin"):
        n = path.stat().st_size // 4
        (noise.gamma(4, mean / 4, n) if noise else np.full(n, mean)).astype("<f4").tofile(path)


def test_a_tile_that_cannot_be_read_is_left_out(tmp_path: Path, capsys):
    def cut(raw: Path) -> None:
        for path in raw.glob("z00/tile_x01_y01_z00/*.bin"):
            path.write_bytes(path.read_bytes()[:-2])

    assert create(tmp_path, MADE, cut, resolution=-1) == 0
    found, truth = open_image(tmp_path / STORE).read(), MADE.mosaic(0)
    truth[:, 36:72, 24:] = 0
    assert np.array_equal(found, truth)
    (left,) = record_of(tmp_path, "create_mosaic_grid")["left_out"].items()
    assert left[0] == "z00/tile_x01_y01_z00" and "expected a multiple of 1680: float32 B-scans of 10 x 42" in left[1]
    assert create(tmp_path / "b", MADE, cut, strict=True) == 65
    assert "z00/tile_x01_y01_z00" in capsys.readouterr().err


def test_a_slice_without_any_tile_is_left_out_whole(tmp_path: Path):
    assert create(tmp_path, MADE, lambda raw: [p.unlink() for p in raw.rglob("*.bin")]) == 0
    assert not (tmp_path / STORE).exists() and not (tmp_path / "galvo.json").exists()
    left = record_of(tmp_path, "create_mosaic_grid")["left_out"]
    assert "none of its 6 tiles can be read; the first: z00/tile_x00_y00_z00: 0 B-scans" in left["z00"]


def test_samples_that_are_no_number_are_counted(tmp_path: Path):
    def spoil(raw: Path) -> None:
        path = sorted((raw / "z00/tile_x01_y00_z00").glob("image_*.bin"))[0]
        values = np.fromfile(path, "<f4")
        values[:7] = np.nan
        values.tofile(path)

    assert create(tmp_path, MADE, spoil, resolution=-1, fix_galvo_shift=False) == 0
    assert np.isfinite(open_image(tmp_path / STORE).read()).all()
    (note,) = record_of(tmp_path, "create_mosaic_grid")["quality"]["notes"]
    assert note.startswith("slice 0: 7 samples of 1 tiles are NaN or infinite, most in z00/tile_x01_y00_z00")
