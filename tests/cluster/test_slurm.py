"""A private SLURM cluster of two nodes: arrays, resources, and everything that goes wrong on clusters."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from voxelmill.testing.engine import PROJECT, Launch, Run, digests, run
from voxelmill.testing.movies import make_fovs, stack_of, write_ome_tiff

from .conftest import BLOCKS, tool

BLOCK_PROCESSES = (
    "READ_SLAB",
    "PREPROCESS",
    "ALIGN_PAIRS",
    "RENDER",
    "SEGMENT",
    "AGGLOMERATE",
    "EXPORT_LABELS",
    "SHAPES",
    "SYNAPSES",
    "PYRAMID",
)
NEAR = """
executor { $slurm { pollInterval = '1 sec'; queueStatInterval = '2 sec'; exitReadTimeout = '15 sec' } }
"""
# Too little memory for a whole array, too little time for a task, and a task long enough for its node to be lost.
TROUBLE = (
    NEAR
    + """
process {
    withName: PREPROCESS { memory = { task.attempt == 1 ? 24.MB : 1.GB } }
    withName: ALIGN { time = { task.attempt == 1 ? 1.min : 1.h } }
    withName: 'ALIGN|JOIN_SEGMENTS' {
        beforeScript = { "export PATH='VENV':\\$PATH; ${task.attempt == 1 ? 'sleep 200' : ''}" }
    }
}
""".replace("VENV", str(PROJECT / ".venv/bin"))
)


def config(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.config").write_text(text)
    return folder / "test.config"


def arguments(folder: Path, text: str) -> tuple[object, ...]:
    return ("-c", config(folder, text), *[f"{w},slurm" if w == "test" else w for w in BLOCKS])


def jobs(env: dict[str, str], name: str) -> list[tuple[str, str]]:
    """(job id, node) of running jobs whose name holds a text."""
    said = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%A %N %j"], env=env | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    ).stdout
    return [(line.split()[0], line.split()[1]) for line in said.splitlines() if name in line]


@pytest.fixture(scope="module")
def plain(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("plain")
    done = run(
        *arguments(folder, NEAR),
        "--queue",
        "other",
        "--account",
        "lab",
        "--cluster_options=--nice=7 --comment=voxelmill",
        folder=folder,
        env=slurm,
    )
    assert done.code == 0, done.said
    return done


@pytest.fixture(scope="module")
def troubled(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run in which memory, time and a node are lost."""
    folder = tmp_path_factory.mktemp("troubled")
    launched = Launch(*arguments(folder, TROUBLE), folder=folder, env=slurm)
    launched.until(lambda: jobs(slurm, "JOIN_SEGMENTS"), "JOIN_SEGMENTS on a node", 600)
    node = jobs(slurm, "JOIN_SEGMENTS")[0][1]
    tool("slurm_node.sh", "crash", node, env=slurm)
    launched.until(lambda: not jobs(slurm, "JOIN_SEGMENTS"), "loss of the job noticed", 120)
    tool("slurm_node.sh", "start", node, env=slurm)
    return launched.wait()


def submitted(done: Run, process: str) -> str:
    """What sbatch was told about the process's first task."""
    row = next(row for row in done.trace() if row["process"] == process)
    return (Path(row["workdir"]) / ".command.run").read_text()


def test_same_bytes_as_local(plain: Run, local: Run) -> None:
    assert digests(plain.outdir) == digests(local.outdir)
    assert plain.tasks() == local.tasks()


def test_blocks_go_as_arrays(plain: Run) -> None:
    for row in plain.trace():
        assert ("_" in row["native_id"]) == (row["process"] in BLOCK_PROCESSES), row


def test_options_reach_sbatch(plain: Run) -> None:
    header = submitted(plain, "ALIGN")
    for wanted in ("-p other", "--account=lab --nice=7 --comment=voxelmill", "--mem 1024M", "-t 01:00:00"):
        assert f"#SBATCH {wanted}" in header, header[:800]
    assert "#SBATCH --mem 1536M" in submitted(plain, "MULTISCALE")


def test_out_of_memory_gets_more(troubled: Run) -> None:
    assert troubled.code == 0, troubled.said
    rows = [row for row in troubled.trace() if row["process"] == "PREPROCESS"]
    assert sorted((row["status"], row["exit"], row["attempt"]) for row in rows) == [
        *[("COMPLETED", "0", "2")] * 4,
        *[("FAILED", "137", "1")] * 4,
    ]


def test_out_of_time_gets_more(troubled: Run) -> None:
    """A job that SLURM ends in the middle often leaves no exit code (-1 here): it counts as lost, and is retried."""
    (first, code), second = troubled.attempts("ALIGN")
    assert (first, code in (140, 143, -1), second) == ("FAILED", True, ("COMPLETED", 0))


def test_lost_node_is_survived(troubled: Run) -> None:
    assert [status for status, _ in troubled.attempts("JOIN_SEGMENTS")] == ["FAILED", "COMPLETED"]


def test_trouble_leaves_no_mark(troubled: Run, local: Run) -> None:
    assert digests(troubled.outdir) == digests(local.outdir)


def test_killed_head_resumes(slurm: dict[str, str], local: Run, tmp_path: Path) -> None:
    words = arguments(tmp_path, NEAR)
    launched = Launch(*words, folder=tmp_path, env=slurm)
    launched.until(lambda: "RENDER" in launched.said(), "RENDER submitted")
    launched.kill()
    assert (launched.outdir / "INCOMPLETE").exists()
    done = run(*words, "-resume", folder=tmp_path, env=slurm)
    assert done.code == 0, done.said
    assert done.tasks("CACHED")["PREPROCESS"] == 4
    assert done.tasks() == local.tasks()
    assert digests(done.outdir) == digests(local.outdir)


def test_timelapse_same_bytes_as_local(slurm: dict[str, str], tmp_path: Path) -> None:
    """Two fields of view in a batch each, so that the batches go as arrays."""
    movie = write_ome_tiff(tmp_path / "run.ome.tif", [stack_of(m) for m in make_fovs(2, frames=4, size=96)])
    words = (
        "--workflow",
        "timelapse",
        "--input",
        movie,
        "--pc_channel",
        0,
        "--fl_channels",
        1,
        "--min_frames",
        2,
        "--batch_size",
        1,
        "--report_plots",
        "false",
    )
    here = run(*words, folder=tmp_path / "a")
    near = config(tmp_path / "b", NEAR)
    there = run(*words, "-profile", "slurm", "-c", near, folder=tmp_path / "b", env=slurm)
    assert (here.code, there.code) == (0, 0), here.said + there.said
    assert there.tasks() == here.tasks()
    assert all("_" in row["native_id"] for row in there.trace() if row["process"] == "TRACK_CELLS")
    assert digests(there.outdir) == digests(here.outdir)
