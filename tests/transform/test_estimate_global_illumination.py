"""One light for all slices: surer than that of any slice, and slices are lit by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import manifest
from voxelmill.core.volume import create_image, open_image
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform.estimate_global_illumination import robust_mean
from voxelmill.transform.illumination import Field

WORDS = {"resolution": -1, "stitch_overlap_fraction": 0.25}
MADE = Acquisition(slices=4, grid=(2, 2), tile=(24, 64, 64), seed=5)


@pytest.fixture(scope="module")
def grids(tmp_path_factory) -> list[Path]:
    return sorted(write_mosaics(tmp_path_factory.mktemp("grids"), MADE).glob("*.ome.zarr"))


def uneven(coefficients: np.ndarray) -> float:
    left = MADE.flat / Field(coefficients, 0, 0).flat(MADE.flat.shape)
    return float(left.std() / left.mean())


def estimate(folder: Path, grids: list[Path], **flags: bool) -> np.ndarray:
    words = {"grids": grids, "output": "a.npy", "described_in": "a.json", **WORDS, **flags}
    assert run_stage("transform.estimate_global_illumination", folder, **words) == 0
    return np.load(folder / "a.npy")


def test_slices_know_it_better_together_and_are_lit_by_it(grids: list[Path], tmp_path: Path):
    alone = []
    for n, grid in enumerate(grids):
        (tmp_path / str(n)).mkdir()
        alone.append(uneven(estimate(tmp_path / str(n), [grid])))
    together = estimate(tmp_path, grids)
    assert uneven(together) < 0.8 * np.mean(alone) and uneven(together) < 0.012
    assert list(json.loads((tmp_path / "a.json").read_text())["off_rms"]) == ["z00", "z01", "z02", "z03"]
    files = {"grid": grids[0], "slice": "0", "output": "lit.ome.zarr", "notes": "n.npz", "light": "a.npy"}
    assert run_stage("transform.fix_illumination", tmp_path, **files, stitch_overlap_fraction=0.25) == 0
    found = np.load(tmp_path / "n.npz")["flat"]
    assert np.abs(found - Field(together, 0, 0).flat(MADE.flat.shape)).max() < 1e-6


def test_a_slice_of_another_light_is_named_and_does_not_count(grids: list[Path], tmp_path: Path):
    other = write_mosaics(tmp_path / "other", Acquisition(slices=1, grid=(2, 2), tile=(24, 64, 64), vignetting=0.9, seed=5))
    strange = (other / "mosaic_grid_3d_z00.ome.zarr").rename(tmp_path / "mosaic_grid_3d_z104.ome.zarr")
    assert uneven(estimate(tmp_path, [*grids, strange])) < 0.015
    notes = record_of(tmp_path, "estimate_global_illumination")["quality"]["notes_light"]
    assert "lit unlike the others: z104 by" in notes


def test_a_bent_focus_is_flattened_before(tmp_path: Path):
    """As it is before each slice is lit: what A-lines lose at their end is no lack of light."""
    bent = sorted(write_mosaics(tmp_path / "bent", replace(MADE, curvature=4.0)).glob("*.ome.zarr"))
    assert uneven(estimate(tmp_path, bent, fix_curvature_enabled=True)) < 0.75 * uneven(estimate(tmp_path, bent))


def test_a_slice_in_which_nothing_shines_is_named(grids: list[Path], tmp_path: Path):
    dark = create_like(grids[0], tmp_path / "mosaic_grid_3d_z104.ome.zarr")
    assert uneven(estimate(tmp_path, [*grids, dark])) < 0.012
    assert record_of(tmp_path, "estimate_global_illumination")["quality"]["notes_light"] == "nothing shines in z104"


def create_like(grid: Path, path: Path) -> Path:
    """The same grid, and nothing in it."""
    source = open_image(grid)
    create_image(path, source.layout(), source.space)
    manifest.write(path)
    return path


def test_slices_that_say_otherwise_lose_their_weight():
    each = np.array([[0.1, 0], [0.101, 0], [0.099, 0], [0.9, 0.4]])
    mean, off = robust_mean(each)
    assert np.abs(mean - [0.1, 0]).max() < 0.004 and off[3] > 0.8
