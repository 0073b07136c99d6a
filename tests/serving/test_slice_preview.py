"""Slice preview: one page a slice, the right way round, and honest where a step did not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from voxelmill.core.volume import open_image
from voxelmill.serving.slice_preview import drawn, middle_of
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.stages import run_stage
from voxelmill.transform.slice_notes import read_notes

MADE = Acquisition(slices=1, grid=(2, 3), tile=(40, 64, 96), drift=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slice")
    grid = write_mosaics(folder / "made", MADE) / "mosaic_grid_3d_z00.ome.zarr"
    out = {"output": "a.ome.zarr", "tiles": "t.csv", "seams": "s.csv", "notes": "n.npz"}
    given = {"grid": grid, "slice": "0", "stitch_overlap_fraction": MADE.overlap}
    assert run_stage("transform.prepare_slice", folder, **given, **out) == 0
    return folder


def test_the_page_is_drawn_and_the_same_every_time(prepared: Path, tmp_path: Path):
    given = {"volume": prepared / "a.ome.zarr", "notes": [prepared / "n.npz"], "slice": "z00"}
    for name in ("a.png", "b.png"):
        assert run_stage("serving.slice_preview", tmp_path, **given, output=name) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert imread(tmp_path / "a.png").shape[1] == 2250


def test_dim_1_runs_down_and_lengths_are_mm(prepared: Path):
    axes = drawn(open_image(prepared / "a.ome.zarr"), read_notes([prepared / "n.npz"]), "z00").axes
    tiles = next(ax for ax in axes if "tiles," in ax.get_title())
    (_, across), (down, _) = tiles.get_xlim(), tiles.get_ylim()
    assert across == pytest.approx(MADE.canvas[1] * 0.01, abs=0.1)
    assert down == pytest.approx(MADE.canvas[0] * 0.01, abs=0.1)
    light = next(ax for ax in axes if ax.get_title() == "Tiles as they were lit")
    cells = read_notes([prepared / "n.npz"])["cells_before"]
    shown = light.images[0].get_array()
    rows, columns = cells.shape[1:]
    assert np.array_equal(shown[rows:, :columns], cells[3])  # mx 1, my 0: below the first


def test_light_over_depth_is_drawn_as_it_was_corrected(prepared: Path):
    """By what was done, also where tissue told of it, and not by what its profile alone would say."""
    notes = read_notes([prepared / "n.npz"])
    notes["profile_gain"] = np.linspace(1, 3, len(notes["profile"]))
    axes = drawn(open_image(prepared / "a.ome.zarr"), notes, "z00").axes
    read, even = next(ax for ax in axes if ax.get_title() == "Light over depth").lines
    dark = notes["profile"][:3].mean()
    gain = (even.get_ydata() - dark) / (read.get_ydata() - dark)
    assert gain[10:] == pytest.approx(notes["profile_gain"][10:], rel=0.05)


def test_a_step_that_did_not_run_is_said(prepared: Path):
    notes = {k: v for k, v in read_notes([prepared / "n.npz"]).items() if k not in ("flat", "cells_before", "cells_after")}
    axes = drawn(open_image(prepared / "a.ome.zarr"), notes, "z00").axes
    assert sum(text.get_text() == "not lit" for ax in axes for text in ax.texts) == 3


def test_a_seam_lies_in_the_middle_of_its_overlap():
    below = middle_of(np.array([0.0, 0.0]), np.array([8.0, 1.0]), np.array([10.0, 10.0]))
    assert below == [(1.0, 9.0), (10.0, 9.0)]
