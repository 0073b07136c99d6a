"""Runs of the real workflow through Nextflow, shared by the tests that look at them."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
NEXTFLOW = ROOT / ".venv/bin/nextflow"
# What holds dates, durations or names of runs differs from run to run; all else must not.
TIMED = ("pipeline_info/", "provenance/", "report.html", "runs.sqlite", ".voxelmill.lock")


@dataclass
class Run:
    """A finished run: its folder, what Nextflow said, its exit code."""

    outdir: Path
    said: str
    code: int

    def tasks(self, status: str | None = None) -> Counter:
        """How many tasks of each process (innermost name), by the trace; of a status when given."""
        with open(self.outdir / "pipeline_info/execution_trace.txt", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return Counter(r["process"].split(":")[-1] for r in rows if status in (None, r["status"]))

    def digests(self) -> dict[str, str]:
        """sha256 of everything published that must not depend on when and how it ran."""
        found = {}
        for path in sorted(p for p in self.outdir.rglob("*") if p.is_file()):
            name = str(path.relative_to(self.outdir))
            if not name.startswith(TIMED):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "NXF_OFFLINE": "true", "NXF_ANSI_LOG": "false", "NXF_DISABLE_CHECK_LATEST": "true", **more}


def nextflow(cwd: Path, outdir: Path, *args: str, env: dict[str, str] | None = None, timeout: int = 600) -> Run:
    """`nextflow run main.nf` in `cwd` with `--outdir`."""
    command = [str(NEXTFLOW), "run", str(ROOT / "main.nf"), "--outdir", str(outdir), *args]
    done = subprocess.run(command, cwd=cwd, env=environment(**(env or {})), capture_output=True, text=True,
                          timeout=timeout)
    return Run(outdir, done.stdout + done.stderr, done.returncode)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw.npy and truth.npy: seven shards of four sections when --shard 4,96,96."""
    from voxelmill.testing.em import neurites

    folder = tmp_path_factory.mktemp("phantom")
    raw, labels = neurites((28, 96, 96))
    np.save(folder / "raw.npy", raw)
    np.save(folder / "truth.npy", labels)
    return folder


@pytest.fixture(scope="session")
def movies() -> list:
    """Two made fields of view of 8 frames of 160 px, phase contrast and one fluorescence channel, with truth."""
    from voxelmill.testing.movies import make_fovs

    return make_fovs(2, frames=8, size=160)


@pytest.fixture(scope="session")
def movie_file(tmp_path_factory: pytest.TempPathFactory, movies: list) -> Path:
    """`movies` as one OME-TIFF, `run.ome.tif`, with `run.labels.npz` beside it."""
    from voxelmill.testing.movies import write_movies

    return write_movies(tmp_path_factory.mktemp("movie") / "run.ome.tif", movies)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory, movie_file: Path) -> Path:
    """The folder in which all stages of `timelapse` have run on `movie_file`, in this process."""
    from voxelmill.testing.movies import run_timelapse

    folder = tmp_path_factory.mktemp("stages")
    assert run_timelapse(folder, movie_file, pc_channel=0, fl_channels="1", min_frames=3, border_margin=2) == 0
    return folder


SMALL = ("--voxel_size", "30,8,8", "--chunk", "4,32,32", "--shard", "4,96,96", "--report_plots", "false")


@pytest.fixture(scope="session")
def connectome(tmp_path_factory: pytest.TempPathFactory, phantom: Path) -> Run:
    """One whole run of `connectome` on the phantom, in one block, with truth and simulated jitter."""
    folder = tmp_path_factory.mktemp("connectome")
    run = nextflow(folder, folder / "out", "--input", str(phantom / "raw.npy"), "--truth", str(phantom / "truth.npy"),
                   "--simulate_misalignment", "true", "--blocks", "1", *SMALL)
    assert run.code == 0, run.said
    return run
