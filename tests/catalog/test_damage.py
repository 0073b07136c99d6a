"""Bit rot anywhere in a catalogue: found by a scrub and named, and never an answer or a bug's traceback."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.catalog import archive, copies, index, lineage, objects, queries, releases
from voxelmill.catalog.store import Store, append, read_log
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.proofreading.edits import Editor


@pytest.fixture
def kept(store: Store, tmp_path: Path) -> Store:
    """With something archived, indexed, edited."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.bin").write_bytes(b"raw")
    archive.add(store, [tmp_path / "raw"])
    edits = Editor(store, "r2", index.load(store, "r2"))
    for n in range(2):
        a, b = edits.refresh().index.supervoxels[[4 * n, -1 - 4 * n]].tolist()
        edits.merge(a, b, by="ann", base_version=n, reason="one")
    lineage.rebuild(store)  # without pages that nothing is in any more
    assert archive.verify(store)["damaged"] == []
    return store


def turn(path: Path, at: int, bit: int = 0) -> None:
    """Flip a bit in place; done twice it is as before."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    path.chmod(mode)


def found(store: Store) -> set[str]:
    return {row["object"] for row in archive.verify(store)["damaged"]}


@pytest.mark.parametrize(
    "name",
    ["events.jsonl", "archive/sources.jsonl", "edits/r2/log.jsonl", "releases/r1/release.json", "releases/r1/manifest.json"],
)
def test_a_bit_of_what_is_written(kept: Store, name: str) -> None:
    """Anywhere: in the last line of a log, and its line break, too, which no later line speaks for."""
    path, rng = kept.root / name, np.random.default_rng(1)
    size = path.stat().st_size
    for at in {size - 1, size - 3, *rng.integers(0, size, 12).tolist()}:
        before = path.read_bytes()
        turn(path, at, int(rng.integers(8)))
        if path.read_bytes().count(b'"sum"') == before.count(b'"sum"'):  # what it says is as it was
            assert any(name.startswith(one) for one in found(kept)), (at, before[at - 9 : at + 9])
        path.write_bytes(before)
    assert found(kept) == set()


def test_nothing_is_added_to_a_damaged_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for n in range(2):
        append(path, {"n": n})
    size = path.stat().st_size
    for at in (size - 1, size - 5):
        turn(path, at)
        with pytest.raises(DataError, match="restore the log from a copy"):
            append(path, {"n": 2})
        with pytest.raises(DataError, match="line 2 is not the one that was written"):
            list(read_log(path))
        turn(path, at)
    assert path.stat().st_size == size and len(list(read_log(path))) == 2


@pytest.mark.parametrize("word", [b"supervoxels.ome.zarr", b"ingest", b"volumes/raw.ome.zarr/zarr.json"])
def test_a_bit_of_the_catalogue(kept: Store, word: bytes) -> None:
    """Rows and their indices; made again it is whole."""
    data = kept.catalogue.read_bytes()
    for at in {data.find(word), data.rfind(word)}:
        turn(kept.catalogue, at + 2)
        assert found(kept) == {"catalogue.sqlite"}
        turn(kept.catalogue, at + 2)
    turn(kept.catalogue, data.find(word))
    lineage.rebuild(kept)
    assert found(kept) == set()


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:5000], lambda d: os.urandom(len(d)), lambda d: b"", lambda d: d[:100] + d[4096:]]
)
def test_a_catalogue_that_is_none(kept: Store, good: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Readers say so; the next writer makes it again."""
    kept.catalogue.write_bytes(spoil(kept.catalogue.read_bytes()))
    with contextlib.suppress(DataError):  # of an empty one, and of one that knows no log, all is made again
        queries.trace(kept, "tables/edges.parquet")
    releases.create(kept, good, "r3")
    assert queries.trace(kept, "tables/edges.parquet")["tasks"] and found(kept) == set()


def test_a_bit_of_an_index(kept: Store) -> None:
    """It is no answer: taken away, and made again."""
    folder = index.folder_of(kept, "r2")
    for name in ("out_partner", "supervoxel_root", "roots"):
        path = folder / f"{name}.npy"
        turn(path, path.stat().st_size - 4)
        assert found(kept) == {f"query/{folder.name}"}
        with pytest.raises(DataError, match=f"{name}.npy is not as it was written"):
            index.load(kept, "r2")
        index.load(kept, "r2")
        assert found(kept) == set()


def test_what_was_seen_before(kept: Store, good: Path) -> None:
    """The list of files that need not be read again: a damaged row is not taken, a damaged list is made anew."""
    seen = kept.root / "seen.sqlite"
    for path in good.rglob("*"):
        os.utime(path, (1, 1))
    releases.create(kept, good, "r3")

    def rows() -> Iterator[str]:
        with sqlite3.connect(seen) as con:
            yield from (text for (text,) in con.execute("SELECT stored FROM put"))

    for text in rows():
        data = seen.read_bytes()
        turn(seen, data.find(text.encode()) + text.find("sha256") + 12)
    assert releases.create(kept, good, "r4")["id"] == releases.show(kept, "r1")["id"]
    seen.write_bytes(os.urandom(12288))
    assert releases.create(kept, good, "r5")["id"] == releases.show(kept, "r1")["id"]


def test_an_object_that_can_be_written(kept: Store) -> None:
    path = next(kept.objects.glob("*/*"))
    path.chmod(0o644)
    (row,) = archive.verify(kept)["damaged"]
    assert row["object"] == path.name and "of mode 0644" in row["why"]
    path.chmod(0o444)
    (kept.root / "current").unlink()
    (kept.root / "current").symlink_to("releases/r9")
    assert found(kept) == {"current"}


def in_place(path: Path, to: bytes | None) -> None:
    """Other bytes in the same inode, or none."""
    if to is None:
        path.unlink()
        return
    path.chmod(0o644)
    path.write_bytes(to)
    path.chmod(0o444)


@pytest.mark.parametrize("to", [None, b"", b"RAW", b"longer than it was"])
def test_the_second_copy_is_looked_after_and_heals(kept: Store, tmp_path: Path, to: bytes | None) -> None:
    second, moved = tmp_path / "second", tmp_path / "moved"
    assert cli.main(["archive", "add", str(kept.root), str(tmp_path / "raw"), "--second", str(second)]) == 0
    row = next(row for row in archive.sources(kept) if row["name"] == "raw/a.bin")
    own, copy = objects.path_of(kept, row["blake3"]), second / row["blake3"][:2] / row["blake3"]
    assert archive.verify(kept)["copies"] == 1 and archive.verify(kept)["damaged"] == []
    for bad, good, name in ((own, copy, row["blake3"]), (copy, own, str(copy))):
        in_place(bad, to)
        (one,) = archive.verify(kept)["damaged"]
        assert (one["object"], one["sources"]) == (name, ["raw/a.bin"])
        assert cli.main(["archive", "verify", str(kept.root)]) == 65
        assert cli.main(["archive", "verify", str(kept.root), "--repair"]) == 0
        assert bad.read_bytes() == good.read_bytes() == b"raw" and bad.stat().st_mode & 0o777 == 0o444
        assert not bad.samefile(good) and archive.verify(kept)["damaged"] == []
    in_place(own, to)
    in_place(copy, to)
    found = archive.verify(kept, repair=True)
    assert {one["object"] for one in found["damaged"]} == {row["blake3"], str(copy)} and found["repaired"] == []
    assert copy.exists() == (to is not None) and not list(second.glob("*/*.partial"))
    (tmp_path / "raw/a.bin").rename(tmp_path / "a.bin")
    for path in (own, copy):
        path.unlink(missing_ok=True)
    archive.add(kept, [tmp_path / "a.bin"], second)
    second.rename(moved)
    (one,) = archive.verify(kept)["damaged"]
    assert one["object"] == str(second) and "mount it" in one["why"]
    assert archive.verify(kept, second=moved)["damaged"] == []
    with pytest.raises(StorageError, match="no folder there"):
        archive.verify(kept, second=second)


def test_releases_heal(kept: Store, tmp_path: Path) -> None:
    """From the second copy of a source that they share, from one another; and they share one file again."""
    path = "volumes/raw.ome.zarr/0/c/0/0/0"
    files = [kept.release(tag) / "files" / path for tag in ("r1", "r2")]
    whole, name = files[0].read_bytes(), releases.manifest_of(kept, "r1")["files"][path][2]
    (tmp_path / "same.bin").write_bytes(whole)
    archive.add(kept, [tmp_path / "same.bin"], tmp_path / "second")
    in_place(files[0], whole[:-1])  # one file under three names
    assert found(kept) == {name}
    assert archive.verify(kept, repair=True)["repaired"] == [f"objects/{name[:2]}/{name}"]
    files[1].unlink()
    files[1].write_bytes(b"other")
    assert found(kept) == {str(files[1])} and archive.verify(kept)["releases"] == ["r2"]
    assert archive.verify(kept, repair=True)["repaired"] == [str(files[1])]
    (tmp_path / "second" / name[:2] / name).unlink()
    objects.path_of(kept, name).unlink()  # now only the releases hold it
    assert archive.verify(kept, repair=True)["damaged"] == []
    assert all(file.samefile(objects.path_of(kept, name)) and file.read_bytes() == whole for file in files)
    assert all(releases.verify(kept, tag)["damaged"] == [] for tag in ("r1", "r2"))


def test_a_copy_is_not_made_of_what_is_damaged(kept: Store, tmp_path: Path) -> None:
    row = next(row for row in archive.sources(kept) if row["name"] == "raw/a.bin")
    in_place(objects.path_of(kept, row["blake3"]), b"RAW")
    with pytest.raises(DataError, match="not the bytes"):
        archive.add(kept, [tmp_path / "raw"], tmp_path / "second")
    assert not any(path.is_file() for path in (tmp_path / "second").rglob("*"))


def test_repair_is_a_writer(kept: Store) -> None:
    with kept.lock("another"), pytest.raises(StorageError, match="is writing here"):
        archive.verify(kept, repair=True)


def test_a_copy_lies_outside_the_catalogue(kept: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(kept.objects)
    for second in (kept.objects, tmp_path / "link"):
        with pytest.raises(ParameterError, match="lies in the catalogue"):
            archive.add(kept, [tmp_path / "raw"], second)


def test_what_is_no_file_is_neither_read_nor_healed_through(kept: Store, tmp_path: Path) -> None:
    """A pipe would be waited for, a device read for ever; behind a folder that is a link lies what is anybody's."""
    (tmp_path / "empty").mkdir()
    for n, make in enumerate((Path.mkdir, lambda path: path.symlink_to("/dev/zero"), os.mkfifo)):
        make(path := tmp_path / f"empty/{n}")
        assert objects.damage_at(path, "ab" * 32) == "no plain file"
    folder, path = kept.release("r2") / "files/tables", tmp_path / "elsewhere/edges.parquet"
    folder.rename(path.parent)
    folder.symlink_to(path.parent)
    assert archive.verify(kept)["damaged"] == []  # its links are still those of its objects
    path.unlink()
    path.write_bytes(b"mine")
    for repair in (False, True):
        (one,) = archive.verify(kept, repair)["damaged"]
        assert "out of the release" in one["why"] and one["files"][0]["tag"] == "r2" and path.read_bytes() == b"mine"


def test_a_full_disk_is_no_lack_of_healthy_bytes(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = releases.manifest_of(kept, "r1")["files"]["tables/edges.parquet"][2]
    file = kept.release("r1") / "files/tables/edges.parquet"
    file.unlink()
    file.write_bytes(b"other")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies, "write", full)
    with pytest.raises(OSError, match="No space"):
        archive.verify(kept, repair=True)
    monkeypatch.undo()
    assert archive.verify(kept, repair=True)["damaged"] == [] and objects.is_object(kept, file, name)
