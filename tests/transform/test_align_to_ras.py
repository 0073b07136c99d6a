"""Align to RAS: every level lies on the atlas, from every orientation; others can follow the transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_register_to_atlas import SHEAR, registered, subject, truth_of
from voxelmill.core.orientation import CODES, affine
from voxelmill.core.volume import open_image
from voxelmill.testing.brain import SIDE, brain, nifti
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import joined, stack
from voxelmill.transform.affine_registration import Affine
from voxelmill.transform.align_to_ras import pulled
from voxelmill.transform.atlas import read_atlas
from voxelmill.transform.register_to_atlas import grid, to_voxels


def aligned(folder: Path, path: Path, code: str) -> Path:
    given = {"volume": path, "template": "ras.ome.zarr", "ras_input_orientation": code}
    return joined(folder, "transform.align_to_ras", folder / "ras.ome.zarr", "sub-01_ras", given)


def test_every_level_lies_on_the_atlas(tmp_path: Path):
    path = subject(tmp_path, "PIR", truth_of(SHEAR))
    assert registered(tmp_path, path, "PIR") == 0
    made = aligned(tmp_path, path, "PIR")
    atlas, image = brain().values, open_image(made)
    alike = np.corrcoef(image.read().ravel(), atlas.ravel())[0, 1]
    assert alike > 0.97
    half = atlas.reshape(22, 2, 26, 2, 30, 2).mean((1, 3, 5))
    assert np.corrcoef(image.read(level=1).ravel(), half.ravel())[0, 1] > 0.98
    for axis in range(3):  # not mirrored
        assert np.corrcoef(np.flip(image.read(), axis).ravel(), atlas.ravel())[0, 1] < alike - 0.04
    again = read_atlas(made, 50)  # it says which way its axes point
    assert np.array_equal(again.values, image.read())


@pytest.mark.parametrize("code", CODES)
def test_all_orientations_come_out_as_the_brain(tmp_path: Path, code: str):
    """With the identity between brain and block, whole voxels are only put in order."""
    scan = brain((20, 22, 24))
    order = affine(code, (1, 1, 1), (0, 0, 0))[:3, :3].astype(int)
    dims = [int(np.flatnonzero(order[:, dim])[0]) for dim in range(3)]  # of R, A, S
    values = scan.values.transpose([2 - axis for axis in dims])
    values = np.flip(values, [dim for dim in range(3) if order[:, dim].sum() < 0])
    ends = scan.origin[::-1] + SIDE * (np.array(scan.values.shape[::-1]) - 1)  # R, A, S of the last voxel
    origin = [scan.origin[::-1][axis] if order[axis, dim] > 0 else -ends[axis] for dim, axis in enumerate(dims)]
    image = open_image(stack(tmp_path, values, (SIDE,) * 3, tuple(origin)))
    still = Affine(np.eye(3), np.zeros(3))
    grid(tmp_path / "g.ome.zarr", image, scan, still)
    matrix = to_voxels(image, 0, code, still, open_image(tmp_path / "g.ome.zarr").space)
    whole = tuple(slice(0, n) for n in scan.values.shape)
    assert np.allclose(pulled(image, 0, matrix, whole), scan.values, atol=1e-5)


def test_blocks_agree(tmp_path: Path):
    path = subject(tmp_path, "PIR", truth_of(SHEAR))
    assert registered(tmp_path, path, "PIR", allen_max_iterations=2) == 0
    whole = open_image(aligned(tmp_path, path, "PIR")).read()
    out = {"template": tmp_path / "ras.ome.zarr", "volume": path, "ras_input_orientation": "PIR", "output": "one.levels"}
    assert run_stage("transform.align_to_ras", tmp_path / "one", block="0.0-0", **out) == 0
    lay = open_image(tmp_path / "ras.ome.zarr").layout()
    first = tuple(slice(0, n) for n in lay.shard)
    from voxelmill.core.volume import Image

    part = Image(tmp_path / "one/one.levels").read(first)
    assert np.array_equal(part, whole[first])


def test_itk_follows_the_transform(tmp_path: Path):
    """Where SimpleITK is installed: our transform takes our NIfTI to the atlas."""
    sitk = pytest.importorskip("SimpleITK")
    path = subject(tmp_path, "LIA", truth_of(SHEAR))
    assert registered(tmp_path, path, "LIA") == 0
    out = {"volume": path, "name": "sub-01", "output": "sub-01.nii.gz", "ras_input_orientation": "LIA"}
    assert run_stage("serving.export_nifti", tmp_path, **out) == 0
    moving, fixed = (sitk.ReadImage(str(p)) for p in (tmp_path / "sub-01.nii.gz", nifti(tmp_path / "a.nii.gz", brain())))
    made = sitk.Resample(moving, fixed, sitk.ReadTransform(str(tmp_path / "t.tfm")), sitk.sitkLinear)
    values, ours = sitk.GetArrayFromImage(made), open_image(aligned(tmp_path, path, "LIA")).read()
    inner = (slice(2, -2),) * 3
    assert np.allclose(values[inner], ours[inner], atol=1e-3)
    assert np.corrcoef(values.ravel(), brain().values.ravel())[0, 1] > 0.97
