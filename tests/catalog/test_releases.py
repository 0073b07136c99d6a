"""Releases: whole or not at all, named for good, checked to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from voxelmill import cli
from voxelmill.catalog import archive, differences, objects, releases, slo
from voxelmill.catalog import store as catalogue
from voxelmill.catalog.store import Store, append, read_log, safe_name, write_whole
from voxelmill.core.errors import DataError, ParameterError, StorageError
from voxelmill.testing import durability, results

CREATE = "import sys; from pathlib import Path; from voxelmill.catalog import releases; from voxelmill.catalog.store import Store; releases.create(Store(Path(sys.argv[1]), make=True), Path(sys.argv[2]), sys.argv[3])"  # noqa: E501


def test_same_results_same_id(tmp_path: Path, good: Path, store: Store) -> None:
    again = results.make(tmp_path / "again")
    other = Store(tmp_path / "other", make=True)
    assert releases.create(other, again, "x")["figures"] == releases.show(store, "r1")["figures"]
    copied = shutil.copytree(good, tmp_path / "copy")
    assert releases.create(other, copied, "y")["id"] == releases.show(store, "r1")["id"]


def test_current_is_one_pointer(store: Store) -> None:
    assert os.readlink(store.root / "current") == "releases/r2"
    assert [row["tag"] for row in releases.list_all(store) if row["current"]] == ["r2"]


def test_a_tag_is_used_once(store: Store, bad: Path) -> None:
    with pytest.raises(DataError, match=r"--tag r1: used for release .* a tag names one release for good"):
        releases.create(store, bad, "r1")
    releases.withdraw(store, "r1", "wrong")
    shutil.rmtree(store.release("r1"))  # by hand: the log still knows
    with pytest.raises(DataError, match="used for release"):
        releases.create(store, bad, "r1")


def test_other_parameters_make_another_release(store: Store, tmp_path: Path, good: Path) -> None:
    """As after `-resume` with others: the old tag does not take it, though every output has the same bytes."""
    changed = shutil.copytree(good, tmp_path / "changed")
    path = changed / "provenance/graph.provenance.json"
    path.write_text(path.read_text().replace('"strict": false', '"strict": true'))
    with pytest.raises(DataError, match=r"--tag r1: used for release"):
        releases.create(store, changed, "r1")
    assert releases.create(store, changed, "r3")["id"] != releases.show(store, "r1")["id"]


def test_made_again_changes_nothing(store: Store, bad: Path) -> None:
    before = store.events()
    assert releases.create(store, bad, "r2")["id"] == releases.show(store, "r2")["id"]
    assert store.events() == before


@pytest.mark.parametrize("tag", ["", ".", "..", "a/b", "-x", "a b", "a\0", "x" * 65, "é"])
def test_tags_that_are_none(store: Store, tag: str) -> None:
    with pytest.raises(ParameterError, match="--tag"):
        store.release(tag)


def test_rollback_withdraws_and_keeps(store: Store) -> None:
    done = releases.rollback(store, "r1", "splits more")
    assert done["current"] and releases.status(store) == {"r1": "good", "r2": "withdrawn"}
    assert releases.verify(store, "r2")["damaged"] == []
    assert releases.show(store, "r2")["history"][-1]["reason"] == "splits more"
    with pytest.raises(DataError, match="r2: withdrawn; roll back to one that is good: r1"):
        releases.rollback(store, "r2", "oh")


def test_withdrawing_the_current_one_goes_back(store: Store) -> None:
    releases.withdraw(store, "r2", "bad")
    assert store.current() == "r1"
    releases.withdraw(store, "r1", "bad, too")
    assert store.current() is None
    with pytest.raises(ParameterError, match="--reason is empty"):
        releases.withdraw(store, "r1", "  ")


def test_gates(store: Store, bad: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(
        json.dumps({"gates": [{"figure": "evaluation.regions.*.split_rate", "max": 0.5}, {"figure": "left_out", "max": 0}]})
    )
    with pytest.raises(DataError, match=r"evaluation\.regions\.z0_y0_x0\.split_rate is 3, expected at most 0\.5"):
        releases.create(store, bad, "r3", policy)
    assert store.tags() == ["r1", "r2"] and store.events()[-1]["action"] == "refuse"
    policy.write_text(json.dumps({"gates": [{"figure": "score.unknown", "max": 1}]}))
    with pytest.raises(DataError, match=r"score\.unknown is not known"):
        releases.create(store, bad, "r3", policy)
    policy.write_text(json.dumps({"gates": [{"figure": "score.voi_split", "most": 1}]}))
    with pytest.raises(ParameterError, match="expected"):
        releases.create(store, bad, "r3", policy)


def _spoil(folder: Path, how: str) -> str:
    shard = folder / "volumes/supervoxels.ome.zarr/0/c/0/0/0"
    if how == "flip":
        data = bytearray(shard.read_bytes())
        data[10] ^= 1
        shard.write_bytes(data)
    elif how == "swap":
        other = folder / "volumes/supervoxels.ome.zarr/0/c/1/0/0"
        (a, b) = (shard.read_bytes(), other.read_bytes())
        shard.write_bytes(b)
        other.write_bytes(a)
    elif how == "lose":
        shard.unlink()
    elif how == "stray":
        (folder / "tables/mine.csv").write_text("a")
        return "no record accounts for, the first tables/mine.csv"
    elif how == "incomplete":
        (folder / "INCOMPLETE").touch()
        return "has not ended well"
    elif how == "link":
        (folder / "tables/score.json").rename(folder.parent / "elsewhere.json")
        (folder / "tables/score.json").symlink_to(folder.parent / "elsewhere.json")
        return "a link; expected a file of its own"
    elif how == "table":
        (folder / "tables/score.json").write_text("{}")
        return "tables/score.json: not the bytes that"
    elif how == "record":
        (folder / "provenance/graph.provenance.json").unlink()
        return "the record of .* is missing"
    elif how == "path":
        rows = json.loads((folder / "published.json").read_text())
        rows["files"][0]["path"] = "../../etc/passwd"
        (folder / "published.json").write_text(json.dumps(rows))
        return "could lead out of its folder"
    return "not as the manifest lists it"


@pytest.mark.parametrize("how", ["flip", "swap", "lose", "stray", "incomplete", "link", "table", "record", "path"])
def test_results_that_are_not_as_they_were_made(tmp_path: Path, good: Path, how: str) -> None:
    folder = shutil.copytree(good, tmp_path / "results")
    said = _spoil(folder, how)
    store = Store(tmp_path / "store", make=True)
    with pytest.raises(DataError, match=said):
        releases.create(store, folder, "r1")
    assert store.tags() == [] and store.current() is None and not any((store.root / "staging").iterdir())


def test_what_is_damaged_is_named(store: Store) -> None:
    """Each of many one-bit flips, anywhere: named by its path, and so is what is lost or added."""
    folder, rng = store.release("r1") / "files", np.random.default_rng(1)
    names = list(releases.manifest_of(store, "r1")["files"])
    for _ in range(40):
        name = names[rng.integers(len(names))]
        path = folder / name
        data = path.read_bytes()
        if not data:
            continue
        at = int(rng.integers(len(data)))
        os.chmod(path, 0o644)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :])
        assert name in {d["path"] for d in releases.verify(store, "r1")["damaged"]}
        path.write_bytes(data)
    assert releases.verify(store, "r1")["damaged"] == []
    (folder / names[0]).unlink()
    (folder / "more").write_text("x")
    assert {d["path"]: d["why"] for d in releases.verify(store, "r1")["damaged"]} == {
        names[0]: "missing",
        "more": "not in the manifest",
    }
    text = (store.release("r2") / "manifest.json").read_text()
    (store.release("r2") / "manifest.json").write_text(text.replace("second_run", "another"))
    assert "not the manifest of release" in releases.verify(store, "r2")["damaged"][0]["why"]


def test_killed_at_any_moment(tmp_path: Path, good: Path, bad: Path) -> None:
    """`kill -9` while a release is made: the one before stays whole and current; made again, it has the same id."""
    store = Store(tmp_path / "store", make=True)
    first = releases.create(store, good, "r0")["id"]
    found = durability.publishing(store, bad, 10, int(time.time()))
    assert (found["torn"], found["left"]) == (0, 0) and found["ids"] == {releases.show(store, "whole")["id"]}
    assert releases.show(store, "r0")["id"] == first


def test_one_writer(store: Store, bad: Path) -> None:
    with store.lock("a long one"):
        done = subprocess.run([sys.executable, "-c", CREATE, str(store.root), str(bad), "r9"], capture_output=True, text=True)
    assert done.returncode and f"a long one, process {os.getpid()} on" in done.stderr
    releases.create(store, bad, "r9")


def test_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for n in range(3):
        append(path, {"n": n})
    with path.open("ab") as log:
        log.write(b'{"n": 3, "cut sho')
    assert [e["n"] for e in read_log(path)] == [0, 1, 2]
    assert append(path, {"n": 3})["seq"] == 4 and len(list(read_log(path))) == 4
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    with pytest.raises(DataError, match="line 2 is not the one that was written"):
        list(read_log(path))


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "C:\\x", "a\\b", "a\0b", "a\nb", "./a", "a/", "C:x", "a\udcff"]
)
def test_names_that_lead_out(name: str) -> None:
    with pytest.raises(DataError, match="could lead out"):
        safe_name(name, "manifest")


def test_diff(store: Store) -> None:
    found = differences.diff(store, "r1", "r2")
    assert (found["neurites"]["split"], found["neurites"]["merged"], found["neurites"]["unchanged"]) == (16, 0, 16)
    assert found["neurites"]["split_neurites"][0] == {"root_id": "1", "into": ["1", "1001", "2001", "3001"]}
    assert found["figures"]["score.voi_split"] == {"from": 0.0, "to": 1.0}
    back = differences.diff(store, "r2", "r1")
    assert (back["neurites"]["split"], back["neurites"]["merged"]) == (0, 16)
    assert found["edges"]["gained"] == back["edges"]["lost"] > 0


def test_diff_goes_by_what_neurites_are_made_of() -> None:
    old = {"supervoxel": np.arange(1, 9, dtype=np.uint64), "root_id": np.array([1, 1, 2, 2, 3, 3, 4, 4], np.uint64)}
    new = {"supervoxel": np.arange(1, 10, dtype=np.uint64), "root_id": np.array([9, 9, 5, 6, 7, 7, 7, 7, 8], np.uint64)}
    found = differences.neurites(old, new)
    assert {k: v for k, v in found.items() if isinstance(v, int)} == {
        "split": 1, "merged": 1, "renamed": 1, "unchanged": 0, "supervoxels_touched": 6, "supervoxels_only_old": 0,
        "supervoxels_only_new": 1,
    }  # fmt: skip
    assert found["split_neurites"] == [{"root_id": "2", "into": ["5", "6"]}]
    assert found["merged_neurites"] == [{"root_id": "7", "from": ["3", "4"]}]


def test_commands(tmp_path: Path, good: Path, bad: Path, capsys: pytest.CaptureFixture) -> None:
    where = str(tmp_path / "store")
    assert cli.main(["release", "create", where, "--results", str(good), "--tag", "r1"]) == 0
    assert cli.main(["release", "create", where, "--results", str(bad), "--tag", "r1"]) == 65
    assert cli.main(["release", "create", where, "--results", str(tmp_path / "none"), "--tag", "r2"]) == 74
    assert cli.main(["release", "create", where, "--results", str(bad), "--tag", "../r2"]) == 64
    assert cli.main(["release", "create", where, "--results", str(bad), "--tag", "r2"]) == 0
    capsys.readouterr()
    for words in (["list"], ["show", "r1"], ["verify"], ["diff", "r1", "r2"], ["rollback", "r1", "--reason", "x"]):
        assert cli.main(["release", words[0], where, *words[1:], "--json"]) == 0
        json.loads(capsys.readouterr().out)
        if words[0] != "rollback":
            assert cli.main(["release", words[0], where, *words[1:]]) == 0
            assert capsys.readouterr().out.strip()
    assert cli.main(["release", "show", where, "r7"]) == 64
    assert "no release 'r7'; there are: r1, r2" in capsys.readouterr().err
    assert cli.main(["release", "list", str(tmp_path)]) == 74
    with pytest.raises(StorageError, match="neither a catalogue"):
        Store(tmp_path, make=True)


def test_files_that_are_known_are_not_read_again(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same results under another tag nothing is; one that was rewritten is, though size and time are as before."""
    store, copied = Store(tmp_path / "store", make=True), shutil.copytree(good, tmp_path / "copy")
    read: list[str] = []
    put = objects.put
    monkeypatch.setattr(
        objects, "put", lambda store, source, staging: read.append(source.name) or put(store, source, staging)
    )
    releases.create(store, copied, "young")
    releases.create(store, copied, "still")  # changed within two seconds: not to be relied on
    assert len(read) == 2 * len(releases.manifest_of(store, "young")["files"])
    monkeypatch.setattr(objects, "SETTLED", 0)
    releases.create(store, copied, "a")
    read.clear()
    assert releases.create(store, copied, "b")["id"] == releases.show(store, "a")["id"] and read == []

    held = releases.manifest_of(store, "a")["files"]["report.html"][2]
    objects.path_of(store, held).unlink()  # lost: read, and there again
    releases.create(store, copied, "c")
    assert read == ["report.html"] and objects.damage(store, held) == ""

    page = copied / "report.html"
    at, text = page.stat(), page.read_bytes()
    page.write_bytes(text.replace(b"made results", b"evil results"))
    os.utime(page, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert page.stat().st_size == at.st_size and page.stat().st_mtime_ns == at.st_mtime_ns
    with pytest.raises(DataError, match="not the bytes that"):
        releases.create(store, copied, "d")


def test_a_clock_that_goes_back(tmp_path: Path, good: Path, bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order is that of the numbers: of releases, of events, and of what a withdrawal goes back to."""
    store, hours = Store(tmp_path / "store", make=True), iter(range(23, 0, -1))
    monkeypatch.setattr(catalogue, "now", lambda: f"2026-01-01T{next(hours):02d}:00:00Z")
    for tag, made in (("b", good), ("a", bad), ("c", good)):
        releases.create(store, made, tag)
    assert store.tags() == ["b", "a", "c"] and [e["seq"] for e in store.events()] == [1, 2, 3]
    assert [e["time"] for e in store.events()] == sorted((e["time"] for e in store.events()), reverse=True)
    releases.withdraw(store, "c", "bad")
    assert store.current() == "a"


@pytest.mark.parametrize("at", ["release", "pointer"])
def test_a_death_before_the_pointer(store: Store, bad: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release before stays current; what lies about is counted; made again it ends."""
    bad_too = shutil.copytree(bad, store.root.parent / "bad_too")
    (bad_too / "pipeline_info").mkdir()
    (bad_too / "pipeline_info/trace.txt").write_text("another run")
    real = Path.rename

    def died(path: Path, target: Path) -> Path:
        if path.name == "release" if at == "release" else target.name == "current":
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", died)
        with pytest.raises(KeyboardInterrupt):
            releases.create(store, bad_too, "r3")
    assert (store.current(), store.tags()) == ("r2", ["r1", "r2", *(["r3"] if at == "pointer" else [])])
    assert archive.verify(store)["orphans"] == (1 if at == "release" else 0)
    assert slo.measure(store)["whole"]["days_since_release"] < 1
    assert releases.create(store, bad_too, "r3")["current"] and archive.verify(store)["orphans"] == 0


def test_a_file_that_becomes_a_link_is_not_followed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    monkeypatch.setattr(os, "lstat", os.stat)
    with store.staging() as staging, pytest.raises(OSError, match="symbolic links"):
        objects.put(store, tmp_path / "link", staging)


def test_the_pointer_is_never_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced by one rename: dead before it, the old one stands."""

    def die(*_: object) -> None:
        raise OSError("dead")

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(OSError, match="dead"):
        store.point("r1")
    assert store.current() == "r2"


def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, too, which no killed process shows: lines of a log, files that are written whole, their folders."""
    synced = set[int]()
    real = os.fsync

    def sync(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    for place, write in (("log", lambda path: append(path, {"action": "x"})), ("whole", lambda path: write_whole(path, "x"))):
        synced.clear()
        write(tmp_path / place / "file")
        assert {(tmp_path / place).stat().st_ino, (tmp_path / place / "file").stat().st_ino} <= synced
