"""Odd places and small machines: spaces and umlauts, links, read-only projects, one core, 2 GB of memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxelmill.testing.engine import PROJECT, copied, run

pytestmark = pytest.mark.slow


def with_data(folder: Path) -> Path:
    """A copy of the project, with data whose name has a space and umlauts."""
    copied(folder)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    shutil.copy(PROJECT / "assets/demo/fib25_crop.npz", folder / "größe 1.npz")
    return folder


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    return with_data(tmp_path / "vöxel mill (копия)")


def words(project: Path) -> tuple[object, ...]:
    return ("--input", project / "größe 1.npz", "--cutout", "64,64,8", "--voxel_size", "10,10,10", "--report_plots", "false")


@pytest.fixture
def two_gigabytes() -> Iterator[tuple[str, ...]]:
    """Words that put a command into a control group of 2 GB; none where there can be no such group."""
    group = Path(f"/sys/fs/cgroup/memory/voxelmill-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(2 << 30))
    except OSError:
        yield ()
        return
    yield ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group))
    group.rmdir()


def test_real_run_in_odd_places_on_one_core_with_two_gigabytes(
    odd: Path, tmp_path: Path, two_gigabytes: tuple[str, ...]
) -> None:
    """All at once: odd names for project, input, results and work folder, which is a link besides."""
    (tmp_path / "wörk real").mkdir()
    (tmp_path / "work link").symlink_to(tmp_path / "wörk real")
    small = (*words(odd), "--max_cpus", 1, "--max_memory", "2.GB")
    places = {"folder": tmp_path / "lauf 1", "outdir": tmp_path / "er gebnis", "work": tmp_path / "work link"}
    done = run(*small, project=odd, before=two_gigabytes, **places)
    assert done.code == 0, done.said
    assert (tmp_path / "er gebnis/volumes/aligned.ome.zarr/0/zarr.json").exists()
    assert {row["cpus"] for row in done.trace()} == {"1"}
    again = run(*small, "-resume", project=odd, **places)
    assert set(again.tasks()) == set(again.tasks("CACHED")), again.said


def test_read_only_project(tmp_path: Path) -> None:
    """The project's folder is never written: runs keep everything in the folders that they are given.

    The strict parser of Nextflow 25.04 finds no include in a project whose path is not ASCII; data may be."""
    odd = with_data(tmp_path / "voxel mill (copy)")
    seal = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", seal, str(odd))
    sealed = not os.geteuid() and not subprocess.run([*before, "true"], capture_output=True).returncode
    places = {"folder": tmp_path / "lauf 1", "outdir": tmp_path / "er gebnis"}
    done = run(*words(odd), "-stub-run", project=odd, before=before if sealed else (), **places)
    assert done.code == 0, done.said
    if not sealed:
        pytest.skip("ran in odd places; no folder can be made read-only here")


def test_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("-profile", "demo", "-stub-run", folder=tmp_path, outdir=tmp_path / "file/out")
    assert done.code == 74
    assert "cannot write into --outdir" in done.said and "Check script" not in done.said and ".nextflow.log" not in done.said
