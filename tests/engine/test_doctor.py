"""`voxelmill doctor` and `tools/setup.sh` on machines that lack something: each says what, in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill import doctor
from voxelmill.testing.engine import PROJECT, copied

COMMANDS = (
    "bash",
    "sh",
    "env",
    "dirname",
    "grep",
    "head",
    "sed",
    "rm",
    "mkdir",
    "ln",
    "touch",
    "install",
    "cat",
    "cmp",
    "readlink",
)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with a shell and Python, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        (folder / name).symlink_to(shutil.which(name) or "/nowhere")
    (folder / "python3").symlink_to(sys.base_prefix + "/bin/python3")
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project that was not set up."""
    return copied(tmp_path / "project", ("python", "tools", "requirements.lock", "pyproject.toml"))


def setup(project: Path, path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "tools/setup.sh"], capture_output=True, text=True, env={"PATH": str(path), "HOME": str(project), **env}
    )


def examined(monkeypatch: pytest.MonkeyPatch, path: Path, project: Path = PROJECT) -> dict[str, doctor.Finding]:
    monkeypatch.setenv("PATH", str(path))
    return {finding.what: finding for finding in doctor.examine(project)}


def test_this_machine_is_ready() -> None:
    done = subprocess.run([sys.executable, "-m", "voxelmill.doctor"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(doctor.CHECKS) + 2


def test_needs_only_the_standard_library(bare: Path, project: Path) -> None:
    done = subprocess.run(
        [
            bare / "python3",
            "-I",
            "-S",
            "-c",
            "import sys; sys.path.insert(0, 'python'); from voxelmill.doctor import main; sys.exit(main())",
        ],
        cwd=project,
        capture_output=True,
        text=True,
        env={"PATH": str(bare)},
    )
    assert done.returncode == 1, done.stderr
    assert "no .venv yet; run tools/setup.sh" in done.stdout


def test_no_java(bare: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no java on PATH" in setup(project, bare).stderr
    assert examined(monkeypatch, bare)["Java"].state == "missing"


@pytest.mark.parametrize("said, number", [('openjdk version "11.0.2" 2019-01-15', 11), ('java version "1.8.0_202"', 8)])
def test_old_java(said: str, number: int, bare: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(bare / "java", f"echo '{said}' >&2")
    assert f"java is version {number}; Nextflow needs 17 or later" in setup(project, bare).stderr
    found = examined(monkeypatch, bare)["Java"]
    assert found.state == "missing" and f"version {number};" in found.said


def test_no_maven_and_no_nextflow(bare: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(bare / "java", "echo 'openjdk version \"17.0.1\"' >&2")
    assert "neither nextflow nor mvn on PATH" in setup(project, bare).stderr
    found = examined(monkeypatch, bare, project)
    assert found["Java"].state == "ok" and found["Nextflow"].state == "missing"


def test_no_network(bare: Path, project: Path) -> None:
    """Set-up stops with one line that says what could not be fetched."""
    script(bare / "java", "echo 'openjdk version \"17.0.1\"' >&2")
    script(bare / "mvn", "exit 1")
    done = setup(project, bare, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode == 1
    assert "Python packages could not be fetched; is there a network" in done.stderr
    assert not list((project / ".venv").glob(".voxelmill*"))


def test_packages_that_are_not_as_locked(project: Path) -> None:
    site = project / ".venv/lib/python3.11/site-packages"
    lines = [line for line in (project / "requirements.lock").read_text().splitlines() if "==" in line]
    for line in lines[1:]:
        (site / f"{line.replace('==', '-', 1)}.dist-info").mkdir(parents=True)
    found = doctor.packages(project)
    assert found.state == "missing" and found.said.startswith(f"1 of {len(lines)}")
    (site / f"{lines[0].replace('==', '-')}.dist-info").mkdir()
    assert doctor.packages(project).state == "ok"


def test_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**30))
    assert doctor.memory(PROJECT).state == "missing"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 * 2**30, 2 * 2**30))
    assert doctor.memory(PROJECT).said == "2.0 GB; run with --max_memory 1.8.GB"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**9))
    assert doctor.disk(PROJECT).state == "missing"


def test_read_only_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "writable", lambda folder: folder != PROJECT)
    assert "read-only, but set up" in doctor.writing(PROJECT).said
    monkeypatch.setattr(doctor, "writable", lambda folder: folder == PROJECT)
    assert doctor.writing(PROJECT).state == "missing"
