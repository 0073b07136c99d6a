"""Missing slices: measured tissue where there is any, planes bent into each other elsewhere, and gates that hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import STEP, slice_store, texture
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.transform import affine, zmorph

T = 8  # planes of a slice's thickness


def interpolate(folder: Path, before: np.ndarray, after: np.ndarray, *, spared: bool = False, **more: Any) -> int:
    a, b = slice_store(folder, 4, before, (0.002, 0.5, 0.7)), slice_store(folder, 6, after)
    files = {"before": a, "after": b, "slice": 5, "manifest": "manifest.csv", "diagnostics": "diagnostics.json"}
    more = {"registration_slicing_interval_mm": T * STEP, **more}
    return run_stage(
        "transform.interpolate_missing_slice", folder, **files, output="out.ome.zarr", preview="preview.png", **more
    )


def row(folder: Path) -> list[str]:
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.reader(file))[1]


@pytest.fixture(scope="module")
def block() -> np.ndarray:
    """(3 T, ny, nx): tissue of three slices."""
    made = ndimage.gaussian_filter(np.random.default_rng(5).random((3 * T, 120, 140)), (14, 5, 5))
    return (0.1 + 0.8 * (made - made.min()) / np.ptp(made)).astype(np.float32)


def test_measured_where_the_slice_before_reaches(tmp_path, block):
    assert interpolate(tmp_path, block[: 2 * T + 3], block[2 * T :]) == 0
    made = open_image(tmp_path / "out.ome.zarr")
    assert np.array_equal(made.read(), block[T : 2 * T])
    assert np.allclose(np.array(made.origin) / 1e6, (0.002, 0.5, 0.7))
    assert row(tmp_path) == ["05", "true", "false", "measured", ""]
    assert not (tmp_path / "preview.png").exists()


def test_z_is_physical_where_the_thickness_is_no_whole_number_of_planes(tmp_path, block):
    assert interpolate(tmp_path, block, block, registration_slicing_interval_mm=(T + 0.3) * STEP) == 0
    made = open_image(tmp_path / "out.ome.zarr")
    assert np.array_equal(made.read(), block[T : 2 * T])  # plane T lies 0.3 above where the missing surface was
    assert np.isclose(made.origin[0] / 1e6, 0.002 - 0.3 * STEP)


def test_only_what_nobody_has_seen_is_made_up(tmp_path, block):
    assert interpolate(tmp_path, block[: T + 5], block[2 * T :]) == 0
    made = open_image(tmp_path / "out.ome.zarr").read()
    assert made.shape == (T, 120, 140) and np.array_equal(made[:5], block[T : T + 5])
    assert np.corrcoef(made[5:].ravel(), block[T + 5 : 2 * T].ravel())[0, 1] > 0.9
    assert row(tmp_path)[:4] == ["05", "true", "false", "measured+zmorph"]


@pytest.mark.parametrize("method", ["zmorph", "weighted", "average"])
@pytest.mark.parametrize("depth", [T, T - 2])
def test_nothing_measured(tmp_path, block, method, depth):
    assert interpolate(tmp_path, block[:depth], block[2 * T :], interpolation_method=method, interpolation_preview=True) == 0
    made = open_image(tmp_path / "out.ome.zarr").read()
    assert made.shape == (T, 120, 140) and (made > 0).mean() > 0.9 and row(tmp_path)[3] == method
    assert (tmp_path / "preview.png").stat().st_size > 5000
    if method == "average":
        assert np.allclose(made[3], (block[depth - 1] + block[2 * T]) / 2, atol=1e-6)


def test_zmorph_goes_the_way_of_the_tissue():
    """A pattern that moves by a known affine from the last plane to the first: planes between lie between."""
    picture = texture((160, 170), 2, 6)
    matrix = np.array([[1.02, 0.015, 1.0], [-0.015, 0.98, -1.0]])  # from before to after
    inside = np.array([[1, 0, 0], [0, 1, 0]], float)
    after = affine.warped(picture, _inverse(matrix), picture.shape)
    for metric in ("MSE", "CC"):
        found = zmorph.estimate(np.repeat(picture[None], 3, 0), np.repeat(after[None], 3, 0), zmorph.Gates(metric=metric))
        assert np.all(np.abs(found.matrix - matrix).max(0) < [0.002, 0.002, 0.15])
    for share in (0.25, 0.5, 0.75):
        true = affine.warped(picture, affine.power(matrix, -share), picture.shape)
        made = zmorph.plane(found, share, (0, 0), picture.shape, "linear")
        unmoved = (1 - share) * picture + share * after
        use = np.s_[20:-20, 20:-20]
        assert np.abs(made - true)[use].mean() < 0.35 * np.abs(unmoved - true)[use].mean()
    assert np.allclose(zmorph.plane(found, 0.5, (40, 50), (30, 20), "gaussian"),
                       zmorph.plane(found, 0.5, (0, 0), picture.shape, "linear")[40:70, 50:70], atol=2e-3)  # fmt: skip
    assert np.allclose(affine.power(matrix, 0), inside)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def test_half_the_way_twice_is_the_way():
    matrix = np.array([[1.1, 0.2, 5], [-0.1, 0.9, -3]])
    half = np.vstack([affine.power(matrix, 0.5), [0, 0, 1]])
    assert np.allclose((half @ half)[:2], matrix)
    with pytest.raises(ValueError, match="mirrors"):
        affine.power(np.array([[0, 1, 0], [1, 0, 0]], float), 0.5)


@pytest.mark.parametrize(
    "gate, says",
    [
        ({"interpolation_min_overlap_correlation": 0.3}, "correlate by"),
        (
            {"interpolation_min_overlap_correlation": -1, "interpolation_min_ncc_improvement": 5},
            "raises the correlation from",
        ),
        ({"interpolation_min_foreground_fraction": 1}, "no plane beside the gap shows something on 100%"),
    ],
)
def test_a_gate_that_does_not_open_leaves_a_gap_and_says_so(tmp_path, block, gate, says):
    other = texture((T, 120, 140), 77)
    other[:, :3] = 0
    assert interpolate(tmp_path, block[:T], other, interpolation_preview=True, **gate) == 0
    assert not (tmp_path / "out.ome.zarr").exists() and (tmp_path / "preview.png").stat().st_size > 5000
    assert row(tmp_path)[:4] == ["05", "false", "true", ""] and says in row(tmp_path)[4]
    assert says in json.loads((tmp_path / "diagnostics.json").read_text())["rejected"]
    assert "not interpolated, stays a gap" in record_of(tmp_path, "interpolate_missing_slice")["left_out"]["z05"]


def test_and_is_an_error_when_strict(tmp_path, block, capsys):
    assert interpolate(tmp_path, block[:T], texture((T, 120, 140), 77), strict=True) == 65
    assert "z05: not interpolated, stays a gap" in capsys.readouterr().err


def test_planes_that_lie_over_each_other_already_need_no_improvement(tmp_path, block):
    assert interpolate(tmp_path, block[:T], block[T : 2 * T]) == 0
    facts = json.loads((tmp_path / "diagnostics.json").read_text())
    assert facts["method"] == "zmorph" and not facts["moved"] and row(tmp_path)[1] == "true"


def test_not_measured_when_told_so(tmp_path, block):
    assert (
        interpolate(tmp_path, block[: 2 * T], block[2 * T :], interpolation_measured=False, interpolation_method="average")
        == 0
    )
    assert row(tmp_path)[3] == "average"
