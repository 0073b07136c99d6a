"""Manifests: the digest of each file, bound to its place; whatever changes is found."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voxelmill.core import manifest
from voxelmill.core.errors import DataError

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
