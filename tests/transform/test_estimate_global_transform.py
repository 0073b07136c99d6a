"""One layout for all slices: what is pooled, what is left out, and that the slices are laid out by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.space import Space
from voxelmill.testing.mosaics import texture
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.tile_grid import TileGrid, in_mm

TURNED = np.array([[77.0, -2.0], [3.0, 76.0]])  # a step along mx moves a tile by (77, 3)
COUNTS = (3, 3)


def slice_grid(folder: Path, number: int, matrix: np.ndarray = TURNED, empty: tuple[int, ...] = ()) -> Path:
    """Tiles of 96 px at matrix @ (mx, my), each look lit otherwise; nothing but noise in those that are `empty`."""
    scene, rng = texture((300, 300), number), np.random.default_rng(number)

    def read(i: int) -> np.ndarray:
        y, x = np.rint(matrix @ np.divmod(i, COUNTS[1]) + np.array([8, 10])).astype(int)
        seen = scene[y : y + 96, x : x + 96] * 400 + 50
        seen = rng.normal(5, 0.5, seen.shape) if i in empty else seen * (1 + 0.05 * (i % 2))
        return np.repeat(seen[None], 4, 0).astype(np.float32)

    folder.mkdir(exist_ok=True)
    path = folder / f"mosaic_grid_3d_z{number:02d}.ome.zarr"
    space = in_mm(Space.zyx((3000.0, 3000.0, 3000.0)))
    TileGrid((4, 96, 96), COUNTS, space, read).save(path)
    return path


def estimate(folder: Path, grids: list[Path], code: int = 0, **more) -> tuple[np.ndarray, dict]:
    words = {
        "grids": grids,
        "output": "a.npy",
        "described_in": "a.json",
        "stitch_overlap_fraction": 0.2,
        "resolution": -1,
        **more,
    }
    assert run_stage("transform.estimate_global_transform", folder, **words) == code
    return (np.load(folder / "a.npy"), json.loads((folder / "a.json").read_text())) if code == 0 else (np.zeros(0), {})


@pytest.fixture(scope="module")
def grids(tmp_path_factory) -> list[Path]:
    """Slice 7 as the stage moves; slice 8 too, but all it holds is two tiles; slice 9 is another instrument's."""
    folder = tmp_path_factory.mktemp("grids")
    other = np.array([[74.0, 0.0], [0.0, 74.0]])
    return [slice_grid(folder, 7), slice_grid(folder, 8, empty=(0, 1, 2, 5, 6, 7, 8)), slice_grid(folder, 9, other)]


def test_all_slices_say_it_together(grids: list[Path], tmp_path: Path):
    matrix, told = estimate(tmp_path, grids[:2])
    assert np.abs(matrix - TURNED).max() < 0.1
    assert told["slices"] == ["z07", "z08"] and told["theta_deg"] == pytest.approx(np.degrees(np.arctan2(3, 77)), abs=0.1)
    assert told["seams_pooled"] == 13  # 12 of the whole slice, one of the other
    assert record_of(tmp_path, "estimate_global_transform")["quality"]["residual_px_rms"] < 1


def test_slices_can_be_chosen(grids: list[Path], tmp_path: Path, capsys):
    matrix, told = estimate(tmp_path, grids, stitch_global_transform_slices="9")
    assert np.abs(matrix - np.diag([74, 74])).max() < 0.1 and told["slices"] == ["z09"]
    estimate(tmp_path / "no", grids, 65, stitch_global_transform_slices="3-5")
    assert "3-5: none of them is here (z07, z08, z09)" in capsys.readouterr().err
    estimate(tmp_path / "odd", grids, 65, stitch_global_transform_slices="5-3")
    assert "stitch_global_transform_slices: '5-3' runs backwards" in capsys.readouterr().err


def test_empty_overlaps_are_left_out(grids: list[Path], tmp_path: Path, capsys):
    """Otsu's threshold parts noise from tissue; without it (-1) only what is zero is empty."""
    found = {}
    for fraction in ("0", "0.9", "-1"):
        try:
            _, told = estimate(tmp_path / fraction, [grids[1]], stitch_global_transform_max_empty_fraction=fraction)
            found[fraction] = told["seams_pooled"]
        except AssertionError:
            assert "no seam of 1 slices says anything" in capsys.readouterr().err
            found[fraction] = 0
    assert found["0"] == 0 and found["0.9"] == 1 and found["-1"] >= 1


def test_grey_levels_are_matched_where_asked(grids: list[Path], tmp_path: Path):
    one, other = (estimate(tmp_path / t, [grids[0]], stitch_global_transform_histogram_match=t)[0] for t in ("true", "false"))
    assert not np.array_equal(one, other) and np.abs(one - other).max() < 0.2


def test_seams_are_drawn_by_the_seed(grids: list[Path], tmp_path: Path):
    drawn = [
        estimate(tmp_path / f"{k}", grids[:1], stitch_global_transform_n_samples=4, stitch_global_transform_seed=seed)
        for k, seed in enumerate((0, 0, 1))
    ]
    assert all(told["seams_fitted"] == 4 for _, told in drawn)
    assert np.array_equal(drawn[0][0], drawn[1][0]) and not np.array_equal(drawn[0][0], drawn[2][0])
    _, told = estimate(tmp_path / "all", grids[:1], stitch_global_transform_n_samples=0)
    assert told["seams_fitted"] == told["seams_pooled"] == 12


def test_a_sparse_slice_is_laid_out_by_all(grids: list[Path], tmp_path: Path):
    """Its one seam says nothing of steps along my; with the pooled model its tiles lie right, unrefined."""
    estimate(tmp_path, grids[:2])
    words = {"grid": grids[1], "slice": "8", "output": "s.ome.zarr", "tiles": "t.csv", "seams": "e.csv", "notes": "n.npz"}
    words |= {"stitch_overlap_fraction": 0.2, "max_blend_refinement_px": 0}
    assert run_stage("transform.stitch_3d_with_refinement", tmp_path, **words, transform=tmp_path / "a.npy") == 0
    at = np.loadtxt(tmp_path / "t.csv", delimiter=",", skiprows=1)[:, 3:5]
    assert np.abs((at[4] - at[3]) - TURNED[:, 1]).max() <= 1 and np.abs((at[8] - at[5]) - TURNED[:, 0]).max() <= 1
