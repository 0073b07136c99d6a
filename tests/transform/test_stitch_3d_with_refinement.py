"""Layout of tiles: signs and axes, bounds, the displacement model from the overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.space import Space
from voxelmill.testing import oct
from voxelmill.testing.mosaics import texture
from voxelmill.testing.oct_score import tile_error
from voxelmill.transform.stitch_3d_with_refinement import Parameters, stitch
from voxelmill.transform.tile_grid import TileGrid

TURNED = np.array([[77.0, -2.0], [3.0, 76.0]])  # a step along mx moves a tile by (77, 3)
SCENE = texture((300, 300), 3)


def grid(matrix: np.ndarray, counts: tuple[int, int] = (3, 3)) -> TileGrid:
    """Tiles of 96 px of one scene, at matrix @ (mx, my)."""

    def read(i: int) -> np.ndarray:
        y, x = np.rint(matrix @ np.divmod(i, counts[1]) + np.array([8, 10])).astype(int)
        return np.repeat(SCENE[None, y : y + 96, x : x + 96] * 100 + 1, 4, 0)

    return TileGrid((4, 96, 96), counts, Space.zyx((1, 1, 1)), read)


def test_what_neighbours_share_places_tiles() -> None:
    tiles = grid(TURNED)
    _, placed, _ = stitch(tiles, Parameters(stitch_overlap_fraction=0.2))
    truth = tiles.places @ TURNED.T
    off = placed.positions - truth
    assert np.abs(off - off.mean(0)).max() < 0.15


@pytest.mark.parametrize("motor", [True, False])
def test_without_refinement_the_layout_stands(motor: bool) -> None:
    given = Parameters(stitch_overlap_fraction=0.2, max_blend_refinement_px=0, use_motor_positions_for_stitching=motor)
    _, placed, found = stitch(grid(TURNED), given)
    step = placed.positions[3] - placed.positions[0]  # from mx 0 to mx 1
    assert np.allclose(step, (77, 0) if motor else (77, 3), atol=0.6)
    assert found["theta_deg"] == pytest.approx(0 if motor else np.degrees(np.arctan2(3, 77)), abs=0.1)


def test_a_transform_lays_tiles_out() -> None:
    _, placed, _ = stitch(grid(TURNED), Parameters(max_blend_refinement_px=0), TURNED)
    assert np.allclose(placed.positions[1] - placed.positions[0], (-2, 76))


def test_a_tile_may_lie_off_by_the_bound_so_neighbours_by_twice_that() -> None:
    """Each tile is within 10 px of the layout; tiles 1 and 2 lie 14 px nearer to each other than it says."""
    places = np.array([(0.0, 0.0), (0.0, 83.0), (0.0, 145.0)])

    def read(i: int) -> np.ndarray:
        y, x = (places[i] + (8, 10)).astype(int)
        return np.repeat(SCENE[None, y : y + 96, x : x + 96] * 100 + 1, 4, 0)

    tiles = TileGrid((4, 96, 96), (1, 3), Space.zyx((1, 1, 1)), read)
    _, placed, found = stitch(tiles, Parameters(stitch_overlap_fraction=0.2))
    wrong = placed.positions - places
    assert np.abs(wrong - wrong.mean(0)).max() < 0.15 and "notes" not in found


def test_the_slice_shows_the_scene() -> None:
    volume, placed, _ = stitch(grid(TURNED), Parameters(stitch_overlap_fraction=0.2))
    y, x = placed.positions[4]
    seen = volume.read((slice(0, 1), slice(round(y), round(y) + 96), slice(round(x), round(x) + 96)))[0]
    assert (
        np.corrcoef(seen.ravel(), grid(TURNED).read(4)[0].ravel())[0, 1] > 0.97
    )  # places are fractions of a px, which smooths


@pytest.fixture(scope="module")
def small() -> tuple[oct.Acquisition, TileGrid]:
    """Tiles of 64 px that share 16."""
    made = oct.Acquisition(slices=1, grid=(3, 3), drift=0, seed=31)
    tiles = [made.pixels(0, i) for i in range(9)]
    return made, TileGrid(made.tile, made.grid, Space.zyx((1, 1, 1)), tiles.__getitem__)


@pytest.mark.parametrize("said", [0.2, 0.25, 0.3])
def test_small_tiles_are_placed_even_where_the_overlap_is_said_wrong(small: tuple, said: float) -> None:
    made, tiles = small
    _, placed, found = stitch(tiles, Parameters(stitch_overlap_fraction=said))
    assert tile_error(made, 0, placed.positions) < 0.15 and "notes" not in found


def test_a_layout_that_neighbours_contradict_is_said(small: tuple) -> None:
    _, tiles = small
    _, _, found = stitch(tiles, Parameters(stitch_overlap_fraction=0.2, max_blend_refinement_px=1))
    assert "seams lie more than 2 px from where --stitch_overlap_fraction 0.2 has them" in found["notes"]


def test_tiles_of_nothing_but_noise_lie_as_laid_out() -> None:
    rng = np.random.default_rng(5)
    noise = rng.gamma(6, 20, (9, 40, 64, 64)).astype(np.float32)
    tiles = TileGrid((40, 64, 64), (3, 3), Space.zyx((1, 1, 1)), noise.__getitem__)
    _, placed, found = stitch(tiles, Parameters(stitch_overlap_fraction=0.25))
    assert np.allclose(placed.positions[4] - placed.positions[0], 48) and not placed.quality.any()
    assert found["notes"].startswith("none of 12 seams shows anything")
