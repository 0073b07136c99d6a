"""Answers and refusals before anything is compiled; the Java that set-up and launcher take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from voxelmill.testing.engine import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))
import startup

LAUNCHER = PROJECT / "tools/nextflow-launcher"


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["v1", "v2"])
def test_help_and_refusals_cost_an_empty_script_and_two_seconds(parser: str, tmp_path: Path) -> None:
    """CPU seconds, with four workflows more; and nothing is left behind."""
    script = startup.copied(tmp_path / "project", 4) / "main.nf"
    nothing, _, _ = startup.measured(["run", startup.empty(tmp_path / "empty") / "main.nf"], tmp_path, parser)
    folder = tmp_path / "run"
    folder.mkdir()
    for words, code in ((["--help"], 0), (["--cutuot", "1"], 64), (["--workflow", "extra3", "--extra3_9", "x"], 64)):
        cpu, _, found = startup.measured(["run", script, *words], folder, parser)
        assert found == code
        assert cpu < nothing + 2, f"{' '.join(words)}: {cpu:.1f} CPU s; an empty script {nothing:.1f}"
    assert not (folder / "results").exists() and not (folder / "work").exists()


def fake_java(folder: Path, version: str) -> dict[str, str]:
    """A JDK that only says its version."""
    (folder / "jdk/bin").mkdir(parents=True)
    (folder / "jdk/release").write_text(f'JAVA_RUNTIME_VERSION="{version}"\n')
    java = folder / "jdk/bin/java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-03-17' >&2\necho LC_ALL=$LC_ALL\n")
    java.chmod(0o755)
    return {**os.environ, "PATH": f"{java.parent}:/usr/bin:/bin"}


@pytest.mark.parametrize("version", ["1.8.0_292-b10", "11.0.2+9", "26+35", "26.0.1+7-LTS"])
def test_a_java_that_will_not_do_is_refused_in_one_line(version: str, tmp_path: Path) -> None:
    done = subprocess.run([LAUNCHER, "-version"], env=fake_java(tmp_path, version), capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == f"nextflow: java is version {version}; this Nextflow runs on 17 to 25: put such a one first on PATH\n"
    )


@pytest.mark.parametrize("version", ["17.0.15+6-Debian-1deb12u1", "21+35-LTS", "25.0.3+9-LTS"])
def test_a_java_that_will_do_is_started(version: str, tmp_path: Path) -> None:
    done = subprocess.run([LAUNCHER, "-version"], env=fake_java(tmp_path, version), capture_output=True, text=True)
    assert done.returncode == 0 and "openjdk version" in done.stderr


@pytest.mark.parametrize("given, kept", [("C", "C.UTF-8"), ("", "C.UTF-8"), ("de_DE.utf8", "de_DE.utf8")])
def test_names_that_are_not_ascii_are_found_in_any_locale(given: str, kept: str, tmp_path: Path) -> None:
    env = fake_java(tmp_path, "21+35") | {"LC_ALL": given, "LC_CTYPE": "", "LANG": ""}
    assert f"LC_ALL={kept}\n" in subprocess.run([LAUNCHER, "-version"], env=env, capture_output=True, text=True).stdout


@pytest.mark.parametrize("version, told", [("11.0.2", "Nextflow needs 17 or later"), ("26", "runs on 17 to 25")])
def test_setup_refuses_a_java_that_will_not_do(version: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(PROJECT / "tools/setup.sh", tmp_path / "tools")
    env = fake_java(tmp_path, version) | {"PYTHON": sys.executable}
    done = subprocess.run([tmp_path / "tools/setup.sh"], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_every_java_at_hand_runs_a_script(tmp_path: Path) -> None:
    """Java 25 by Groovy 4.0.32, of which the pom says."""
    own = PROJECT / ".nextflow-runtime/nextflow-launcher"
    homes = {path.resolve() for path in Path("/usr/lib/jvm").glob("*") if (path / "bin/java").exists()}
    others = [home for home in homes if Path(shutil.which("java") or "").resolve().parents[1] != home]
    if not own.exists() or not others:
        pytest.skip("no second Java, or a Nextflow of the user's own")
    startup.empty(tmp_path / "empty")
    for home in others:
        env = {**os.environ, "PATH": f"{home}/bin:{os.environ['PATH']}", "NXF_OFFLINE": "true"}
        done = subprocess.run([own, "run", "empty/main.nf"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and "nothing" in done.stdout, f"{home}: {done.stdout}{done.stderr}"
