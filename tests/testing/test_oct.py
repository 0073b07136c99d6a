"""The made acquisition: its truth holds for what it writes, and its scorers tell right from wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing import oct, oct_score

SMALL = oct.Acquisition(slices=2, grid=(2, 2), tile=(24, 48, 48), looks=0, vignetting=0.3, seed=3)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_what_a_tile_shows_lies_in_the_block_where_the_truth_says():
    from scipy import ndimage

    s, n, z = 1, 1, 7
    mine = SMALL.pixels(s, n)[z]
    pixels = np.stack(np.meshgrid(*map(np.arange, SMALL.tile[1:]), indexing="ij"), -1).reshape(-1, 2).astype(float)
    at = SMALL.to_block(s, pixels + SMALL.positions(s)[n] + SMALL.stage[s])
    plane = SMALL.block[s * SMALL.thickness + z - int(SMALL.surface)]
    there = ndimage.map_coordinates(plane, at.T, order=3).reshape(mine.shape)
    assert correlation(mine / SMALL.flat, there) > 0.97
    assert correlation(mine, np.roll(there, 3, 0)) < 0.9
    assert np.allclose(SMALL.from_block(s, SMALL.to_block(s, pixels)), pixels)


def test_neighbours_show_the_same_where_they_overlap():
    a, b = SMALL.pixels(0, 0), SMALL.pixels(0, 2)  # 0,0 and 1,0: along dim 1, stage x
    down, across = np.rint(SMALL.positions(0)[2] - SMALL.positions(0)[0]).astype(int)
    low, high = max(0, across), min(48, 48 + across)
    mine, other = a[12, down:, low:high] / SMALL.flat[down:, low:high], b[12, : 48 - down, low - across : high - across]
    assert correlation(mine, other / SMALL.flat[: 48 - down, low - across : high - across]) > 0.9


@pytest.mark.parametrize("legacy", [False, True])
def test_raw_tiles_hold_the_pixels(tmp_path: Path, legacy: bool):
    made = oct.Acquisition(slices=1, grid=(1, 2), tile=(8, 12, 20), legacy=legacy, n_extra=4, galvo_shift=5)
    oct.write_raw(tmp_path, made, nested=False)
    folder = tmp_path / "tile_x00_y01_z00"
    lines, scans = (20, 12) if legacy else (12, 20)
    parts = [np.fromfile(f, "<f4").reshape((8, lines + 4, -1), order="F") for f in sorted(folder.glob("*.bin"))]
    ring = np.roll(np.concatenate(parts, axis=2), 5, axis=1)[:, :lines]
    assert ring.shape[2] == scans
    assert np.array_equal(np.rot90(ring, 3, (1, 2))[:, ::-1] if legacy else ring, made.pixels(0, 1))
    assert "stage_y_pos_mm" in (folder / "info.txt").read_text()


def test_mosaics_and_shifts(tmp_path: Path):
    oct.write_mosaics(tmp_path, SMALL)
    image = open_image(tmp_path / "mosaic_grid_3d_z01.ome.zarr")
    assert image.layout().chunk == SMALL.tile and np.allclose(image.scale, 10_000)
    assert np.array_equal(image.read()[:, 48:, :48], SMALL.pixels(1, 2))
    assert (tmp_path / "shifts_xy.csv").read_text().startswith("fixed_id,moving_id,x_shift,y_shift,x_shift_mm,y_shift_mm,")


def test_scorers_tell_right_from_wrong():
    right = SMALL.positions(1)
    assert oct_score.tile_error(SMALL, 1, right + 5) < 1e-9
    assert oct_score.tile_error(SMALL, 1, right * 1.1) > 1
    truth = lambda p: SMALL.from_block(1, SMALL.to_block(0, p))  # noqa: E731
    assert oct_score.pair_error(SMALL, 0, 1, truth) < 1e-9 < 0.1 < oct_score.motor_error(SMALL, 0, 1)
    grid = SMALL.mosaic(0)
    before, after = oct_score.uneven_light(SMALL, grid, grid / np.tile(SMALL.flat, SMALL.grid))
    assert before > 0.05 and after < 1e-3


def test_a_volume_is_found_in_the_block_and_its_shifted_planes_are_seen():
    volume = SMALL.block[4:34, 10:-12, 6:-8].copy()
    score = oct_score.volume_score(SMALL, volume)
    assert score["z0"] == 4 and score["nrmse"] < 1e-5 and score["ssim"] > 0.999 and score["plane_shift_rms_px"] < 0.05
    volume[15:] = np.roll(volume[15:], 2, axis=1)
    assert 0.8 < oct_score.volume_score(SMALL, volume)["plane_shift_rms_px"] < 2.5
    assert oct_score.volume_score(SMALL, volume)["ssim"] < 0.95


def test_a_tilted_block_moves_along_dim_1():
    """45 degrees: by a pixel a plane."""
    moved = {}
    for tilt in (0.0, 45.0):
        tissue = oct.phantom((40, 120, 100), tilt=tilt)[[14, 25]] > 0.4
        low, high = (np.average(np.arange(120), weights=plane.sum(1)) for plane in tissue)
        moved[tilt] = high - low
    assert abs(moved[45.0] - moved[0.0] - 11) < 1.5


def test_scores_of_focus_and_depth_are_0_for_the_truth() -> None:
    from voxelmill.testing.oct_score import uneven_depth, uneven_focus

    made = oct.Acquisition(curvature=4.0)
    before, after = uneven_focus(made, made.sag)
    assert before > 0.5 and after == 0
    assert uneven_focus(made, 0 * made.sag) == (before, before)
    before, after = uneven_depth(made, 1 / made.beam)
    assert before > 0.2 and after < 0.1 < before
