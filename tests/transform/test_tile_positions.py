"""Where tiles lie: exact on made mosaics, honest where they show nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError
from voxelmill.testing.mosaics import Mosaic, mosaic
from voxelmill.transform.tile_positions import LEAST, Seam, measure, neighbours, place, solve


@pytest.fixture(scope="module")
def made() -> Mosaic:
    return mosaic(3, 4, jitter=3.0)


def placed(m: Mosaic, tiles: np.ndarray | None = None):
    return place((m.tiles if tiles is None else tiles).__getitem__, m.nominal, m.shapes)


def test_tiles_are_placed_to_a_fraction_of_a_pixel(made):
    found = placed(made)
    assert made.error(made.nominal) > 2.5 and made.error(found.positions) < 0.05
    np.testing.assert_allclose(found.positions.mean(0), made.nominal.mean(0), atol=1e-9)
    assert found.quality.min() > 0.8 and len(found.seams) == 17


def test_an_offset_is_where_b_lies_less_where_a_lies():
    """The sign, on a dot: a shows it at (20, 90), b at (18, 10); so b lies (2, 80) from a."""
    tiles = np.random.default_rng(0).normal(100, 1, (2, 64, 100))
    tiles[0, 17:24, 87:94], tiles[1, 15:22, 7:14] = 300, 300
    (found,) = measure(tiles.__getitem__, np.array([[0, 0], [0, 78.0]]), np.array([[64, 100]] * 2), [(0, 1)], 16)
    np.testing.assert_allclose(found.offset, [2, 80], atol=0.3)


def test_an_empty_tile_keeps_its_place_beside_its_neighbours(made):
    tiles = made.tiles.copy()
    tiles[5] = 100
    found = placed(made, tiles)
    others = np.arange(12) != 5
    off = (found.positions - made.truth)[others]
    assert np.hypot(*(off - off.mean(0)).T).max() < 0.15 and found.quality[5] == 0
    moved = found.positions - made.nominal  # as its neighbours are, and no farther
    assert (moved[5] >= moved[[1, 4, 6, 9]].min(0) - 1e-9).all() and (moved[5] <= moved[[1, 4, 6, 9]].max(0) + 1e-9).all()


def test_a_mosaic_of_nothing_is_left_as_it_is(made):
    found = placed(made, np.full_like(made.tiles, 7))
    np.testing.assert_allclose(found.positions, made.nominal, atol=1e-9)
    assert not found.quality.any()


@pytest.fixture(scope="module")
def seams(made) -> list[Seam]:
    return list(measure(made.tiles.__getitem__, made.nominal, made.shapes, neighbours(made.nominal, made.shapes), 32))


@pytest.mark.parametrize("k", range(17))  # those at the corners too, where one other seam contradicts it
def test_a_seam_that_is_grossly_wrong_is_rejected_and_named(made, seams, k):
    wrong = seams[k]
    off = Seam(wrong.a, wrong.b, wrong.offset + np.array([15, -9]), wrong.correlation, wrong.weight)
    found = solve([*seams[:k], off, *seams[k + 1 :]], made.nominal, made.shapes)
    assert made.error(found.positions) < 0.07
    worst = max(found.seams, key=lambda s: s.residual)
    assert (worst.a, worst.b) == (wrong.a, wrong.b) and worst.quality < 0.1 * wrong.quality


def test_a_stage_that_is_far_off_is_found_out_within_reach():
    made = mosaic(2, 3, tile=160, overlap=0.35)
    stage = made.nominal * 1.354  # as if tiles overlapped by 12 %
    near, far = (place(made.tiles.__getitem__, stage, made.shapes, reach) for reach in (0, 40))
    assert made.error(far.positions) < 0.05 and made.error(near.positions) > 1


@pytest.mark.parametrize("overlap", [0.5, 0.6, 0.75])
def test_small_tiles_that_overlap_by_far(overlap):
    """Halved, an overlap of 64 px and more may be smaller than registration takes."""
    made = mosaic(3, 3, overlap=overlap)
    assert made.error(place(made.tiles.__getitem__, made.nominal, made.shapes).positions) < 0.07


def glinting(glints: int, dim: bool):
    """Bright spots at one place of the camera, others in each tile: as such they are 31 px off those before."""
    made, rng = mosaic(1, 2, 256, overlap=0.5, jitter=1, seed=1), np.random.default_rng(1)
    tiles = made.tiles.astype(np.float32)
    for tile, x in zip(tiles, (190, 95)):
        y, x = rng.integers(1, 256, glints), np.clip(rng.normal(x, 12, glints), 0, 254).astype(int)
        for at in ((y, x), (y - 1, x), *([(y, x + 1), (y - 1, x + 1)] if dim else [])):
            tile[at] = np.minimum(60_000, tile[at] + 30_000 * rng.exponential(1, glints) if dim else 60_000)
    placed = place(tiles.__getitem__, made.nominal, made.shapes)
    return made.error(placed.positions), placed.quality


@pytest.mark.parametrize("glints", [100, 400, 800])
def test_reflections_of_the_lamp_do_not_lead_tiles_astray(glints):
    off, quality = glinting(glints, dim=False)
    assert off < 0.1 and quality.min() > 0.5


@pytest.mark.parametrize("dim", [True, False])
def test_where_reflections_may_the_quality_says_so(dim):
    off, quality = glinting(1600, dim)
    assert off < 0.1 or quality.max() < 0.3


def test_several_looks_at_one_tile_are_weighed_together(made):
    noisy = made.tiles[:, None] + np.random.default_rng(0).normal(0, 500, (12, 6, 128, 128))
    alone, together = (place(lambda k, n=n: noisy[k, :n], made.nominal, made.shapes) for n in (1, 6))
    assert made.error(together.positions) < 0.7 * made.error(alone.positions)


def test_tiles_are_read_once_and_let_go(made):
    read: list[int] = []
    place(lambda k: read.append(k) or made.tiles[k], made.nominal, made.shapes)
    assert sorted(read) == list(range(12))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.17, 0.39), st.randoms())
def test_neighbours_are_those_that_overlap(rows, columns, overlap, random):
    step = 100 * (1 - overlap)
    nominal = np.array([(r * step, c * step) for r in range(rows) for c in range(columns)])
    order = list(range(len(nominal)))
    random.shuffle(order)  # tiles come in any order
    found = neighbours(nominal[order], np.full((len(order), 2), 100))
    assert len(found) == rows * (columns - 1) + columns * (rows - 1) and all(a < b for a, b in found)
    for a, b in found:
        assert np.abs(nominal[order[a]] - nominal[order[b]]).sum() < 1.5 * step


def test_tiles_that_do_not_overlap_have_no_seam():
    assert neighbours(np.array([[0, 0], [0, 100 - LEAST + 1.0], [300, 0]]), np.full((3, 2), 100)) == []


def test_a_tile_of_another_size_than_said_is_refused(made):
    with pytest.raises(DataError, match=r"tile 0: \(128, 128\) px; expected \(100, 100\)"):
        place(made.tiles.__getitem__, 0.7 * made.nominal, np.full((12, 2), 100))
