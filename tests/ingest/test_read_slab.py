"""One slab of a planned volume: its own sections and files only, of a source that is still the same."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from voxelmill.core import manifest
from voxelmill.ingest.volumes.listing import Listing

EM = np.random.default_rng(5).integers(0, 256, (28, 40, 50), np.uint8)
GRID = ("--shard=4,32,32", "--chunk=4,16,16", "--voxel_size=30,4,5", "--blocks=7")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "v").mkdir()
    for z, section in enumerate(EM):
        tifffile.imwrite(tmp_path / f"v/em_{z:02d}.tif", section)
    return tmp_path / "v"


@given(st.integers(1, 30), st.integers(1, 12))
def test_each_file_is_in_one_share(files, tasks):
    listing = Listing(root="/", files={f"{n:03d}": (1, 1) for n in range(files)})
    shares = [listing.share(n, tasks) for n in range(tasks)]
    assert [name for share in shares for name in share] == list(listing.files)
    assert max(map(len, shares)) <= -(-files // tasks)


def test_a_task_opens_and_digests_its_own_sections_only(slabs, folder, monkeypatch):
    opened, task = [], [-1]
    real = tifffile.TiffFile

    def spy(path, *args, **more):
        opened.append((task[0], os.path.basename(path)))
        return real(path, *args, **more)

    monkeypatch.setattr(tifffile, "TiffFile", spy)
    done = slabs("--input", folder, *GRID, meanwhile=lambda n: task.__setitem__(0, n))
    np.testing.assert_array_equal(done.volume.read(), EM)
    assert [name for n, name in opened if n == 3] == [f"em_{z}.tif" for z in range(12, 16)]
    figures = json.loads((done.folder.parent / "slab3/figures.json").read_text())
    assert [row["section"] for row in figures["sections"]] == [12, 13, 14, 15]
    assert figures["files"] == {
        f"em_{z}.tif": [(folder / f"em_{z}.tif").stat().st_size, manifest.digest_file(folder / f"em_{z}.tif")]
        for z in range(12, 16)
    }


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("touched", ["v/em_10.tif: changed while it was being read", "run again with -resume"]),
        ("longer", ["v/em_10.tif: changed"]),
        ("gone", ["em_10.tif"]),
    ],
)
def test_a_section_that_changes_before_it_is_read(slabs, folder, what, words):
    def meanwhile(n):
        if n == 1 and what == "gone":
            (folder / "em_10.tif").unlink()
        elif n == 1:
            with open(folder / "em_10.tif", "ab") as file:
                file.write(b"more" if what == "longer" else b"")
            os.utime(folder / "em_10.tif", (1e9, 1e9))

    slabs("--input", folder, *GRID, meanwhile=meanwhile).refused(65, *words, stage="read_slab")


def test_a_file_of_another_shape_by_now(slabs, tmp_path):
    np.save(tmp_path / "v.npy", EM)

    def meanwhile(n):
        if n == 1:
            np.save(tmp_path / "v.npy", EM[:20])

    done = slabs("--input", tmp_path / "v.npy", *GRID, meanwhile=meanwhile)
    done.refused(65, "v.npy: (20, 40, 50) uint8, and (28, 40, 50) uint8 when this run began", stage="read_slab")


def test_a_copy_has_times_of_its_own(tmp_path):
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "b").write_bytes(b"bytes")
    os.utime(tmp_path / "b", (1e9, 1e9))
    listing = Listing.of(tmp_path / "a")
    assert listing.whole(listing.digests(tmp_path / "b", [""])) == manifest.digest_file(tmp_path / "a")


def test_negative_ids(slabs, tmp_path):
    ids = EM.astype(np.int32)
    ids[14, 3, 3] = -1
    np.save(tmp_path / "truth.npy", ids)
    done = slabs("--truth", tmp_path / "truth.npy", *GRID, role="truth")
    done.refused(65, "negative ids; expected 0 for background", stage="read_slab")
