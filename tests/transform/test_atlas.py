"""Atlases: every format and orientation comes out the same; what has no orientation is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from voxelmill.core.errors import DataError
from voxelmill.core.metadata import attributes, write_group
from voxelmill.core.orientation import CODES, affine
from voxelmill.serving.export_nifti import header
from voxelmill.testing.brain import SIDE, brain, nifti
from voxelmill.testing.subject import published, stack
from voxelmill.transform.affine_registration import Scan
from voxelmill.transform.atlas import OPPOSITE, read_atlas, turned


def laid(scan: Scan, code: str) -> tuple[np.ndarray, np.ndarray]:
    """The array (dim 0, 1, 2) of a brain that lies by a code, and its affine; the first voxel is at 0."""
    values, flips = scan.values.transpose(["SAR".index(axis_of(letter)) for letter in code]), []
    for dim, letter in enumerate(code):
        if letter in "LPI":
            values, flips = np.flip(values, dim), [*flips, dim]
    return np.ascontiguousarray(values), affine(code, (SIDE,) * 3, (0, 0, 0))


def axis_of(letter: str) -> str:
    return letter if letter in "SAR" else OPPOSITE[letter]


@pytest.mark.parametrize("code", CODES)
def test_all_orientations_come_out_as_one(code: str):
    scan = brain((9, 11, 13))
    found = turned(*laid(scan, code), "made")
    assert np.array_equal(found.values, scan.values) and np.allclose(found.scale, SIDE)
    ends = [-(n - 1) * SIDE if mirrored else 0 for n, mirrored in zip((9, 11, 13), (letter in code for letter in "IPL"))]
    assert np.allclose(found.origin, ends)


def written(folder: Path, kind: str, scan: Scan) -> Path:
    """The brain, lying as PIL, in a format."""
    values, to_ras = laid(scan, "PIL")
    path = folder / f"atlas{kind}"
    if kind == ".nii.gz":
        path.write_bytes(gzip.compress(header(values.shape, to_ras, "made") + values.astype("<f4").tobytes()))
    elif kind == ".nii":  # qform alone
        raw = bytearray(header(values.shape, to_ras, "made"))
        raw[254:256] = b"\0\0"
        path.write_bytes(bytes(raw) + values.astype("<f4").tobytes())
    elif kind == ".nrrd":
        import nrrd

        told = {"space": "left-posterior-superior", "space units": ["um", "um", "um"], "space origin": [0, 0, 0]}
        told["space directions"] = (np.diag([-1, -1, 1]) @ to_ras[:3, :3] * 1000).T.tolist()
        nrrd.write(str(path), values, told)
    elif kind == "brainglobe":
        path.mkdir()
        tifffile.imwrite(path / "reference.tiff", values)
        (path / "metadata.json").write_text(json.dumps({"orientation": "asr", "resolution": [SIDE * 1000] * 3}))
    return path


@pytest.mark.parametrize("kind", [".nii.gz", ".nii", ".nrrd", "brainglobe"])
def test_formats(tmp_path: Path, kind: str):
    scan = brain((9, 11, 13))
    found = read_atlas(written(tmp_path, kind, scan), 50)
    assert np.allclose(found.values, scan.values) and np.allclose(found.scale, SIDE)
    assert np.allclose(found.origin, [-8 * SIDE, -10 * SIDE, -12 * SIDE], atol=1e-5)


def test_ome_zarr_with_and_without_orientation(tmp_path: Path):
    scan = brain((40, 40, 40))
    path = published(tmp_path, stack(tmp_path, scan.values, (SIDE,) * 3, (0, 0, 0)))
    with pytest.raises(DataError, match="no orientation of its axes"):
        read_atlas(path, 100)
    told = attributes(path)
    towards = ("inferior-to-superior", "posterior-to-anterior", "left-to-right")
    for axis, value in zip(told["multiscales"][0]["axes"], towards):
        axis["orientation"] = {"type": "anatomical", "value": value}
    write_group(path, {key: value for key, value in told.items() if key != "version"})
    found = read_atlas(path, 100)
    assert np.allclose(found.scale, 0.1) and found.values.shape == (20, 20, 20)  # the level that is wanted
    assert np.allclose(found.origin, SIDE / 2)


def test_fine_atlases_are_averaged(tmp_path: Path):
    scan = brain((20, 22, 24))
    found = read_atlas(nifti(tmp_path / "a.nii.gz", scan), 100)
    assert np.allclose(found.values, scan.values.reshape(10, 2, 11, 2, 12, 2).mean((1, 3, 5)), atol=1e-6)
    assert np.allclose(found.scale, 0.1) and np.allclose(found.origin, scan.origin + SIDE / 2)


@pytest.mark.parametrize("kind", [".nii.gz", ".nii", ".nrrd", "brainglobe"])
def test_a_file_that_is_not_whole_is_said_in_one_line(tmp_path: Path, kind: str):
    path = written(tmp_path, kind, brain((9, 11, 13)))
    file = path / "reference.tiff" if path.is_dir() else path
    file.write_bytes(file.read_bytes()[:-2500])
    with pytest.raises(DataError, match=r"is it whole|expected a whole"):
        read_atlas(path, 50)


def test_values_that_are_no_numbers_lie_outside(tmp_path: Path):
    """Masked atlases hold NaN there, and some writers say NaN for no scaling."""
    scan = brain((9, 11, 13))
    raw = bytearray(header(scan.values.shape, affine("SAR", (1, 1, 1), (0, 0, 0)), ""))
    raw[112:116] = np.float32(np.nan).tobytes()
    masked = np.where(scan.values > scan.values.mean(), scan.values, np.nan).astype("<f4")
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(raw) + masked.tobytes())
    found = read_atlas(path, 25).values
    assert np.isfinite(found).all() and found.max() == scan.values.max() and found.min() == 0
    path.write_bytes(bytes(raw) + np.zeros_like(masked).tobytes())
    with pytest.raises(DataError, match="shows nothing"):
        read_atlas(path, 25)


def test_what_is_refused(tmp_path: Path):
    scan = brain((9, 11, 13))
    raw = bytearray(header(scan.values.shape, affine("SAR", (1, 1, 1), (0, 0, 0)), "") + scan.values.tobytes())
    raw[252:256] = bytes(4)
    (tmp_path / "bare.nii").write_bytes(bytes(raw))
    with pytest.raises(DataError, match="neither sform nor qform"):
        read_atlas(tmp_path / "bare.nii", 25)
    import nrrd

    nrrd.write(str(tmp_path / "bare.nrrd"), scan.values)
    with pytest.raises(DataError, match="space and space directions"):
        read_atlas(tmp_path / "bare.nrrd", 25)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="expected an atlas as"):
        read_atlas(tmp_path / "a.png", 25)
    oblique = np.eye(4)
    oblique[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(DataError, match="obliquely"):
        turned(scan.values, oblique, "made")
