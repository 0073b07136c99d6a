"""NIfTI: what independent readers make of it, for all orientations."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core.orientation import CODES, RAS, affine
from voxelmill.core.volume import open_image
from voxelmill.serving import export_nifti
from voxelmill.testing.stages import run_stage
from voxelmill.testing.subject import published, stack

ORIGIN = (1.0, 2.0, -3.0)


def volume(folder: Path, shape: tuple[int, ...] = (12, 20, 30)) -> Path:
    return published(folder, stack(folder, np.random.default_rng(0).random(shape), origin=ORIGIN))


def exported(folder: Path, path: Path, **flags: object) -> Path:
    given = {"volume": path, "name": "sub-01", "output": "sub-01.nii.gz"}
    assert run_stage("serving.export_nifti", folder, **given, **flags) == 0
    return folder / "sub-01.nii.gz"


def parsed(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Header fields by their place in the standard, and values (z, y, x)."""
    raw = gzip.decompress(path.read_bytes())
    places = {"dim": (40, "8h"), "kind": (70, "2h"), "pixdim": (76, "8f"), "codes": (252, "2h"), "quatern": (256, "6f")}
    places |= {"srow": (280, "12f"), "begin": (108, "f")}
    fields = {name: np.array(struct.unpack_from(f"<{kind}", raw, at)) for name, (at, kind) in places.items()}
    assert raw[344:348] == b"n+1\0"
    return fields, np.frombuffer(raw, "<f4", offset=352).reshape(fields["dim"][3:0:-1])


def from_quaternion(found: dict[str, np.ndarray]) -> np.ndarray:
    """The affine that qform states, by the formula of the standard."""
    b, c, d, *offset = found["quatern"]
    rest = 1 - b * b - c * c - d * d
    a = np.sqrt(rest) if rest > 1e-7 else 0.0  # as readers do it: half a turn, rounded
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return np.column_stack([turn * (1, 1, found["pixdim"][0]) * found["pixdim"][1:4], offset])


def test_values_place_and_size(tmp_path: Path):
    path = volume(tmp_path)
    fields, values = parsed(exported(tmp_path, path))
    assert np.array_equal(values, open_image(path).read()) and fields["begin"] == 352
    assert np.allclose(fields["pixdim"][1:4], 0.01) and tuple(fields["dim"][:4]) == (3, 30, 20, 12)
    assert np.allclose(fields["srow"].reshape(3, 4)[:, 3], (-3, 2, 1))  # R, A, S = x, y, z
    coarse, smaller = parsed(exported(tmp_path, path, nifti_level=1))
    assert np.allclose(coarse["pixdim"][1:4], 0.025) and smaller.shape == (5, 8, 12)
    assert np.allclose(coarse["srow"].reshape(3, 4)[:, 3], (-3 + 0.0075, 2.0075, 1.0075))


@pytest.mark.parametrize("code", CODES)
def test_both_forms_say_the_same(code: str):
    """Of a block with three voxel sizes, for every code; what they say is `orientation.affine`."""
    raw = export_nifti.header((4, 5, 6), affine(code, (3, 2, 1), (30, 20, 10)), code)
    places = {"pixdim": (76, "8f"), "quatern": (256, "6f"), "srow": (280, "12f")}
    fields = {name: np.array(struct.unpack_from(f"<{kind}", raw, at)) for name, (at, kind) in places.items()}
    rows = fields["srow"].reshape(3, 4)
    assert np.allclose(from_quaternion(fields), rows, atol=1e-5)
    assert np.allclose(rows @ (3, 2, 1, 1), (affine(code, (3, 2, 1), (30, 20, 10)) @ (1, 2, 3, 1))[:3])


def test_in_slabs_the_same_bytes(tmp_path: Path, monkeypatch):
    path = volume(tmp_path)
    whole = exported(tmp_path / "a", path).read_bytes()
    monkeypatch.setattr(export_nifti, "HELD", 5 * 20 * 30)
    assert parsed(exported(tmp_path / "b", path))[1].tobytes() == parsed(tmp_path / "a/sub-01.nii.gz")[1].tobytes()
    assert exported(tmp_path / "c", path).read_bytes() == exported(tmp_path / "d", path).read_bytes() and whole


def test_a_level_that_is_not_there(tmp_path: Path, capfd):
    given = {"volume": volume(tmp_path), "name": "sub-01", "output": "sub-01.nii.gz", "nifti_level": 9}
    assert run_stage("serving.export_nifti", tmp_path, **given) == 65
    assert "has levels 0 to 3; give --nifti_level one of these" in capfd.readouterr().err


def test_simpleitk_and_nibabel(tmp_path: Path):
    """Where they are installed: the brain lies as its code says."""
    sitk = pytest.importorskip("SimpleITK")
    nibabel = pytest.importorskip("nibabel")
    path = volume(tmp_path)
    for code in ("PIR", "AIR", "RIA", "LIA", "IPR", "SPR", ""):
        file = exported(tmp_path, path, ras_input_orientation=code)
        expected = affine(code or RAS, (0.01,) * 3, ORIGIN)
        image = sitk.ReadImage(str(file))
        assert np.allclose(sitk.GetArrayFromImage(image), open_image(path).read())
        assert np.allclose(image.GetSpacing(), 0.01)
        point = np.array(image.TransformIndexToPhysicalPoint((7, 5, 3))) * (-1, -1, 1)  # ITK counts to the left and back
        assert np.allclose(point, (expected @ (3, 5, 7, 1))[:3], atol=1e-5)
        assert "".join(nibabel.aff2axcodes(nibabel.load(file).affine))[::-1] == (code or RAS)
