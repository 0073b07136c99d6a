"""A volume read by several tasks is, byte for byte, the volume read by one; and so are the facts about it."""

from __future__ import annotations

import json
import os
import shutil

import h5py
import nrrd
import numpy as np
import pytest
import tensorstore as ts
import tifffile
from voxelmill.core import manifest
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest.volumes import bossdb

EM = np.random.default_rng(4).integers(0, 256, (28, 40, 50), np.uint8)
EM[[5, 20]] = 9  # blank, in two slabs
GRID = ("--shard=4,32,32", "--chunk=4,16,16", "--voxel_size=30,4,5")
ALL = (slice(None),) * 3


def precomputed(path):
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": f"file://{path}/",
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {"size": EM.shape[::-1], "encoding": "raw", "chunk_size": [16, 16, 8], "resolution": [5, 4, 30]},
    }
    ts.open(spec, create=True).result()[..., 0].write(EM.T).result()


def tiff_folder(path):
    path.mkdir()
    for z in range(28):
        if z not in (3, 4, 27 - 9):
            tifffile.imwrite(path / f"em_{z}.tif", EM[z], compression="zlib")


def hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=EM, chunks=(4, 16, 16), compression="gzip")


def store(path):
    create_image(path, layout(EM.shape, "uint8", (8, 32, 32), (8, 32, 32)), Space.zyx((30, 4, 5))).write(ALL, EM)


KINDS = {
    "v.npy": lambda path: np.save(path, EM),
    "v.h5": hdf5,
    "v.ome.zarr": store,
    "folder": tiff_folder,
    "v.tif": lambda path: tifffile.imwrite(path, EM, photometric="minisblack"),
    "precomputed": precomputed,
    "v.nrrd": lambda path: nrrd.write(str(path), EM.T, {"encoding": "raw"}),
}
FRONT = {
    "v.npz": lambda path: np.savez_compressed(path, raw=EM),
    "v.nrrd": lambda path: nrrd.write(str(path), EM.T, {"encoding": "gzip"}),
}


def everything(done):
    """Manifest and facts; the manifest has the digest of each file, checked here."""
    assert done.code == 0, done.err
    store = done.folder / f"{done.role}.ome.zarr"
    manifest.verify(store, deep=True)
    return manifest.path_of(store).read_bytes(), (done.folder / f"{done.role}.json").read_bytes()


@pytest.mark.parametrize("blocks", [2, 7])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_source(ingest, slabs, tmp_path, name, blocks):
    KINDS[name](tmp_path / name)
    flags = ("--input", tmp_path / name, *GRID)
    whole = everything(ingest(*flags, "--blocks=1"))
    done = slabs(*flags, f"--blocks={blocks}", source=str(tmp_path / name))
    assert everything(done) == whole
    record = json.loads((done.folder / "join_slabs.raw.provenance.json").read_text())
    assert record["inputs"][0]["digest"] == done.facts["digest"] == manifest.digest_of(tmp_path / name)
    assert record["quality"]["slabs"] == blocks and record["quality"]["sections_blank"] == [5, 20]


@pytest.mark.parametrize("name", FRONT)
def test_what_can_only_be_read_from_the_front_is_read_by_one_task(slabs, tmp_path, name):
    FRONT[name](tmp_path / name)
    done = slabs("--input", tmp_path / name, "--blocks=7", *GRID)
    assert not (done.folder / "plan.json").exists()
    np.testing.assert_array_equal(done.volume.read(), EM)


def test_a_service(ingest, slabs, monkeypatch, tmp_path):
    pytest.importorskip("intern")
    from voxelmill.testing.boss import BossServer

    monkeypatch.setattr(bossdb, "WAIT_S", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))
    with BossServer(EM) as boss:
        for name, value in boss.environment.items():
            monkeypatch.setenv(name, value)
        flags = ("--input", boss.uri, "--cutout=40,30,20", *GRID)
        done = slabs(*flags, "--blocks=3")
        assert everything(done) == everything(ingest(*flags, "--blocks=1"))
        assert done.facts["digest_of"] == "values read" and len(done.facts["digest"]) == 64


@pytest.mark.parametrize("dtype", ["float32", "uint32", "int16"])
def test_rescaled_by_the_range_of_all_slabs(ingest, slabs, tmp_path, dtype):
    np.save(tmp_path / "v.npy", (EM * 3.3).astype(dtype) * np.arange(28, dtype=dtype)[:, None, None])
    flags = ("--input", tmp_path / "v.npy", "--rescale", *GRID)
    assert everything(slabs(*flags, "--blocks=7")) == everything(ingest(*flags, "--blocks=1"))


def test_cutout_and_truth(ingest, slabs, tmp_path):
    for name, array in {"raw": EM, "truth": EM.astype(np.int64) * 2**33}.items():
        np.save(tmp_path / f"{name}.npy", array)
    flags = ("--input", tmp_path / "raw.npy", "--truth", tmp_path / "truth.npy", "--cutout=30,20,18", *GRID)
    raw = ingest(*flags, "--blocks=1")
    truth = everything(ingest(*flags, "--blocks=1", "--like=raw.json", role="truth"))
    like = raw.folder / "raw.json"
    assert everything(slabs(*flags, "--blocks=3", f"--like={like}", role="truth")) == truth


def test_missing_and_blank_sections_of_all_slabs_are_told_together(slabs, tmp_path):
    tiff_folder(tmp_path / "v")
    done = slabs("--input", tmp_path / "v", "--blocks=7", *GRID)
    assert "WARNING [ingest]" in done.out and "missing or blank: [3, 4, 5, 18, 20]" in done.out
    assert not done.volume.read()[[3, 4, 18]].any()
    shutil.rmtree(tmp_path / "slabs")
    strict = slabs("--input", tmp_path / "v", "--blocks=7", "--strict", *GRID)
    strict.refused(65, "missing or blank: [3, 4, 5, 18, 20]", "--strict false", stage="join_slabs")


def test_a_source_that_changes_after_it_was_read(slabs, tmp_path):
    """The file was digested by the first task; the last check sees what the others may have read."""
    store(tmp_path / "v.ome.zarr")

    def meanwhile(n):
        if n == 7:
            os.utime(tmp_path / "v.ome.zarr/zarr.json")

    done = slabs("--input", tmp_path / "v.ome.zarr", "--blocks=7", *GRID, meanwhile=meanwhile)
    done.refused(65, "v.ome.zarr/zarr.json: changed while it was being read", "-resume", stage="join_slabs")


def test_a_slab_that_is_lacking(slabs, tmp_path, monkeypatch, capfd):
    from voxelmill.core.stage import call

    np.save(tmp_path / "v.npy", EM)
    done = slabs("--input", tmp_path / "v.npy", "--blocks=7", *GRID)
    parts = [done.folder.parent / f"slab{n}" for n in range(6)]
    assert (
        call(
            "ingest.join_slabs",
            [
                f"--plan={done.folder.parent / 'plan.json'}",
                "--stores",
                *(f"{p}/raw.ome.zarr" for p in parts),
                "--figures",
                *(f"{p}/figures.json" for p in parts),
                "--output=again.ome.zarr",
                "--facts=again.json",
            ],
        )
        == 65
    )
    assert "figures of 24 sections; expected each of 28 once" in capfd.readouterr().err
