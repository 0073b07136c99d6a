"""The ingest stage: cutouts, types, voxel sizes, room on the disk, and bad input in one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections import namedtuple
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxelmill.core import manifest, plans
from voxelmill.core.space import Space
from voxelmill.core.volume import create_image, layout
from voxelmill.ingest import ingest as stage
from voxelmill.ingest.volumes import reading
from voxelmill.ingest.volumes.reading import rescaled
from voxelmill.ingest.volumes.window import window
from voxelmill.testing.stages import record_of

from .conftest import EM

NANOMETRES = Space.zyx((1, 1, 1))


def clear(folder, *kept):
    """Remove what earlier runs left, so that what a refused one leaves can be seen."""
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def classic(shape, cutout_xyz, seed):
    """Where the classic notebook begins its cutout (z, y, x), its lines unchanged."""
    Z, Y, X = shape
    cx, cy, cz = X // 2, Y // 2, Z // 2
    sx, sy, sz = cutout_xyz
    rng = np.random.default_rng(seed)
    jitter_x = int(rng.integers(-X * 0.05, X * 0.05))
    jitter_y = int(rng.integers(-Y * 0.05, Y * 0.05))
    jitter_z = int(rng.integers(-Z * 0.05, Z * 0.05))
    x0 = max(0, min(X - sx, cx - sx // 2 + jitter_x))
    y0 = max(0, min(Y - sy, cy - sy // 2 + jitter_y))
    z0 = max(0, min(Z - sz, cz - sz // 2 + jitter_z))
    return z0, y0, x0


def volume_of(shape, kind="npy"):
    return SimpleNamespace(shape=shape, name="made", kind=kind)


side = st.integers(20, 200_000)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.tuples(side, side, side), st.integers(0, 2**32), st.tuples(*[st.floats(0.01, 1)] * 3))
@example((300, 9000, 12000), 7, (0.1, 0.1, 0.1))
@example((20, 20, 20), 7, (1.0, 1.0, 1.0))
def test_the_jitter_is_that_of_the_classic_notebook(shape, seed, share):
    size = tuple(max(1, int(n * s)) for n, s in zip(shape[::-1], share))
    p = stage.Parameters(cutout=size, seed=seed)
    assert stage.place(p, volume_of(shape), NANOMETRES) == (classic(shape, size, seed), size[::-1])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.tuples(*[st.integers(1, 19)] * 3), st.integers(0, 99))
def test_volumes_too_small_to_jitter_are_cut_in_the_middle(shape, seed):
    with pytest.raises(ValueError):
        classic(shape, (1, 1, 1), seed)
    corner, _ = stage.place(stage.Parameters(cutout=(1, 1, 1), seed=seed), volume_of(shape), NANOMETRES)
    assert corner == tuple(n // 2 for n in shape)


@pytest.mark.parametrize(("preset", "shape"), [("safe8gb", (48, 192, 192)), ("medium", (48, 256, 256))])
def test_presets_override_the_cutout(preset, shape):
    p = stage.Parameters(preset=preset, cutout=(1, 2, 3))
    corner, size = stage.place(p, volume_of((500, 500, 500)), NANOMETRES)
    assert size == shape and corner == classic((500, 500, 500), shape[::-1], 7)


def test_bossdb_has_a_usual_cutout_and_other_sources_none():
    assert stage.place(stage.Parameters(), volume_of((500, 500, 500), "bossdb"), NANOMETRES)[1] == (64, 256, 256)
    assert stage.place(stage.Parameters(), volume_of((500, 501, 502)), NANOMETRES) == ((0, 0, 0), (500, 501, 502))


@pytest.mark.parametrize("form", ["20,16,6", "20 16 6", "[20, 16, 6]"])
def test_cutout_around_a_centre(ingest, em, form):
    done = ingest("--input", em, "--center=30,20,10", "--cutout", *form.split(" "))
    assert done.facts["corner_zyx"] == [7, 12, 20]
    np.testing.assert_array_equal(done.volume.read(), EM[7:13, 12:28, 20:40])
    assert done.facts["source_shape"] == [24, 60, 80]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cutout=81,16,6"], ["--cutout 81,16,6", "em.npy is only 80 voxels along X", "ask for less"]),
        (["--cutout=20,16,25"], ["24 voxels along Z"]),
        (["--preset=medium"], ["256,256,48", "ask for less"]),
        (["--cutout=20,16,6", "--center=9,20,10"], ["leaves em.npy: X -1 to 19 of its voxels 0 to 80", "move the centre"]),
        (["--cutout=20,16,6", "--center=30,20,22"], ["Z 19 to 25 of its voxels 0 to 24"]),
        (["--center=30,20,22"], ["--center has no use without --cutout"]),
        (["--cutout=0,16,6"], ["--cutout.0", "greater than or equal to 1"]),
        (["--cutout=20,16"], ["--cutout"]),
        (["--cutout=a,b,c"], ["--cutout.0 'a'"]),
        (["--cutuot=20,16,6"], ["unknown parameter --cutuot. Did you mean --cutout?"]),
        (["--shard=30,64,64"], ["--shard (30, 64, 64): expected a multiple of --chunk"]),
    ],
)
def test_parameters_that_do_not_fit(ingest, em, flags, words):
    ingest("--input", em, *flags).refused(64, *words)


def test_the_truth_is_cut_like_the_raw(ingest, em, tmp_path):
    ids = EM.astype(np.int32) * 1000
    np.savez(tmp_path / "truth.npz", raw=EM, labels=ids)
    flags = ["--input", em, "--truth", "truth.npz", "--cutout=20,16,6", "--seed=3", "--voxel_size=30,4,5"]
    raw, truth = ingest(*flags), ingest(*flags, role="truth")
    assert truth.facts["corner_zyx"] == raw.facts["corner_zyx"] and truth.volume.dtype == np.uint32
    part = tuple(slice(c, c + n) for c, n in zip(raw.facts["corner_zyx"], (6, 16, 20)))
    np.testing.assert_array_equal(raw.volume.read(), EM[part])
    np.testing.assert_array_equal(truth.volume.read(), ids[part])
    np.save(tmp_path / "cut.npy", ids[part])
    same = ingest(*flags, "--truth=cut.npy", role="truth")  # cut already: taken as it is
    np.testing.assert_array_equal(same.volume.read(), ids[part])


def test_with_the_facts_of_the_raw_the_truth_cannot_lie_elsewhere(ingest, em, tmp_path):
    raw = ingest("--input", em, "--cutout=20,16,6", "--voxel_size=30,4,5")
    ids = EM.astype(np.uint64)
    for name, array in {"whole": ids, "cut": ids[:6, :16, :20], "other": ids[:, :, :70]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    part = tuple(slice(c, c + n) for c, n in zip(raw.facts["corner_zyx"], (6, 16, 20)))
    for name, expected in {"whole": ids[part], "cut": ids[:6, :16, :20]}.items():
        done = ingest("--input", em, f"--truth={name}.npy", "--like=raw.json", role="truth")
        np.testing.assert_array_equal(done.volume.read(), expected)
        assert done.volume.scale == (30, 4, 5)
    clear(tmp_path, "whole.npy", "cut.npy", "other.npy", "raw.json", em)
    done = ingest("--input", em, "--truth=other.npy", "--like=raw.json", role="truth")
    done.refused(65, "other.npy: shape (24, 60, 70)", "expected (24, 60, 80)", "(6, 16, 20) as its cutout")


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (EM.astype(np.float32), "float32 as labels; expected integers"),
        (EM.astype(np.int16) - 1, "negative ids; expected 0 for background"),
    ],
)
def test_labels_that_are_no_ids(ingest, tmp_path, ids, words):
    np.save(tmp_path / "truth.npy", ids)
    ingest("--truth=truth.npy", role="truth").refused(65, "truth.npy", words)


def test_voxel_size_stated_overridden_unknown_or_demanded(ingest, em, tmp_path):
    create_image(tmp_path / "em.ome.zarr", layout(EM.shape, "uint8", (8, 32, 32), (8, 32, 32)), Space.zyx((30, 4, 5))).write(
        (slice(None),) * 3, EM
    )
    done = ingest("--input=em.ome.zarr")
    assert done.volume.scale == (30, 4, 5) and done.facts["voxel_size_from"] == "source"
    done = ingest("--input=em.ome.zarr", "--voxel_size=31,4,5.5")
    assert done.volume.scale == (31, 4, 5.5) and done.facts["voxel_size_from"] == "--voxel_size"
    done = ingest("--input", em)
    assert done.facts["voxel_size_from"] == "not known" and done.facts["voxel_size"] is None
    assert done.volume.scale == (1, 1, 1) and not done.volume.space.known  # voxels are no nanometres
    assert "WARNING [ingest] em.npy: its voxel size is not known" in done.out


def test_a_voxel_size_is_demanded_under_strict(ingest, em):
    ingest("--input", em, "--strict").refused(64, "em.npy does not state a voxel size", "--voxel_size Z,Y,X")


def test_source_and_store_have_checksums(ingest, em, tmp_path):
    done = ingest("--input", em)
    digest = hashlib.sha256((tmp_path / em).read_bytes()).hexdigest()
    assert done.facts["digest"] == digest
    manifest.verify(tmp_path / "raw.ome.zarr", deep=True)
    record = json.loads((tmp_path / "ingest.raw.provenance.json").read_text())
    assert [o["name"] for o in record["outputs"]] == ["raw.ome.zarr", "raw.json", "blocks.csv", "slabs.csv"]
    assert record["quality"]["shape"] == [24, 60, 80]


def test_any_pieces_give_the_same_bytes(ingest, em, tmp_path, monkeypatch):
    flags = ["--input", em, "--shard=8,32,32", "--chunk=8,16,16", "--blocks=1"]
    assert ingest(*flags).volume.layout().grid == (3, 2, 3)
    wide = manifest.make(tmp_path / "raw.ome.zarr")
    pieces = reading.pieces
    for most, count in ((8 * 60 * 80, 3), (8 * 32 * 80, 6), (1, 18)):  # layers of shards, rows, shards
        monkeypatch.setattr(reading, "pieces", partial(pieces, most=most))
        done = ingest(*flags)
        assert len(list(reading.pieces(done.volume.layout(), "0-17", 1))) == count
        assert manifest.make(tmp_path / "raw.ome.zarr") == wide


def test_a_large_volume_is_planned_and_not_read(ingest, em, tmp_path):
    flags = ["--input", em, "--shard=8,32,32", "--chunk=8,16,16"]
    ingest(*flags, "--blocks=5")
    lines = [row["block"] for row in plans.read(tmp_path / "blocks.csv")]
    assert len(lines) == 5 and lines[0].startswith("0-") and lines[-1].endswith("-17")
    assert [row["id"] for row in plans.read(tmp_path / "reads.csv")] == ["0-5", "6-11", "12-17"]
    assert {p.name for p in tmp_path.iterdir()} == {
        em,
        "plan.json",
        "reads.csv",
        "blocks.csv",
        "slabs.csv",
        "ingest.raw.provenance.json",
    }
    record = json.loads((tmp_path / "ingest.raw.provenance.json").read_text())
    assert record["inputs"] == [] and record["quality"]["shape"] == [24, 60, 80]
    clear(tmp_path, em)
    ingest(*flags, f"--block_voxels={EM.size / 16}")  # 16 blocks, one task to read them
    assert (tmp_path / "raw.ome.zarr").exists() and not (tmp_path / "plan.json").exists()
    assert len(plans.read(tmp_path / "blocks.csv")) == 16


def test_rescaling_maps_the_range_to_bytes(ingest, tmp_path):
    for dtype, low, high in (("float32", -1.5, 2.0), ("int16", -100, 100), ("uint32", 2**30, 2**30 + 255)):
        ramp = np.linspace(low, high, 4 * 8 * 8).reshape(4, 8, 8).astype(dtype)
        np.save(tmp_path / "ramp.npy", ramp)
        done = ingest("--input=ramp.npy", "--rescale", "true", "--rescale_percentiles=0,100")
        exact = (ramp.astype(float) - low) * 255 / (high - low)
        assert np.abs(done.volume.read() - exact).max() <= 0.5 + 1e-3
        assert done.facts["rescaled_from"] == [low, high] and done.facts["clipped"] == [0, 0]
    clear(tmp_path, "ramp.npy")
    np.save(tmp_path / "flat.npy", np.full((4, 8, 8), 3.5))
    ingest("--input=flat.npy", "--rescale").refused(65, "flat.npy: every voxel that was read is 3.5")
    ingest("--input=ramp.npy", "--rescale", "--rescale_percentiles=99,1").refused(64, "the lower one first")


def test_one_hot_pixel_does_not_take_the_grey_levels(ingest, tmp_path):
    values = np.random.default_rng(3).normal(1000, 50, (6, 40, 50))
    values[3, 20, 20] = 60000
    np.save(tmp_path / "hot.npy", values.astype(np.float32))
    done = ingest("--input=hot.npy", "--rescale")
    assert len(np.unique(done.volume.read())) > 200
    low, high = done.facts["rescaled_from"]
    assert 800 < low < 900 and 1100 < high < 1250
    assert "0.1" in done.out and "above, and are clipped" in done.out
    assert done.facts["clipped"] == pytest.approx([0.001, 0.001], abs=2e-4)
    assert record_of(tmp_path, "ingest")["quality"]["clipped_share"] == done.facts["clipped"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0, 100), (0.1, 99.9), (5, 60), (0, 50)]),
)
def test_the_window_is_that_of_the_sorted_values(dtype, seed, percentiles):
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    values = rng.normal(0, 1000, (4, 6, 7)) if kind.kind == "f" else rng.integers(-(2**31), 2**32, (4, 6, 7))
    values = values.astype(kind)
    low, high = (np.percentile(values, p, method="nearest") for p in percentiles)
    found = window(lambda: ((z, values[z : z + 1]) for z in range(4)), percentiles, "v")
    assert (found.low, found.high) == (float(low), float(high))
    assert (found.below, found.above) == ((values < low).mean(), (values > high).mean())


@pytest.mark.parametrize(
    ("levels", "number"),
    [
        (np.arange(3, 250) / 255, np.arange(3, 250)),
        (np.arange(3, 250) - 128.0, np.arange(247)),  # from the lowest on
        (np.arange(3, 250) * 1.5 + 1000.25, np.arange(247)),
        (np.append(np.arange(3, 250), 300.0), None),
        (np.append(np.arange(3, 250), 100.5), None),
        (np.arange(300.0), None),
        (np.arange(0.0, 256, 2), np.arange(0, 256, 2)),
        (np.arange(0.0, 256, 2) / 255, np.arange(0, 256, 2)),
        (np.array([0.0, 1]), None),  # a mask would be black
        (np.arange(1000.0, 1063), None),
    ],
)
def test_values_in_even_steps_keep_their_levels(levels, number):
    values = np.resize(levels, (2, 20, 20)).astype(np.float32)
    pieces = lambda: ((z, values[z : z + 1]) for z in range(2))  # noqa: E731
    found, plain = (window(pieces, (0.1, 99.9), "v", keep) for keep in (True, False))
    if number is None:
        assert found == plain
    else:
        assert np.array_equal(rescaled(values, (found.low, found.high)), np.resize(number, values.shape))
        assert found.below == found.above == 0


def test_integers_keep_their_values(ingest, tmp_path):
    wide = EM.astype(">u2") * 17
    np.save(tmp_path / "wide.npy", wide)
    done = ingest("--input=wide.npy")
    assert done.volume.dtype == np.uint16
    np.testing.assert_array_equal(done.volume.read(), wide)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_and_infinity(ingest, tmp_path, value, dtype):
    sick = EM.astype(dtype)
    sick[17, 3, 4] = value
    np.save(tmp_path / "sick.npy", sick)
    ingest("--input=sick.npy").refused(65, "sick.npy", f"{dtype} values; expected uint8", "--rescale true")
    ingest("--input=sick.npy", "--rescale").refused(65, "sick.npy: 1 NaN or infinite values from section 17")
    done = ingest("--input=sick.npy", "--rescale", "--cutout=8,8,4", "--center=60,40,18")
    assert done.volume.shape == (4, 8, 8)  # it lies outside the cutout


@pytest.mark.parametrize("dtype", ["bool", "complex64", "S3"])
def test_types_that_are_no_grey_values(ingest, tmp_path, dtype):
    np.save(tmp_path / "odd.npy", np.zeros((4, 5, 6), dtype))
    for flags in ([], ["--rescale"]):
        ingest("--input=odd.npy", *flags).refused(65, "odd.npy", "expected uint8 or uint16")


@pytest.mark.parametrize(
    ("location", "code", "words"),
    [
        ("", 64, "--input is missing"),
        ("nothing.npy", 74, "no such file"),
        ("empty.tif", 65, "empty (0 bytes)"),
        ("https://example.org/em.npy", 64, "fetch it, and give its path"),
        ("ftp://bucket/em", 64, "scheme"),
        ("precomputed://file:///nothing/here", 74, "no such file"),
        ("notes.txt", 64, "readable are"),
    ],
)
def test_input_that_cannot_be_read(ingest, tmp_path, location, code, words):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "notes.txt").write_text("words")
    ingest(f"--input={location}").refused(code, location, words)


def test_sizes_are_printed_and_the_disk_is_asked_first(ingest, em, tmp_path, monkeypatch):
    done = ingest("--input", em)
    assert "[ingest] Disk: up to 0.000 GB, uncompressed (raw 0.000); free here: " in done.out
    clear(tmp_path, em)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 10, 10))
    ingest("--input", em).refused(74, "need up to", "0.0 GB free", "take a smaller --cutout")


def test_a_disk_that_fills_up(ingest, em, tmp_path, monkeypatch):
    """A real full disk, where the system lets a test make one."""
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    if made.returncode:
        pytest.skip(f"no right to mount a small file system: {made.stderr.decode().strip()}")
    monkeypatch.setattr(stage.disk, "check", lambda *given: "")  # it would refuse before
    try:
        ingest(f"--input={tmp_path / em}", at=small).refused(74, "no space left on the disk", "free some")
    finally:
        os.chdir(tmp_path)
        subprocess.run(["umount", small], check=True)
    assert ingest("--input", em).volume.shape == EM.shape
