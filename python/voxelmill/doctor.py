"""`voxelmill doctor`: what this machine has, what is missing, and what to do about it; one line each.

Standard library only, so that it runs before set-up:

    PYTHONPATH=python python3 -m voxelmill.doctor

Exit code 1 when something needed is missing; what is only useful for a cluster, containers or a GPU is said
and does not count.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OLDEST_PYTHON, OLDEST_JAVA = (3, 11), 17
LEAST_MEMORY, LEAST_DISK = 2.0, 5.0  # GB: one task of the largest default block; set-up, work and results


@dataclass
class Finding:
    """One line: what was looked at, how it stands (`ok`, `missing`, `optional`), and in words."""

    what: str
    state: str
    said: str

    def __str__(self) -> str:
        return f"{self.state:9} {self.what:12} {self.said}"


def ok(what: str, said: str) -> Finding:
    return Finding(what, "ok", said)


def missing(what: str, said: str) -> Finding:
    return Finding(what, "missing", said)


def optional(what: str, said: str) -> Finding:
    return Finding(what, "optional", said)


def output_of(*command: str) -> str:
    """First lines of what a command says; empty where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def python(project: Path) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return missing("Python", f"{version} is too old; install 3.11 or later")
    return ok("Python", f"{version} at {sys.executable}")


def java(project: Path) -> Finding:
    found = shutil.which("java")
    if not found:
        return missing("Java", "no java on PATH; install a JDK of version 17 or later")
    said = output_of(found, "-version")
    number = re.search(r'version "(?:1\.)?(\d+)', said)
    if not number:
        return missing("Java", f"{found} does not tell its version: {said[:80] or 'no answer'}")
    if int(number[1]) < OLDEST_JAVA:
        return missing("Java", f"{found} is version {number[1]}; Nextflow needs {OLDEST_JAVA} or later")
    return ok("Java", f"{number[1]} at {found}")


def nextflow(project: Path) -> Finding:
    ours = project / ".venv/bin/nextflow"
    found = str(ours) if ours.exists() else shutil.which("nextflow")
    if found:
        return ok("Nextflow", found)
    if shutil.which("mvn"):
        return ok("Nextflow", "not set up yet; Maven is here to fetch it: tools/setup.sh")
    return missing("Nextflow", "neither nextflow nor mvn on PATH; install Nextflow, or Maven to fetch it")


def packages(project: Path) -> Finding:
    """Installed packages against requirements.lock, by the names of their folders."""
    lines = (project / "requirements.lock").read_text().split()
    wanted = dict(line.split("==") for line in lines if "==" in line)
    folders = [*(project / ".venv").glob("lib/python3*/site-packages")]
    if not folders:
        return missing("packages", "no .venv yet; run tools/setup.sh")
    have = dict(p.name.removesuffix(".dist-info").rsplit("-", 1) for p in folders[0].glob("*.dist-info"))

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    held = {plain(name): version for name, version in have.items()}
    bad = [
        f"{name} {version} ({held.get(plain(name), 'absent')})"
        for name, version in wanted.items()
        if held.get(plain(name)) != version
    ]
    if bad:
        return missing(
            "packages",
            f"{len(bad)} of {len(wanted)} not as in requirements.lock: "
            f"{', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}; run tools/setup.sh",
        )
    return ok("packages", f"{len(wanted)} as in requirements.lock")


def slurm(project: Path) -> Finding:
    if not shutil.which("sbatch"):
        return optional("SLURM", "no sbatch on PATH; -profile slurm cannot be used")
    said = output_of("sinfo", "-h", "-o", "%P %D nodes %t")
    if not said or "error" in said:
        return optional("SLURM", "sbatch is here, but no controller answers; -profile slurm cannot be used")
    return ok("SLURM", said.replace("\n", "; "))


def apptainer(project: Path) -> Finding:
    if not shutil.which("apptainer"):
        return optional("Apptainer", "not on PATH (tools/apptainer_install.sh); no -profile apptainer")
    image = project / "containers/voxelmill.sif"
    made = f"image {image.stat().st_size >> 20} MB" if image.exists() else "no image yet (container_build.sh)"
    return ok("Apptainer", f"{output_of('apptainer', '--version').split()[-1]}; {made}")


def gpu(project: Path) -> Finding:
    said = output_of("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if not said or "failed" in said.lower():
        return optional("GPU", "none found; --use_gpu runs on the CPU")
    if not [*(project / ".venv").glob("lib/python3*/site-packages/cupy/__init__.py")]:
        return optional("GPU", f"{said.splitlines()[0]}, but no CuPy in .venv; --use_gpu runs on the CPU")
    return ok("GPU", said.replace("\n", "; "))


def cores(project: Path) -> Finding:
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ok("cores", f"{number}; --max_cpus and --reserved_cpus limit what a run takes")


def memory(project: Path) -> Finding:
    """The least of the machine's memory, the control group's limit and the process's own."""
    import resource

    limits = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(name).read_text().strip() if Path(name).exists() else ""
        limits += [float(text)] if text.isdigit() else []
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    limits += [float(own)] if own != resource.RLIM_INFINITY else []
    most = min(limits) / 2**30
    if most < LEAST_MEMORY * 0.95:
        return missing("memory", f"{most:.1f} GB; {LEAST_MEMORY:.0f} GB are needed (with --max_memory 2.GB)")
    advice = "" if most >= 4 else f"; run with --max_memory {most * 0.9:.1f}.GB"
    return ok("memory", f"{most:.1f} GB{advice}")


def disk(project: Path) -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free < LEAST_DISK:
        return missing("disk", f"{free:.1f} GB free in {Path.cwd()}; {LEAST_DISK:.0f} GB are needed")
    return ok("disk", f"{free:.0f} GB free in {Path.cwd()}")


def writing(project: Path) -> Finding:
    """A folder that only reads is fine once set up, as long as the current one can be written."""
    closed = [str(p) for p in (project, Path.cwd()) if not writable(p)]
    if closed and not (project / ".venv").exists():
        return missing("write access", f"{project} cannot be written; copy it to a folder of yours")
    if str(Path.cwd()) in closed:
        return missing("write access", f"{Path.cwd()} cannot be written; run from a folder of yours")
    return ok("write access", f"{project} is read-only, but set up" if closed else "project, current folder")


def path(project: Path) -> Finding:
    if str(project).isascii():
        return ok("path", str(project))
    return optional("path", f"{project} is not ASCII: Nextflow's strict parser (26.04 and later) cannot include there")


def writable(folder: Path) -> bool:
    """Try it: permission bits do not know of read-only mounts."""
    probe = folder / f".voxelmill-probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


CHECKS: tuple[Callable[[Path], Finding], ...] = (
    python,
    java,
    nextflow,
    packages,
    cores,
    memory,
    disk,
    path,
    writing,
    slurm,
    apptainer,
    gpu,
)


def examine(project: Path = PROJECT) -> Iterator[Finding]:
    """All checks, one after the other."""
    for check in CHECKS:
        yield check(project)


def main() -> int:
    """Print every finding; 1 when something needed is missing."""
    lacking = 0
    for finding in examine():
        print(finding, flush=True)
        lacking += finding.state == "missing"
    print(f"\n{lacking} needed {'thing is' if lacking == 1 else 'things are'} missing." if lacking else "\nReady.")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
