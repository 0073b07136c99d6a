"""Records: whose they are, what they list file by file, what was left out; which of a folder's are the last run's."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

import pytest
from voxelmill.core import manifest, runs
from voxelmill.core.errors import DataError
from voxelmill.core.params import Params, param
from voxelmill.core.provenance import Task
from voxelmill.core.stage import In, InFiles, Out, OutFiles, call

HASH = "0123456789abcdef0123456789abcdef"


class Parameters(Params):
    """What the stages under test take."""

    strict: bool = param(False, "As elsewhere")
    wrong: str = param("", "Items that fail")
    whole: bool = param(False, "Leave out all")


def make(p: Parameters, task: Task, *, source: In, role: str = "raw", block: str, tables: OutFiles, store: Out) -> None:
    if p.whole:
        tables.mkdir()
        (tables / "half.csv").write_text("half")
        task.leave_out("no tissue\nto be seen")

    def work(item: str) -> int:
        (tables / item).mkdir(parents=True)
        if item in p.wrong:
            raise DataError(f"{item}: torn")
        (tables / item / "a.csv").write_text(item)
        return len(item)

    sound = dict(task.each_sound(work, ["one", "two"], "items", undo=lambda item: (tables / item).rmdir()))
    task.report(sizes=sound)
    (tables / "one.zarr").mkdir(parents=True)
    (tables / "one.zarr/0").write_text("voxels")
    manifest.write(tables / "one.zarr")
    store.mkdir()
    (store / "0").write_text("voxels")
    (store / "t.csv").write_text("a table in a store")


def gather(p: Parameters, task: Task, *, records: InFiles, output: Out) -> None:
    output.write_text("page")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`stage("make", ...)` runs the first stage above in an empty folder, as Nextflow would."""
    for name, run in (("make", make), ("report", gather)):
        module = types.ModuleType(f"voxelmill.core.{name}", "Doc.")
        module.Parameters, module.run = Parameters, run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"voxelmill.core.{name}", module)
    monkeypatch.setenv("VOXELMILL_RUN", "quiet_rutherford")
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("input")

    def start(name: str, *words: str) -> int:
        files = {
            "make": ["--source=in.txt", "--block=0-3", "--tables=published/tables", "--store=published/volumes/v.zarr"],
            "report": ["--records=records", "--output=published/report.html"],
        }
        return call(f"core.{name}", [*files[name], *words])

    return start


def record(name: str = "make.raw.0-3") -> dict:
    return json.loads(Path(f"{name}.provenance.json").read_text())


def test_run_and_task_stand_in_the_record(stage, tmp_path, monkeypatch):
    assert stage("make") == 0
    assert (record()["run_id"], record()["task_hash"]) == ("quiet_rutherford", "")
    monkeypatch.setenv("NXF_TASK_WORKDIR", f"/w/{HASH[:2]}/{HASH[2:]}")
    assert stage("make", "--role=truth") == 0
    assert record("make.truth.0-3")["task_hash"] == HASH


def test_outputs_are_listed_file_by_file_and_where_they_are_published(stage):
    assert stage("make") == 0
    assert not Path("published/tables.manifest.json").exists()  # its files go their own ways
    rows = {made["name"]: made for made in record()["outputs"]}
    assert {name: made.get("published") for name, made in rows.items()} == {
        "tables/one/a.csv": "tables/one/a.csv",
        "tables/two/a.csv": "tables/two/a.csv",
        "tables/one.zarr": "tables/one.zarr",
        "v.zarr": "volumes/v.zarr",
        "v.zarr/t.csv": None,
    }
    for made in rows.values():
        path = Path(made["path"])
        assert made["digest"] == (manifest.verify(path)["digest"] if path.is_dir() else manifest.digest_file(path))
    assert record()["bytes_out"] == 3 + 3 + 6 + 6 + 18


def test_an_item_left_out_is_told_and_harms_no_other(stage, capsys):
    assert stage("make", "--wrong=two") == 0
    assert record()["left_out"] == {"two": "two: torn"} and record()["quality"] == {"sizes": {"one": 3}}
    assert not Path("published/tables/two").exists()
    assert stage("make", "--wrong=two", "--strict=true") == 65
    assert "two: torn" in capsys.readouterr().err


def test_an_item_for_which_memory_ran_out_is_not_left_out():
    """A reader that takes lack of memory for damage: the task is to be tried again with more."""

    def work(item: str) -> None:
        try:
            raise MemoryError("decoding")
        except MemoryError:
            raise DataError(f"{item}: damaged; copy it again") from None

    task = Task("make", Parameters())
    with pytest.raises(MemoryError, match=r"a\.tif: damaged"):
        list(task.each_sound(work, ["a.tif"], "items"))
    assert not task.left_out


def test_a_whole_task_left_out_ends_well_without_outputs(stage, capsys):
    assert stage("make") == 0
    assert stage("make", "--whole=true") == 0
    assert record()["left_out"] == {"raw.0-3": "no tissue to be seen"} and record()["outputs"] == []
    assert not list(Path("published").rglob("*.*"))  # nor those of an earlier try
    assert "left out: no tissue to be seen\n" in capsys.readouterr().err
    assert stage("make", "--whole=true", "--strict=true") == 65
    assert "no tissue to be seen; --strict false leaves such items out" in capsys.readouterr().err


def test_a_digest_is_that_of_the_file_as_it_is_now(tmp_path):
    path = tmp_path / "a.csv"
    for text in ("one", "two"):
        path.write_text(text)
        os.utime(path, ns=(0, int(text == "two")))
        assert manifest.digest_of(path) == manifest.digest_file(path)
    at = path.stat()
    other = tmp_path / "b.csv"
    other.write_text("six")
    os.utime(other, ns=(at.st_atime_ns, at.st_mtime_ns))
    other.rename(path)  # same size and time, another file
    assert manifest.digest_of(path) == manifest.digest_file(path)


def test_what_an_earlier_run_left_in_the_folder_is_not_told(stage, tmp_path):
    """Records of the last run are those that its report read."""
    out = tmp_path / "out/provenance"
    out.mkdir(parents=True)
    assert stage("make", "--wrong=two", "--block=0-9") == 0  # of the earlier run
    Path("make.raw.0-9.provenance.json").rename(out / "make.raw.0-9.provenance.json")
    assert stage("make", "--wrong=one") == 0
    Path("records/1").mkdir(parents=True)
    for folder in (Path("records/1"), out):
        (folder / "make.raw.0-3.provenance.json").write_bytes(Path("make.raw.0-3.provenance.json").read_bytes())
    assert stage("report") == 0
    Path("report.provenance.json").rename(out / "report.provenance.json")
    found = runs.records(tmp_path / "out")
    assert [r["record"] for r in found] == ["make.raw.0-3.provenance.json", "report.provenance.json"]
    assert runs.remarks(found) == ["make: left out one: torn"]
    runs.write_published(tmp_path / "out", "quiet_rutherford", found)
    listed = json.loads((tmp_path / "out/published.json").read_text())
    assert [(row["path"], row["kind"], row["stage"]) for row in listed["files"]] == [
        ("report.html", "report", "report"),
        ("tables/one.zarr", "volume", "make"),
        ("tables/two/a.csv", "table", "make"),
        ("volumes/v.zarr", "volume", "make"),
    ]
