"""What happens when something goes wrong: exit codes, two runs on one folder, -resume, doubtful data."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from voxelmill.testing.engine import PROJECT, Launch, Run, run

from .conftest import Config, writer

pytestmark = pytest.mark.slow
DEMO = PROJECT / "assets/demo"
# As -profile demo, but not by it: with `-c` it would need the older parser, which takes ten CPU seconds more.
FILES = ("--input", DEMO / "fib25_crop.npz", "--truth", DEMO / "fib25_truth.npz", "--voxel_size", "10,10,10")
STUB = (*FILES, "--simulate_misalignment", "true", "-stub-run")


def test_lasting_faults_end_the_run_at_once(config: Config, tmp_path: Path) -> None:
    """64 and 74, of two tasks that start together. 65 so: a blank section, below; once more 74: a full disk."""
    codes = "\n".join(f"withName: {name} {{ beforeScript = 'exit {n}' }}" for name, n in (("INGEST", 64), ("ESTIMATE", 74)))
    done = run(*STUB, "-c", config(f"process {{ {codes} }}"), folder=tmp_path)
    assert done.code != 0
    assert (done.attempts("INGEST"), done.attempts("ESTIMATE")) == ([("FAILED", 64)], [("FAILED", 74)])
    assert "PREPROCESS" not in done.tasks()
    assert (done.outdir / "INCOMPLETE").exists()
    assert "Voxelmill has stopped." in done.said and "the same command with -resume" in done.said


def test_a_word_too_many_is_refused(tmp_path: Path) -> None:
    """As the rest of a list with spaces would be, which the engine would pass over."""
    done = run(*STUB, "--seed", 7, 8, folder=tmp_path)
    assert done.code == 64 and "ERROR 8: belongs to no parameter" in done.said, done.said


def test_tries_come_to_an_end(config: Config, tmp_path: Path) -> None:
    trouble = config("process { withName: INGEST { beforeScript = 'exit 137' } }")
    done = run(*STUB, "-c", trouble, "--max_retries", 1, folder=tmp_path)
    assert done.code != 0
    assert done.attempts("INGEST") == [("FAILED", 137)] * 2


@pytest.fixture(scope="module")
def after_a_lock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, str]:
    """A second run on one folder, a third after the first was killed, in which faults pass; what the first was called."""
    folder = tmp_path_factory.mktemp("lock")
    config = writer(folder)
    slow = config("process { withName: 'INGEST|INGEST_TRUTH' { beforeScript = 'sleep 60' } }")
    script = "beforeScript = { task.attempt < 3 ? \"exit ${[75, 137][task.attempt - 1]}\" : '' }"
    trouble = config(f"process {{ withName: ALIGN {{ {script} }} }}")
    first = Launch(*STUB, "-c", slow, "-name", "first_run", folder=folder / "a", outdir=folder / "out")
    try:
        first.until(lambda: "Submitted process" in first.said(), "a task")
        second = run(*STUB, folder=folder / "b", outdir=folder / "out")
        first.kill()
        third = run(*STUB, "-c", trouble, folder=folder / "b", outdir=folder / "out")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.process.pid, 9)  # the group is ours: tasks that outlived their head
    return second, third, f"process {first.process.pid}"


def test_one_run_at_a_time_in_a_folder(after_a_lock: tuple[Run, Run, str]) -> None:
    """The second is refused by name; a lock whose process died is taken over."""
    second, third, process = after_a_lock
    assert second.code == 75
    for told in ("in use by run first_run", socket.gethostname(), process):
        assert told in second.said, second.said
    assert third.code == 0, third.said


def test_passing_faults_are_tried_again(after_a_lock: tuple[Run, Run, str]) -> None:
    _, done, _ = after_a_lock
    assert done.code == 0, done.said
    assert done.attempts("ALIGN") == [("FAILED", 75), ("FAILED", 137), ("COMPLETED", 0)]


def test_stale_outputs_are_marked(after_a_lock: tuple[Run, Run, str], config: Config) -> None:
    """A run that fails over the outputs of an earlier one says so; the next that succeeds takes it back, and runs what
    depends on the change and nothing else. The last one, for it changes what the others look at."""
    _, first, _ = after_a_lock
    places = {"folder": first.outdir.parent / "b", "outdir": first.outdir}
    marker, all_of_them = first.outdir / "INCOMPLETE", first.tasks("COMPLETED")
    assert first.code == 0 and not marker.exists(), first.said
    broken = config("process { withName: GRAPH { beforeScript = 'exit 65' } }")
    failed = run(*STUB, "-resume", "--min_score", 0.3, "-c", broken, **places)
    assert failed.code != 0 and "may be of an earlier run" in marker.read_text()
    looked = run(*STUB, "-resume", "-preview", **places)  # which makes nothing
    assert looked.code == 0 and marker.exists(), looked.said
    mended = run(*STUB, "-resume", "--min_score", 0.3, **places)
    assert mended.code == 0 and not marker.exists(), mended.said
    assert set(mended.tasks("COMPLETED")) == {"GRAPH", "NEURONS", "FIGURES", "REPORT"}
    assert mended.tasks() == all_of_them


def sections(folder: Path, blank: int) -> Path:
    """Twelve sections of noise blurred into cell-like blobs, one of them blank."""
    from scipy.ndimage import gaussian_filter

    made = gaussian_filter(np.random.default_rng(3).normal(size=(12, 96, 96)), (1, 4, 4))
    made = np.uint8(255 * (made - made.min()) / np.ptp(made))
    made[blank] = 0
    np.save(folder / "sections.npy", made)
    return folder / "sections.npy"


def test_blank_section_is_refused_by_strict(tmp_path: Path) -> None:
    """Otherwise it is bridged and told: `connectome` of a mosaic in tests/test_mosaic.py."""
    words = ("--input", sections(tmp_path, 5), "--voxel_size", "30,8,8", "--report_plots", "false")
    strict = run(*words, "--strict", "true", folder=tmp_path / "strict")
    assert strict.code != 0
    assert strict.attempts("INGEST") == [("FAILED", 65)]
    assert "sections missing or blank: [5]" in strict.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder]).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_ends_clearly_and_resumes(small_disk: Path, config: Config, tmp_path: Path) -> None:
    """Somebody else fills the disk in the middle of a run, but for 100 kB."""
    crop = ("--input", DEMO / "fib25_crop.npz", "--cutout", "96,96,16", "--voxel_size", "10,10,10")
    words = (*crop, "--max_memory", "2.GB", "--report_plots", "false")
    other = small_disk / "other"
    fill = f"cat /dev/zero > {other} 2> /dev/null || true; truncate -s -100K {other}"
    script = f'"export PATH={PROJECT}/.venv/bin:\\$PATH; {fill}"'
    full = config(f"process {{ withName: RENDER {{ beforeScript = {script} }} }}")
    done = run(*words, "-c", full, folder=tmp_path / "run", work=small_disk / "work")
    assert done.code != 0
    assert done.attempts("RENDER") == [("FAILED", 74)]
    assert "no space left on the disk" in done.said, done.said
    assert not list(small_disk.rglob("*.partial"))
    other.unlink()
    again = run(*words, "-resume", folder=tmp_path / "run", work=small_disk / "work")
    assert again.code == 0, again.said
    assert again.tasks("CACHED")["ALIGN"] == 1


@pytest.mark.parametrize("max_cpus, reserved, processes", [(2, 1, 4), (4, 0, 2)])
def test_cpus_are_never_exceeded(max_cpus: int, reserved: int, processes: int, config: Config, tmp_path: Path) -> None:
    """Tasks x processes x threads <= max_cpus - reserved_cpus, by the trace and by what tasks were told."""
    look = 'python -c "import cv2; print(cv2.getNumThreads())" > opencv.txt; sleep 2'
    slow = config(f"process {{ withName: 'INGEST.*' {{ afterScript = '{look}' }} }}")
    done = run(
        *STUB, "-c", slow, "--max_cpus", max_cpus, "--reserved_cpus", reserved, "--processes", processes, folder=tmp_path
    )
    assert done.code == 0, done.said
    events, most = [], 0
    for row in done.trace():
        told = (Path(row["workdir"]) / ".command.run").read_text()
        threads, workers = (int(re.findall(name + r"=(\d+)", told)[0]) for name in (r"\bn", "VOXELMILL_PROCESSES"))
        assert workers <= processes and threads * workers <= int(row["cpus"])
        most = max(most, workers)
        assert "OMP_NUM_THREADS=$n" in told and ("MALLOC_ARENA_MAX=1" in told) == (row["cpus"] == "1")
        if row["process"] == "INGEST":  # of a real process: OpenCV does not know OMP_NUM_THREADS
            assert int((Path(row["workdir"]) / "opencv.txt").read_text()) == threads
        events += [(row["start"], threads * workers), (row["complete"], -threads * workers)]
    assert most == min(processes, max_cpus - reserved)  # who asks for processes gets them
    running = np.cumsum([n for _, n in sorted(events)])
    assert running.max() <= max_cpus - reserved
