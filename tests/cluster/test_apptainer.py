"""The demo inside a container: offline, as a plain user, with the same results as outside."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxelmill.testing.engine import Run, digests, run

DEMO = ("--report_plots", "false")
USER = "voxelmill-build"  # tools/container_build.sh makes it where root runs it


def inside(image: Path, *command: str) -> str:
    return subprocess.run(["apptainer", "exec", "--no-home", image, *command], capture_output=True, text=True).stdout


def test_size_is_told_and_no_compiler_is_inside(image: Path, pytestconfig: pytest.Config) -> None:
    size = image.stat().st_size >> 20
    pytestconfig.get_terminal_writer().line(f"\nimage: {size} MB")
    assert size < 700
    tools = "for tool in cc gcc g++ clang as ld make cmake pip; do command -v $tool; done; echo looked"
    assert inside(image, "sh", "-c", tools).split() == ["looked"]


@pytest.fixture(scope="module")
def plain_user(image: Path) -> Iterator[tuple[Path, Path, tuple[str, ...]]]:
    """(a folder of the user's, the image for the user, words before a command: no network, not root).

    A plain user mounts the image through /dev/fuse; where that is closed to them, it is unpacked once.
    The folder is not pytest's, whose parents only root may enter."""
    with tempfile.TemporaryDirectory(prefix="voxelmill-user-") as name:
        folder, before = Path(name), ("unshare", "--map-root-user", "--net")
        if not os.geteuid():
            if subprocess.run(["id", USER], capture_output=True).returncode:
                subprocess.run(["useradd", "--create-home", USER], check=True)
            subprocess.run(["chown", USER, folder], check=True)
            before = ("unshare", "--net", "runuser", "-u", USER, "--", "env", f"HOME={folder}")

        def call(*words: object) -> subprocess.CompletedProcess[str]:
            return subprocess.run([*before, *map(str, words)], capture_output=True, text=True, cwd=folder)

        if call("apptainer", "exec", image, "true").returncode:
            done = call("apptainer", "build", "--sandbox", folder / "image", image)
            if done.returncode:
                pytest.skip(f"a plain user cannot run containers here: {done.stderr.strip().splitlines()[-1]}")
            image = folder / "image"
        yield folder, image, before


@pytest.fixture(scope="module", params=["profile", "option"])
def contained(request: pytest.FixtureRequest, plain_user: tuple[Path, Path, tuple[str, ...]]) -> Run:
    """The demo with `-profile apptainer`, and with Nextflow's own `-with-apptainer`."""
    folder, image, before = plain_user
    words = {
        "profile": ("-profile", "demo,apptainer", "--container", image),
        "option": ("-profile", "demo", "-with-apptainer", image),
    }[request.param]
    done = run(
        *words,
        *DEMO,
        folder=folder,
        outdir=folder / f"out-{request.param}",
        work=folder / f"work-{request.param}",
        before=before,
    )
    assert done.code == 0, done.said
    return done


def test_every_task_ran_inside(contained: Run) -> None:
    for row in contained.trace():
        assert "apptainer exec" in (Path(row["workdir"]) / ".command.run").read_text()
    owners = {path.stat().st_uid for path in contained.outdir.rglob("*")}
    assert len(owners) == 1 and (0 not in owners or os.geteuid())


def test_limits_hold_inside(contained: Run) -> None:
    row = contained.trace()[0]
    told = (Path(row["workdir"]) / ".command.run").read_text()
    assert "--env OMP_NUM_THREADS=1" in told and "OPENCV_FOR_THREADS_NUM=1" in told and "--env VOXELMILL_PROCESSES=1" in told


def test_same_results_as_outside(contained: Run, tmp_path: Path) -> None:
    outside = run("-profile", "demo", *DEMO, folder=tmp_path)
    assert outside.code == 0, outside.said
    assert digests(contained.outdir) == digests(outside.outdir)
    assert environment(contained) != environment(outside)


def environment(done: Run) -> str:
    return json.loads((done.outdir / "provenance/align.provenance.json").read_text())["environment_hash"]
