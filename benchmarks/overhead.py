"""What Nextflow and start-up cost: their share of a run's wall time.

    python benchmarks/overhead.py OUTDIR SECONDS                               of a finished run and its wall time
    python benchmarks/overhead.py --empty                                      of a script of one empty process
    python benchmarks/overhead.py --run [--edge 512] [--block_voxels 256e6]    run the demo (or a cube of that edge)

Work is the time in which at least one task was computing, by the provenance records (from the end of a
task's imports to its record). All else of the wall time is overhead: the engine's own start and end, the
start of Python in each task, polling. On a busy machine all parts stretch alike, the share stays comparable.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from voxelmill.scaling import records_of


def union(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for a, b in sorted(spans):
        total += max(0.0, b - max(a, end))
        end = max(end, b)
    return total


def share(outdir: Path, wall: float) -> dict[str, float]:
    """Seconds of each part, and the overhead's share of the wall time."""
    records = records_of(outdir)
    spans = [tuple(datetime.fromisoformat(r[k]).timestamp() for k in ("start", "end")) for r in records]
    work = union(spans)  # type: ignore[arg-type]
    starts = sum(r["startup_cpu_s"] for r in records)
    return {
        "wall s": wall,
        "work s": work,
        "overhead s": wall - work,
        "imports CPU s": starts,
        "tasks": len(records),
        "share %": 100 * (1 - work / wall),
    }


def empty() -> dict[str, float]:
    """What Nextflow alone takes: wall and CPU seconds of a script with one process that does nothing."""
    from voxelmill.testing.engine import NEXTFLOW, QUIET

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.nf").write_text("process NOTHING {\n    script: 'true'\n}\nworkflow { NOTHING() }\n")
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([NEXTFLOW, "run", "main.nf"], cwd=folder, env={**os.environ, **QUIET}, check=True, capture_output=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall s": time.monotonic() - begun, "CPU s": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", type=Path, nargs="?")
    parser.add_argument("seconds", type=float, nargs="?")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--edge", type=int, help="a cube of this edge instead of the demo")
    parser.add_argument("--block_voxels", type=float, default=32e6)
    args = parser.parse_args()
    if args.empty:
        shown = empty()
    elif not args.run:
        shown = share(args.outdir, args.seconds)
    else:
        from scaling import cube
        from voxelmill.testing.engine import run

        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            of_cube = (
                ("--input", cube(args.edge, place), "--voxel_size", "10,10,10", "--block_voxels", args.block_voxels)
                if args.edge
                else ()
            )
            words = of_cube or ("-profile", "demo")
            done = run(*words, folder=place / "run", timeout=7200)
            if done.code:
                sys.exit(done.said)
            shown = share(done.outdir, done.seconds)
    for name, value in shown.items():
        print(f"{name:14} {value:8.1f}")


if __name__ == "__main__":
    main()
