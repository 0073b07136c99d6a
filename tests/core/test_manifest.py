"""Manifests: the digest of each file, bound to its place; whatever changes is found."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.cli import main
from voxelmill.core import manifest
from voxelmill.core.errors import DataError
from voxelmill.core.volume import open_image
from voxelmill.testing.stages import make_store, run_stage

FILES = {"zarr.json": b"{}", "0/c/0/0": b"first", "0/c/0/1": b"later", "0/zarr.json": b"{ }"}


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "v.ome.zarr"
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    manifest.write(path)
    return path


def test_it_lists_every_file_with_size_and_digest(store):
    found = manifest.verify(store, deep=True)
    assert found["files"] == {n: [len(c), hashlib.sha256(c).hexdigest()] for n, c in FILES.items()}
    assert manifest.path_of(store) == store.with_name("v.ome.zarr.manifest.json")
    assert manifest.read(store) == found == manifest.make(store)
    assert not list(store.parent.glob("*.partial"))


def test_a_results_folder_stands_for_all_its_stores(store, tmp_path, monkeypatch, capsys):
    deep = shutil.copytree(store, tmp_path / "a/b/w.ome.zarr")
    manifest.write(deep)
    assert manifest.stores_in(tmp_path) == [deep, store] and manifest.stores_in(store) == [store]
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "."]) == 0 and capsys.readouterr().out.count("4 files as listed") == 2
    (deep / "zarr.json").write_bytes(b"[]")
    assert main(["verify", "."]) == 65


def test_it_says_the_same_wherever_the_store_lies(store, tmp_path):
    shutil.copytree(store, tmp_path / "other.ome.zarr")
    assert manifest.make(tmp_path / "other.ome.zarr") == manifest.read(store)
    manifest.write(tmp_path / "later.ome.zarr", now=store)
    assert manifest.read(tmp_path / "later.ome.zarr") == manifest.read(store)


def test_known_digests_are_not_taken_again(store, monkeypatch):
    known = manifest.read(store)["files"]
    monkeypatch.setattr(manifest, "digest_file", lambda path: pytest.fail("read again"))
    assert manifest.make(store, known)["files"] == known


def change(store, how):
    a, b = store / "0/c/0/0", store / "0/c/0/1"
    if how == "other bytes":
        a.write_bytes(b"First")
    elif how == "shorter":
        a.write_bytes(b"firs")
    elif how == "gone":
        a.unlink()
    elif how == "a folder instead":
        a.unlink(), a.mkdir()
    elif how == "one more":
        (store / "0/c/0/2").write_bytes(b"extra")
    elif how == "swapped":
        a.write_bytes(b"later"), b.write_bytes(b"first")
    elif how == "renamed":
        a.rename(store / "0/c/0/2")


@pytest.mark.parametrize(
    ("how", "shallow"),
    [
        ("other bytes", False),
        ("swapped", False),
        ("one more", False),
        ("shorter", True),
        ("gone", True),
        ("renamed", True),
        ("a folder instead", True),
    ],
)
def test_what_is_not_as_it_was_written_is_named(store, how, shallow):
    before = manifest.make(store)["digest"]
    change(store, how)
    assert manifest.make(store)["digest"] != before  # so Nextflow runs again what depends on it
    with pytest.raises(DataError, match=r"0/c/0/\d: .*re-run the stage that made"):
        manifest.verify(store, deep=True)
    if shallow:
        with pytest.raises(DataError, match="0/c/0/0"):
            manifest.verify(store)
    else:
        manifest.verify(store)  # sizes alone do not tell


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_any_byte_of_the_manifest_changed_is_found(store, at, value):
    path = manifest.path_of(store)
    good = path.read_bytes()
    bad = bytearray(good)
    bad[at % len(bad)] = value
    path.write_bytes(bad)
    try:
        found = manifest.read(store)
        assert found["files"] == json.loads(good)["files"]
    except DataError as error:
        assert "manifest is damaged; re-run the stage" in str(error)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"files": {}}', '{"files": {}, "digest": "0"}', "[" * 99999])
def test_what_is_no_manifest(store, text):
    manifest.path_of(store).write_text(text)
    with pytest.raises(DataError, match="manifest is damaged"):
        manifest.verify(store)


def test_a_store_without_one(store):
    manifest.path_of(store).unlink()
    assert manifest.read(store) is None
    with pytest.raises(DataError, match=r"no manifest beside it \(v\.ome\.zarr\.manifest\.json\)"):
        manifest.verify(store)
    assert manifest.digest_of(store) == manifest.make(store)["digest"]


def shards_of(path: Path) -> tuple[Path, np.ndarray]:
    """A store of four shards, of which each holds its own number."""
    values = np.repeat(np.arange(1, 5, dtype=np.uint8), 4 * 64 * 64).reshape(16, 64, 64)
    return make_store(path, values), values


def swap(a: Path, b: Path) -> None:
    """Neither size nor checksums inside tell."""
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def test_a_task_does_not_take_swapped_shards(tmp_path):
    path, values = shards_of(tmp_path / "v.ome.zarr")
    swap(path / "0/c/1/0/0", path / "0/c/2/0/0")
    image = open_image(path)
    assert not np.array_equal(image.read(), values)  # by itself a reader sees nothing
    with manifest.checked_reading():
        image = open_image(path)
        assert np.array_equal(image.read(slice(0, 4)), values[:4])  # what it does not touch is not looked at
        for region in (slice(None), 5, (slice(7, 9), slice(0, 3)), np.int64(4)):
            with pytest.raises(DataError, match=r"v.ome.zarr/0/c/1/0/0: not the bytes that the manifest lists; re-run"):
                image.read(region)


def test_a_stage_refuses_what_was_changed_under_it(tmp_path, capsys):
    path, _ = shards_of(tmp_path / "v.ome.zarr")
    given = {"volume": path, "name": "v", "output": "out.ome.zarr", "max_levels": 2}
    assert run_stage("serving.multiscale", tmp_path / "good", **given) == 0
    swap(path / "0/c/1/0/0", path / "0/c/2/0/0")
    assert run_stage("serving.multiscale", tmp_path / "bad", **given) == 65
    assert "0/c/1/0/0: not the bytes that the manifest lists" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_changed_metadata_is_refused(tmp_path, name):
    path, _ = shards_of(tmp_path / "v.ome.zarr")
    text = (path / name).read_text()
    (path / name).write_text(text.replace("30", "31") if "30" in text else text + " ")
    with manifest.checked_reading(), pytest.raises(DataError, match=f"v.ome.zarr/{name}: not the bytes"):
        open_image(path).read()


def test_workers_check_too(tmp_path):
    path, _ = shards_of(tmp_path / "v.ome.zarr")
    swap(path / "0/c/1/0/0", path / "0/c/2/0/0")
    with manifest.checked_reading():
        image = pickle.loads(pickle.dumps(open_image(path)))
        with pytest.raises(DataError, match="0/c/1/0/0: not the bytes"):
            image.read()
