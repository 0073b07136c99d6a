"""The ingest stage: centres, origins and voxel sizes, and where a truth lies over its volume."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest.volumes.source import placed
from voxelmill.testing.stages import make_store

from .conftest import EM
from .test_ingest import clear

OWN = Space.zyx((30, 4, 5), (-90, 40, 100))  # voxel 0 is (-3, 10, 20) of the source, z, y, x


@pytest.fixture
def placed_em(tmp_path):
    """A volume that says where it lies."""
    create_image(tmp_path / "em.ome.zarr", layout(EM.shape, "uint8", (8, 32, 32), (8, 32, 32)), OWN).write(
        (slice(None),) * 3, EM
    )
    return "em.ome.zarr"


@pytest.mark.parametrize("where", ["--center=50,30,7", "--center_nm=250,120,210"])
def test_a_centre_is_in_the_numbers_of_the_source(ingest, placed_em, where):
    done = ingest("--input", placed_em, where, "--cutout=20,16,6")
    assert done.facts["corner_zyx"] == [7, 12, 20] and done.facts["voxel_offset"] == [4, 22, 40]
    np.testing.assert_array_equal(done.volume.read(), EM[7:13, 12:28, 20:40])
    assert done.volume.origin == (120, 88, 200)


def test_a_source_may_number_from_below_0(ingest, placed_em):
    done = ingest("--input", placed_em, "--center=30,18,-1", "--cutout=20,16,4")
    assert done.facts["corner_zyx"] == [0, 0, 0] and done.volume.origin == OWN.origin


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--center=29,30,7", "--cutout=20,16,6"], ["--center, voxel 29,30,7 (X,Y,Z)", "X 19 to 39 of its voxels 20 to 100"]),
        (["--center_nm=145,120,210", "--cutout=20,16,6"], ["--center_nm, voxel 29,30,7 (X,Y,Z)", "X 19 to 39"]),
        (["--center_nm=145,120,210"], ["--center_nm has no use without --cutout"]),
        (["--center_nm=1,2,3", "--center=1,2,3", "--cutout=20,16,6"], ["say the same thing twice"]),
    ],
)
def test_messages_speak_of_the_numbers_of_the_source(ingest, placed_em, flags, words):
    ingest("--input", placed_em, *flags).refused(64, *words)


def test_nanometres_need_a_voxel_size(ingest, em):
    ingest("--input", em, "--center_nm=1,2,3", "--cutout=20,16,6").refused(64, "voxel size of em.npy is not known")


def truth_at(folder, corner, shape, size=(30, 4, 5)):
    """Ids of the part of the volume from a voxel of its array on, in a file of their own that says where they lie."""
    ids = np.arange(1, 1 + np.prod(shape), dtype=np.uint32).reshape(shape)
    where = Space.zyx(size, OWN.crop(corner).origin)
    create_image(folder / "t.ome.zarr", layout(shape, "uint32", (8, 32, 32), (8, 32, 32)), where).write(
        (slice(None),) * 3, ids
    )
    return ids


def test_a_truth_with_an_origin_of_its_own_is_laid_by_it(ingest, placed_em, tmp_path):
    ids = truth_at(tmp_path, (2, 5, 9), (20, 50, 60))
    ingest("--input", placed_em, "--cutout=20,16,6", "--center=50,30,7")
    done = ingest("--input", placed_em, "--truth=t.ome.zarr", "--like=raw.json", role="truth")
    np.testing.assert_array_equal(done.volume.read(), ids[5:11, 7:23, 11:31])
    assert done.volume.origin == (120, 88, 200) and "WARNING" not in done.out


def test_what_a_truth_does_not_cover_is_said_and_empty(ingest, placed_em, tmp_path):
    ids = truth_at(tmp_path, (10, 12, 30), (6, 16, 20))  # of the shape of the cutout, but elsewhere
    ingest("--input", placed_em, "--cutout=20,16,6", "--center=50,30,7")
    done = ingest("--input", placed_em, "--truth=t.ome.zarr", "--like=raw.json", role="truth")
    found = done.volume.read()
    np.testing.assert_array_equal(found[3:, :, 10:], ids[:3, :, :10])
    assert not found[:3].any() and not found[:, :, :10].any()
    assert "WARNING [ingest] t.ome.zarr: covers 25.0% of the volume; the rest is not scored" in done.out


def test_a_truth_beside_the_grid_of_the_volume_is_said(ingest, placed_em, tmp_path):
    ids = truth_at(tmp_path, (2, 5, 9.4), (20, 50, 60))
    ingest("--input", placed_em, "--cutout=20,16,6", "--center=50,30,7")
    done = ingest("--truth=t.ome.zarr", "--like=raw.json", role="truth")
    np.testing.assert_array_equal(done.volume.read(), ids[5:11, 7:23, 11:31])
    assert "WARNING [ingest] t.ome.zarr: lies 0.40 voxels beside the volume's grid; laid to the nearest" in done.out


def test_a_truth_that_lies_elsewhere_is_refused(ingest, placed_em, tmp_path):
    raw = ["raw.json", "em.ome.zarr", "t.ome.zarr"]
    ingest("--input", placed_em, "--cutout=20,16,6", "--center=50,30,7")
    for at, size, words in (
        ((18, 40, 60), (30, 4, 5), "do not overlap"),
        ((7, 12, 20), (30, 8, 10), "voxel size (30.0, 8.0, 10.0)"),
    ):
        shutil.rmtree(tmp_path / "t.ome.zarr", ignore_errors=True)
        truth_at(tmp_path, at, (4, 10, 10), size)
        clear(tmp_path, *raw)
        flags = ["--input", placed_em, "--truth=t.ome.zarr", "--like=raw.json"]
        ingest(*flags, role="truth").refused(65, "t.ome.zarr", words)


def test_a_smaller_truth_that_lies_at_0_is_laid_there(ingest, tmp_path):
    ids = np.arange(1, 1 + 4 * 12 * 16, dtype=np.uint32).reshape(4, 12, 16)
    everywhere = (slice(None),) * 3
    for name, values in (("em", EM), ("t", ids)):
        lay = layout(values.shape, values.dtype, (8, 32, 32), (8, 32, 32))
        create_image(tmp_path / f"{name}.ome.zarr", lay, Space.zyx((30, 8, 8), (0, 0, 0))).write(everywhere, values)
    ingest("--input=em.ome.zarr")
    done = ingest("--input=em.ome.zarr", "--truth=t.ome.zarr", "--like=raw.json", role="truth")
    made = done.volume.read()
    np.testing.assert_array_equal(made[:4, :12, :16], ids)
    assert made.shape == EM.shape and made.sum() == ids.sum()
    assert f"covers {ids.size / EM.size:.1%} of the volume; the rest is not scored" in done.out


@pytest.mark.parametrize("size", [(-30, 8, 8), (30, -8, -8)])
def test_voxels_keep_their_numbers_where_a_size_below_0_is_overridden(size):
    said = placed(size, ["nm"] * 3, (300, 80, 16))
    assert "is not positive" in said.unknown and said.moved_to((40, 8, 8)) == (400, 80, 16)
    assert placed((0, 8, 8), ["nm"] * 3, (300, 80, 16)).moved_to((40, 8, 8)) is None


def test_a_voxel_size_that_is_given_holds_for_the_truth_too(ingest, placed_em, tmp_path):
    ids = truth_at(tmp_path, (2, 5, 9), (20, 50, 60))
    flags = ["--input", placed_em, "--voxel_size=31,8,8"]
    raw = ingest(*flags, "--cutout=20,16,6", "--center=50,30,7")
    assert raw.volume.origin == (4 * 31, 22 * 8, 40 * 8)  # voxels keep their numbers
    done = ingest(*flags, "--truth=t.ome.zarr", "--like=raw.json", role="truth")
    np.testing.assert_array_equal(done.volume.read(), ids[5:11, 7:23, 11:31])


def without_unit(path, values, first):
    """A store whose axes have no unit and whose voxel 0 has these numbers in the source."""
    space = Space.zyx(None, first)
    create_image(path, layout(values.shape, values.dtype, (8, 32, 32), (8, 32, 32)), space).write((slice(None),) * 3, values)


def test_voxels_of_unknown_size_keep_their_numbers(ingest, tmp_path):
    without_unit(tmp_path / "em.ome.zarr", EM, (-3, 10, 20))
    done = ingest("--input=em.ome.zarr", "--center=50,30,7", "--cutout=20,16,6")
    np.testing.assert_array_equal(done.volume.read(), EM[7:13, 12:28, 20:40])
    assert done.volume.origin == (4, 22, 40) and done.facts["voxel_offset"] == [4, 22, 40]
    assert not done.volume.space.known and "its voxel size is not known" in done.out
    ids = EM.astype(np.uint32)
    without_unit(tmp_path / "t.ome.zarr", ids[5:], (2, 10, 20))
    truth = ingest("--truth=t.ome.zarr", "--like=raw.json", role="truth")
    np.testing.assert_array_equal(truth.volume.read(), ids[7:13, 12:28, 20:40])
    assert "WARNING" not in truth.out


def test_a_truth_over_a_volume_that_says_nothing_lies_voxel_on_voxel(ingest, em, tmp_path):
    ids = truth_at(tmp_path, (1, 2, 3), EM.shape)
    ingest("--input", em)
    done = ingest("--truth=t.ome.zarr", "--like=raw.json", role="truth")
    np.testing.assert_array_equal(done.volume.read(), ids)
    assert "WARNING [ingest] t.ome.zarr: states an origin, and the volume does not say where it lies" in done.out


def test_a_truth_of_another_voxel_size_is_said(ingest, em, tmp_path):
    ids = make_store(tmp_path / "t.ome.zarr", EM.astype(np.uint32), (30, 8, 8))
    ingest("--input", em, "--voxel_size=30,4,4")
    done = ingest(f"--truth={ids}", "--like=raw.json", role="truth")
    assert "states a voxel size of 30, 8, 8 nm (z, y, x), not the volume's: laid voxel on voxel" in done.out
    done = ingest(f"--truth={ids}", "--like=raw.json", "--voxel_size=30,4,4", role="truth")
    assert "WARNING" not in done.out
