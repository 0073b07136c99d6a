"""Register to atlas: a volume that lies in any way is found; files for others; each parameter does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from voxelmill.core.metadata import attributes
from voxelmill.core.volume import open_image
from voxelmill.testing import oct_atlas
from voxelmill.testing.brain import SIDE, as_seen, brain, nifti
from voxelmill.testing.stages import record_of, run_stage
from voxelmill.testing.subject import published, stack
from voxelmill.transform.affine_registration import Affine, Scan
from voxelmill.transform.register_to_atlas import first_guess, grid, stored_affine

SHEAR = Rotation.from_euler("zyx", [6, -4, 7], degrees=True).as_matrix() @ np.diag([1.04, 0.97, 1.02])


def truth_of(matrix: np.ndarray) -> Affine:
    middle = brain().middle()
    return Affine(matrix, middle + np.array([0.2, -0.15, 0.3]) - matrix @ middle)


def subject(folder: Path, code: str, truth: Affine, shape=(66, 74, 80)) -> Path:
    values, origin = as_seen(brain(), truth, code, shape)
    return published(folder, stack(folder, values, (SIDE,) * 3, tuple(origin)))  # 50 and 100 um


def registered(folder: Path, path: Path, code: str, **flags: Any) -> int:
    """The exit code; `ras.ome.zarr` and others lie in the folder."""
    out = {"template": "ras.ome.zarr", "transform": "t.tfm", "block_list": "blocks.csv", "preview": "p.png"}
    given = {"volume": path, "atlas": nifti(folder / "atlas.nii.gz", brain()), "name": "sub-01", "allen_resolution": 50}
    given |= {"allen_registration_level": 0, "ras_input_orientation": code, "allen_metric": "CC"}
    return run_stage("transform.register_to_atlas", folder, **(given | flags), **out)


def off(folder: Path, truth: Affine) -> float:
    """Largest distance over the brain, in voxels of the registered level."""
    found, atlas = stored_affine(attributes(folder / "ras.ome.zarr")), brain()
    points = atlas.middle() + np.random.default_rng(0).uniform(-0.35, 0.35, (500, 3)) * atlas.scale * atlas.values.shape
    return float(np.linalg.norm(found(points) - truth(points), axis=1).max() / SIDE)


@pytest.mark.parametrize("code", ["PIR", "LIA"])
def test_a_known_affine_is_found_however_the_block_lies(tmp_path: Path, code: str):
    truth, metric = truth_of(SHEAR), "MI" if code == "PIR" else "CC"
    assert registered(tmp_path, subject(tmp_path, code, truth), code, allen_metric=metric) == 0
    assert off(tmp_path, truth) <= 0.5
    quality = record_of(tmp_path, "register_to_atlas")["quality"]
    assert quality["correlation"] > 0.9 and quality["orientation"] == code
    grid = open_image(tmp_path / "ras.ome.zarr")
    assert [space.scale[0] for space in grid.spaces] == pytest.approx([5e4, 1e5]) and grid.shape == brain().values.shape
    assert np.allclose(np.array(grid.origin) / 1e6, brain().origin)
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape[1] == 1350 and picture.std() > 0.1


def test_a_coarser_level_and_rigid(tmp_path: Path):
    truth = truth_of(Rotation.from_euler("zyx", [6, -4, 7], degrees=True).as_matrix())
    path = subject(tmp_path, "PIR", truth)
    assert registered(tmp_path, path, "PIR", allen_registration_level=1, allen_transform="rigid") == 0
    found = stored_affine(attributes(tmp_path / "ras.ome.zarr"))
    assert off(tmp_path, truth) <= 1.0  # half a voxel of that level
    assert np.allclose(found.matrix @ found.matrix.T, np.eye(3), atol=1e-6)
    assert record_of(tmp_path, "register_to_atlas")["quality"]["voxel_mm"] == pytest.approx([0.1] * 3)


def test_an_oblique_cut_is_found_from_a_first_guess_good_or_bad(tmp_path: Path):
    """The block is the brain turned by 45 degrees about S, as `0 0 45` says."""
    turn = first_guess("0 0 45")
    assert turn is not None
    truth = truth_of(turn)
    assert np.allclose(turn.T @ (0, 0, 1), (0, np.sin(np.pi / 4), np.cos(np.pi / 4)))  # atlas from volume; R goes to R and A
    path = subject(tmp_path, "PIR", truth, (80, 66, 80))
    assert registered(tmp_path, path, "PIR", ras_initial_rotation="0 0 40") == 0
    assert off(tmp_path, truth) <= 0.5
    assert registered(tmp_path, path, "PIR", ras_initial_rotation="0 0 -45") == 0
    assert off(tmp_path, truth) <= 0.5


def test_only_a_preview(tmp_path: Path):
    path = subject(tmp_path, "PIR", truth_of(np.eye(3)))
    assert registered(tmp_path, path, "PIR", ras_preview_only=True, allen_preview=False) == 0
    assert (tmp_path / "p.png").exists()
    assert not any((tmp_path / name).exists() for name in ("ras.ome.zarr", "t.tfm", "blocks.csv"))


def test_bad_input_is_one_line(tmp_path: Path, capfd):
    path = subject(tmp_path, "PIR", truth_of(np.eye(3)), (30, 34, 36))
    assert registered(tmp_path, path, "PIR", allen_registration_level=7) == 65
    assert "has levels 0 to 1; give --allen_registration_level one of these" in capfd.readouterr().err
    assert registered(tmp_path, path, "PIR", atlas=path) == 65
    assert "no orientation of its axes" in capfd.readouterr().err
    atlas = brain()
    large = nifti(tmp_path / "large.nii.gz", type(atlas)(atlas.values, atlas.scale * 1000, atlas.origin))
    assert registered(tmp_path, path, "PIR", atlas=large) == 65
    assert "check the unit of the atlas's voxel size" in capfd.readouterr().err
    assert registered(tmp_path, path, "PPR") == 64


def test_voxels_of_an_atlas_whose_size_was_rounded_are_not_one_more(tmp_path: Path):
    """A NIfTI holds it as float32: 144 voxels of 25 µm are not 145."""
    image = open_image(stack(tmp_path, np.ones((8, 16, 16)), (0.025,) * 3))
    scan = Scan(np.zeros((144, 45, 30), np.float32), np.full(3, np.float32(0.025), float), np.zeros(3))
    grid(tmp_path / "g.ome.zarr", image, scan, Affine(np.eye(3), np.zeros(3)))
    assert open_image(tmp_path / "g.ome.zarr").level(0).shape == (144, 45, 30)


def test_the_measure_of_cubes_is_not_led_by_their_inverse():
    from scipy import ndimage

    one = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(16, 16, 16)), 2, mode="wrap")
    moved = ndimage.shift(one, (1.3, -2.6, 0.4), mode="grid-wrap")
    assert np.allclose(oct_atlas.shift(one, moved), (-1.3, 2.6, -0.4), atol=0.1)
    inverse = moved - 1.1 * np.roll(one, (8, 8, 8), (0, 1, 2))  # the stronger of the two, upside down
    assert np.allclose(oct_atlas.shift(one, inverse), (-1.3, 2.6, -0.4), atol=1)
