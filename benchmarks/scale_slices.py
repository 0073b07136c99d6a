"""Lines of the scale model of `reconstruct` (`voxelmill scale --workflow reconstruct`), from runs of different sizes.

    python benchmarks/scale_slices.py OUTDIR... [--coarse RECORD RECORD]      writes python/voxelmill/scaling_slices.json
    python benchmarks/scale_slices.py --subject 128 256                       only what follows the stack, on made cubes
    python benchmarks/scale_slices.py OUTDIR... --check                       what a run took against what is predicted of it

OUTDIR: results of runs on made acquisitions of 10 um, at --resolution 10. --coarse: the record of `prepare_slice` on one grid
at --resolution 10, and another at 20 on the same grid: what reading and reducing a raw voxel costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from voxelmill import scaling_slices
from voxelmill.core import manifest, plans
from voxelmill.core.shared import Storage
from voxelmill.core.space import MM, Axis, Space
from voxelmill.core.volume import create_image, layout
from voxelmill.transform.plan_stack import Laid, Plan

ROOT = Path(__file__).resolve().parents[1]
PLANES = 20  # of a slice


def of_raw(fine: Path, coarse: Path, slope: float) -> float:
    """CPU s a raw Mvoxel: what is left at half the resolution, an eighth of the voxels, beyond the cost of those."""
    records = [json.loads(path.read_text()) for path in (fine, coarse)]
    raw = records[0]["bytes_in"] / 4e6  # float32; compressed grids have fewer bytes, so that this is on the cautious side
    lines = [r["cpu_s"] for r in records]
    return max(0.0, (lines[1] - slope * raw / 8) / raw)


def subject(edge: int, folder: Path) -> list[tuple[str, float, dict]]:
    """What is done to a stack, a cube of that edge: (stage, Mvoxel that a task works on, its record)."""
    lay = layout((edge,) * 3, "float32", Storage().shard, Storage().chunk)
    store = create_image(
        folder / "stack.ome.zarr", lay, Space.of([Axis(n, "space", MM) for n in "zyx"], (0.01,) * 3, (0,) * 3)
    )
    rng = np.random.default_rng(0)
    for z in range(0, edge, lay.shard[0]):
        store.write(np.s_[z : z + lay.shard[0], :, :], rng.random((min(lay.shard[0], edge - z), edge, edge), np.float32))
    manifest.write(folder / "stack.ome.zarr")
    laid = [Laid(number=z // PLANES, z=z, planes=PLANES, matrix=[[1, 0, 0], [0, 1, 0]]) for z in range(0, edge, PLANES)]
    plan = Plan(shape=(edge,) * 3, scale=(0.01,) * 3, origin=(0, 0, 0), slices=laid)
    (folder / "stack.json").write_text(plan.model_dump_json())
    whole, found = edge**3 / 1e6, []

    def run(stage: str, size: float, words: str) -> None:
        # Through a shell: a process started directly begins with this one's peak memory as its own.
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(ROOT / f"bin/{stage}.py"), *words.split()]
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        path = max(folder.glob(f"{stage}.*provenance.json"), key=lambda one: one.stat().st_mtime_ns)
        found.append((stage, size, json.loads(path.read_text())))

    def over(stage: str, listed: str, words: str, sizes: dict[str, float]) -> str:
        rows = plans.read(folder / listed)
        levels = [row["block"].split(".")[0] for row in rows]
        for row, n in zip(rows, levels):
            run(stage, sizes[n] / levels.count(n), f"{words} --block {row['block']} --output {stage}/{row['id']}/v.levels")
        return " ".join(f"{stage}/{row['id']}/v.levels" for row in rows)

    run("plan_levels", whole, "--volume stack.ome.zarr --block_list made.csv --blocks 2")
    each = dict.fromkeys("0123", whole)  # a level is made of the whole stack
    parts = over("make_levels", "made.csv", "--volume stack.ome.zarr", each)
    run("publish_volume", whole, f"--volume stack.ome.zarr --name v --output v.ome.zarr --parts {parts}")
    run("zip_volume", whole, "--volume v.ome.zarr --output v.ozx")
    lists = "--block_list even.csv --blocks 1"
    run("fit_bias_field", whole, f"--volume v.ome.zarr --plan stack.json --bias bias.json --picture bias.png {lists}")
    sizes = {str(n): whole * (10 / size) ** 3 for n, size in enumerate((10, 25, 50, 100))}
    over("correct_bias_field", "even.csv", "--volume v.ome.zarr --bias bias.json", sizes)
    return found


def add_subject(edges: list[int], stages: dict[str, scaling_slices.Measured]) -> None:
    """Lines of what follows the stack; a task beside others holds a shard, however large the volume is."""
    seen: dict[str, list[tuple[float, dict]]] = {}
    for edge in edges:
        with tempfile.TemporaryDirectory() as folder:
            for stage, size, record in subject(edge, Path(folder)):
                seen.setdefault(stage, []).append((size, record))
    for stage in scaling_slices.AFTER:  # the others are needed for these
        found = seen[stage]
        most = max(float(r["peak_memory_bytes"]) for _, r in found)
        stages[stage] = scaling_slices.Measured(
            scaling_slices.fit((size, r["cpu_s"] + r["startup_cpu_s"]) for size, r in found),
            scaling_slices.fit((size, float(r["bytes_out"])) for size, r in found),
            scaling_slices.Line(most, 0.0),
        )


def check(outdir: Path, stages: dict[str, scaling_slices.Measured]) -> None:
    """By stage: CPU s and most memory of a run's tasks, and as predicted."""
    print(f"{outdir.name:22} {'tasks':>5} {'Mvoxel':>7} {'CPU s':>8} {'predicted':>9} {'MB':>6} {'predicted':>9}")
    found: dict[str, list[tuple[float, float, dict]]] = {}
    for made, plane, record in scaling_slices.tasks_in(outdir):
        found.setdefault(record["stage"], []).append((made, plane, record))
    for stage, tasks in found.items():
        cost = stages[stage]
        cpu = [sum(r["cpu_s"] + r["startup_cpu_s"] for *_, r in tasks), sum(cost.cpu_s.at(made) for made, *_ in tasks)]
        memory = [max(r["peak_memory_bytes"] for *_, r in tasks) / 1e6, max(cost.memory.at(p) for _, p, _ in tasks) / 1e6]
        size = max(made for made, *_ in tasks)
        print(f"{stage:22} {len(tasks):5} {size:7.2f} {cpu[0]:8.2f} {cpu[1]:9.2f} {memory[0]:6.0f} {memory[1]:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdirs", type=Path, nargs="*")
    parser.add_argument("--coarse", type=Path, nargs=2)
    parser.add_argument("--subject", type=int, nargs="+", default=[], metavar="EDGE")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    given = parser.parse_args()
    if given.check:
        if not given.outdirs:
            parser.error("--check: no OUTDIR; expected results of runs")
        for outdir in given.outdirs:
            check(outdir, scaling_slices.load())
        return
    stages = scaling_slices.load() | scaling_slices.calibrate(given.outdirs)
    if given.coarse:
        stages["prepare_slice"].raw_s = of_raw(*given.coarse, stages["prepare_slice"].cpu_s.slope)
    if given.subject:
        add_subject(given.subject, stages)
    scaling_slices.save(stages)
    for name, s in stages.items():
        cpu = f"{s.cpu_s.fixed:6.2f} s + {s.cpu_s.slope:.3f} s/Mvoxel (raw {s.raw_s:.4f})"
        memory = f"{s.memory.fixed / 1e6:4.0f} MB + {s.memory.slope / 1e6:.0f} MB/Mpx"
        print(f"{name:22} {cpu}; {memory}; {s.bytes_out.slope / 1e6:.2f} B/voxel")


if __name__ == "__main__":
    main()
