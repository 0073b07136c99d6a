"""Runs of the real workflow, for tests: start one, read its trace, compare what it made."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[3]
NEXTFLOW = PROJECT / ".venv/bin/nextflow"
# What runs: all that a checkout needs.
PARTS = ("bin", "conf", "modules", "python", "workflows", "assets", "main.nf", "nextflow.config", "nextflow_schema.json")
# How memory is given to a task of one CPU, and taken back (conf/limits.config).
ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TOP_PAD_": "64000000",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}
QUIET = {"NXF_OFFLINE": "true", "NXF_ANSI_LOG": "false", "NXF_DISABLE_CHECK_LATEST": "true"}
# What holds dates, durations or names of runs differs from run to run; all else must not.
NOT_COMPARED = ("provenance", "pipeline_info", "runs.sqlite", "published.json", ".voxelmill.lock")
# What Nextflow only warns of, and no count of tasks shows: lists that ran together into a tuple, a `first` of one value.
MISWIRED = ("does not match tuple declaration", "useless when applied to a value channel")


@dataclass
class Run:
    """A run that has ended."""

    code: int
    said: str
    outdir: Path
    seconds: float = 0.0

    def trace(self) -> list[dict[str, str]]:
        """Rows of Nextflow's trace; `process` without the names of the workflows around it."""
        with open(self.outdir / "pipeline_info/execution_trace.txt", newline="") as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        return [{**row, "process": row["process"].split(":")[-1]} for row in rows]

    def name(self) -> str:
        """As the run's records have it."""
        return re.findall(r"Launching .*? \[(\w+)\]", self.said)[0]

    def tasks(self, status: str = "") -> Counter[str]:
        """Number of tasks per process, of one status or of any."""
        return Counter(row["process"] for row in self.trace() if status in ("", row["status"]))

    def attempts(self, process: str) -> list[tuple[str, int]]:
        """(status, exit code) of each attempt at a process's only task."""
        rows = [row for row in self.trace() if row["process"] == process]
        return [(row["status"], int(row["exit"]) if row["exit"].isdigit() else -1) for row in rows]

    def digests(self) -> dict[str, str]:
        return digests(self.outdir)


class Launch:
    """A run under way: `nextflow run main.nf ARGS --outdir OUTDIR -w WORK` in a process group of its own.

    The strict parser, which starts sooner, where `env` does not say; not with `-c` and `-profile` together: it takes one.

    Args:
        before: words before the command, such as `unshare -n --`.
    """

    def __init__(
        self,
        *args: object,
        folder: Path,
        outdir: Path | None = None,
        work: Path | None = None,
        project: Path = PROJECT,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.outdir, self.log = outdir or folder / "out", folder / f"said.{time.monotonic_ns()}.txt"
        self.work = work or folder / "work"
        own = project / ".venv/bin/nextflow"
        launcher = own if own.exists() else NEXTFLOW
        places = ("--outdir", self.outdir, "-w", self.work)
        older = {"-c", "-profile"} <= {str(word) for word in args} or not str(project).isascii()
        parser = {} if older else {"NXF_SYNTAX_PARSER": "v2"}
        words = [*before, launcher, "run", project / "main.nf", *args, *places]
        self.begun = time.monotonic()
        with open(self.log, "w") as said:
            self.process = subprocess.Popen(
                [str(w) for w in words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, **QUIET, **parser, **(env or {})},
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, timeout: float = 900) -> Run:
        """Wait for the end; a run that takes longer than `timeout` seconds is ended. Raises where channels do not fit."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {timeout} s:\n{self.said()}") from None
        wrong = [line for line in self.said().splitlines() if any(words in line for words in MISWIRED)]
        assert not wrong, "\n".join(wrong)
        return Run(code, self.said(), self.outdir, time.monotonic() - self.begun)

    def until(self, true: Callable[[], object], what: str, timeout: float = 300) -> None:
        """Wait until something is true while the run goes on."""
        end = time.monotonic() + timeout
        while not true():
            assert self.process.poll() is None, f"ended before {what}:\n{self.said()}"
            assert time.monotonic() < end, f"no {what} within {timeout} s:\n{self.said()}"
            time.sleep(0.1)

    def done(self) -> int:
        """How many tasks have ended well."""
        return sum(p.read_text().strip() == "0" for p in self.work.glob("*/*/.exitcode"))

    def kill(self, tasks: bool = False) -> None:
        """The head process gets SIGKILL, as when its machine takes it away; its tasks on this machine too, or go on."""
        if tasks:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def run(*args: object, folder: Path, timeout: float = 900, **more: object) -> Run:
    """A run from start to end."""
    return Launch(*args, folder=folder, **more).wait(timeout)  # type: ignore[arg-type]


def killed(*args: object, folder: Path, after: Sequence[int]) -> int:
    """Start, kill and resume a run, each time when so many tasks have ended well; how many had at the last.

    At each kill tasks may have ended that Nextflow has not noted: they run again, and count twice. Of what is published files
    are left by halves or not at all, as where that was killed, too."""
    finished = 0
    for wanted in after:
        launched = Launch(*args, "-resume", folder=folder)
        launched.until(lambda: launched.done() >= max(wanted, finished + 1), f"{wanted} tasks")  # noqa: B023
        finished = launched.done()
        launched.kill(tasks=True)
        time.sleep(0.5)
        for n, path in enumerate(_compared(launched.outdir)):
            if n % 3 == 0:
                os.truncate(path, path.stat().st_size // 2)
            elif n % 3 == 1:
                path.unlink()
    return finished


def copied(folder: Path, parts: Sequence[str] = PARTS) -> Path:
    """A checkout of its own, in a new folder: parts of this project."""
    for name in parts:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(PROJECT / name, folder / name)
    return folder


def _compared(outdir: Path) -> list[Path]:
    """Files of a results folder but for accounts of the run itself."""
    found = [path for path in sorted(outdir.rglob("*")) if path.is_file()]
    found = [path for path in found if path.relative_to(outdir).parts[0] not in NOT_COMPARED]
    return [path for path in found if not path.name.endswith(("report.html", "report.zip"))]


def digests(outdir: Path) -> dict[str, str]:
    """Digest of every file that must be the same however the run went: all but accounts of the run itself."""
    found = {}
    for path in _compared(outdir):
        name = path.relative_to(outdir)
        if path.suffix == ".npz":  # headers of zip files differ between versions of Python
            with zipfile.ZipFile(path) as members:
                found[str(name)] = str([(m.filename, m.CRC) for m in members.infolist()])
        else:
            with open(path, "rb") as f:
                found[str(name)] = hashlib.file_digest(f, "sha256").hexdigest()
    return found
