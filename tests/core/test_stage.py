"""The stage contract: outputs appear whole or not at all, every failure is one line and a code."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from voxelmill.core import manifest
from voxelmill.core.errors import DataError, ParameterError, StorageError, TransientError, out_of_memory
from voxelmill.core.params import Params, param
from voxelmill.core.provenance import Task
from voxelmill.core.stage import In, Out, call


class Parameters(Params):
    """What the stage under test takes."""

    size: int = param(3, "A number of things", ge=1)
    fault: str = param("", "What to raise after the outputs were written")


FAULTS = {
    "data": DataError("x.tif: bad\nin two lines; mend it"),
    "parameter": ParameterError("--size: bad"),
    "storage": StorageError("disk: bad"),
    "busy": TransientError("server: busy"),
    "memory": MemoryError(),
    "full": OSError(errno.ENOSPC, "No space left on device", "/data/x"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "bug": KeyError("bug"),
    "read": PermissionError(errno.EACCES, "no", "/x"),
}


def run(
    p: Parameters,
    task: Task,
    *,
    source: In,
    more: list[In] | None = None,
    word: str = "none",
    store: Out,
    table: Out,
    extra: Out | None = None,
) -> None:
    store.mkdir()
    (store / "shard").write_bytes(b"voxels" * p.size)
    table.write_text(word + source.read_text() + "".join(m.read_text() for m in more or []))
    task.report(things=p.size)
    if p.fault == "nothing":
        table.unlink()
    elif p.fault:
        raise FAULTS[p.fault]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """`stage("--size", "4")` runs the stage above in an empty folder with one input."""
    module = types.ModuleType("voxelmill.core.made", "Make things.\n\nIn a store and a table.")
    module.Parameters, module.run = Parameters, run
    monkeypatch.setitem(sys.modules, "voxelmill.core.made", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("input")

    def start(*words: str) -> int:
        return call("core.made", ["--source", "in.txt", "--store", "v.zarr", "--table=t.csv", *words])

    return start


def files() -> set[str]:
    return {str(p) for p in Path().rglob("*") if p.is_file()} - {"in.txt"}


def test_outputs_manifest_and_record(stage):
    assert stage("--size", "4") == 0
    assert files() == {"v.zarr/shard", "v.zarr.manifest.json", "t.csv", "made.provenance.json"}
    assert Path("v.zarr/shard").read_bytes() == b"voxels" * 4
    listed = manifest.verify(Path("v.zarr"), deep=True)
    record = json.loads(Path("made.provenance.json").read_text())
    assert record["params"] == {"size": 4, "fault": ""} and record["quality"] == {"things": 4}
    assert [(o["name"], o["digest"]) for o in record["outputs"]] == [
        ("v.zarr", listed["digest"]),
        ("t.csv", manifest.digest_file(Path("t.csv"))),
    ]
    assert [i["name"] for i in record["inputs"]] == ["in.txt"]
    assert record["bytes_out"] == 24 + Path("t.csv").stat().st_size


def test_lists_words_and_equals(stage):
    Path("a.txt").write_text("A")
    Path("b.txt").write_text("B")
    assert stage("--more", "a.txt", "b.txt", "--word=hello") == 0
    assert Path("t.csv").read_text() == "helloinputAB"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("data", 65, "x.tif: bad in two lines; mend it"),
        ("parameter", 64, "--size: bad"),
        ("storage", 74, "disk: bad"),
        ("busy", 75, "server: busy"),
        ("memory", 137, "out of memory"),
        ("full", 74, "no space left on the disk that holds /data/x"),
        ("quota", 74, "no space left"),
        ("read", 74, "/x: no"),
        ("nothing", 65, "made ended without writing t.csv"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(stage, capsys, fault, code, words):
    assert stage("--fault", fault) == code
    said = capsys.readouterr().err
    assert said.startswith("ERROR [made] ") and said.count("\n") == 1 and words in said
    assert files() == set()


def test_a_bug_is_not_hidden_and_leaves_nothing(stage, capsys):
    """It has a code of its own: 1 is what a shell or a Python that cannot start says."""
    assert stage("--fault=bug") == 70
    said = capsys.readouterr().err
    assert "Traceback" in said and said.splitlines()[-1].startswith("ERROR [made] a bug in Voxelmill (KeyError: 'bug')")
    assert files() == set()


def test_libraries_that_run_out_of_memory_say_so_in_words_of_their_own(stage, monkeypatch):
    """OpenCV's real error, DuckDB's, an errno, and one that a reader took for damaged data."""
    import cv2
    import duckdb

    def fail_as_damaged():
        try:
            raise cv2.error("x.cpp:73: error: (-4:Insufficient memory) Failed to allocate 10000000000 bytes")
        except cv2.error:
            raise DataError("x.tif: damaged; copy it again") from None

    def fail_in_opencv():
        cv2.resize(np.zeros((4, 4), np.uint8), (2**20, 2**31 - 1))

    for fail in (
        fail_as_damaged,
        fail_in_opencv,
        lambda: duckdb.sql(
            "SET memory_limit='1MB'; SET temp_directory=''; SELECT list(range) FROM range(10000000)"
        ).fetchall(),
        lambda: (_ for _ in ()).throw(OSError(errno.ENOMEM, "Cannot allocate memory")),
        lambda: (_ for _ in ()).throw(RuntimeError("std::bad_alloc")),
    ):
        with pytest.raises(Exception) as caught:
            fail()
        monkeypatch.setitem(FAULTS, "library", caught.value)
        assert stage("--fault=library") == 137, caught.value
    for what in (OSError(errno.ENOSPC, "full"), TransientError("a busy server")):
        what.__context__ = ValueError("RESOURCE_EXHAUSTED: what TensorStore says of both")
        assert not out_of_memory(what)
    assert not out_of_memory(DataError("memory.tif: failed to allocate a name")) and not out_of_memory(ValueError("bad"))


def test_a_failure_leaves_the_old_output_as_it_was(stage):
    assert stage("--size=4") == 0
    before = {name: Path(name).read_bytes() for name in files()}
    for fault in ("data", "nothing"):
        assert stage("--size=5", f"--fault={fault}") == 65
        assert {name: Path(name).read_bytes() for name in files()} == before
    assert stage("--size=5") == 0
    assert Path("v.zarr/shard").stat().st_size == 30
    manifest.verify(Path("v.zarr"), deep=True)


def test_left_overs_of_a_killed_run_do_no_harm(stage):
    Path("v.zarr.partial").mkdir()
    Path("v.zarr.partial/old").write_text("half")
    Path("t.csv.partial").write_text("half")
    assert stage() == 0
    assert "v.zarr/old" not in files() and not [f for f in files() if "partial" in f]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--szie", "4"], 64, "unknown parameter --szie. Did you mean --size?"),
        (["--tabel", "x"], 64, "Did you mean --table?"),
        (["--size", "0"], 64, "--size '0'"),
        (["--size", "many"], 64, "--size 'many'"),
        (["--source", "gone.txt"], 74, "gone.txt"),
        (["--more", "in.txt", "gone.txt"], 74, "gone.txt"),
        (["--store"], 64, "--store is missing"),
    ],
)
def test_a_wrong_command_line(stage, capsys, words, code, said):
    assert stage(*words) == code
    err = capsys.readouterr().err
    assert err.startswith("ERROR [made] ") and err.count("\n") == 1 and said in err
    assert files() == set()


def test_words_before_any_name_and_missing_files(stage, capsys):
    assert call("core.made", ["in.txt"]) == 64
    assert "'in.txt' stands before any --name" in capsys.readouterr().err
    assert call("core.made", ["--store", "v.zarr", "--table", "t.csv"]) == 64
    assert "--source is missing" in capsys.readouterr().err


def test_help_lists_files_and_parameters(stage, capsys):
    assert stage("--help") == 0
    said = capsys.readouterr().out
    assert said.startswith("Make things.")
    for line in ("--source PATH\n", "--more PATH ...  (optional)", "--extra PATH  (optional)", "A number of things [3]"):
        assert line in said
    assert files() == set()


def test_a_manifest_that_cannot_be_written_leaves_nothing(stage, monkeypatch, capsys):
    """The disk may fill up in the last moment."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "v.zarr.manifest.json")

    with monkeypatch.context() as m:
        m.setattr(manifest, "make", full)
        assert stage() == 74
    assert "no space left on the disk that holds v.zarr.manifest.json" in capsys.readouterr().err
    assert files() == set()


def test_a_script_ends_with_its_code_and_cleans_up() -> None:
    """It ends without taking Python apart, but what was to be done at the end is done and all is said."""
    words = (
        "import atexit; atexit.register(print, 'cleaned'); from voxelmill.core.stage import main; main('transform.align', {})"
    )
    for given, code, said in ((["--help"], 0, "--transforms PATH"), (["--nonsense"], 64, "cleaned")):
        done = subprocess.run([sys.executable, "-c", words.format(given)], capture_output=True, text=True)
        assert done.returncode == code and said in done.stdout and done.stdout.endswith("cleaned\n")
        assert code == 0 or done.stderr.startswith("ERROR [align]")
