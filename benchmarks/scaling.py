"""Measure the scale model and check it: calibrate at some sizes, predict others, compare.

    python benchmarks/scaling.py [--calibrate 128 256] [--check 160 208 288] [--segmentation classic] [--write] [--folder DIR]

Cubes are the demo crop, mirrored and repeated; sections below about 128 px are aligned by another, slower, way. CPU
seconds, bytes written and tasks are compared, since they do not depend on what else a machine does; wall time is
shown. --write keeps the lines through all these runs as the package's own (python/voxelmill/scaling.json).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from voxelmill import scaling
from voxelmill.testing.engine import PROJECT, run

WHOLE, BLOCK = 1e9, 2**21  # calibration in one block; checks divided among tasks, as a large run is


def cube(edge: int, folder: Path) -> Path:
    """A cube of real texture: the demo crop, mirrored at its faces until it is large enough."""
    crop = np.load(PROJECT / "assets/demo/fib25_crop.npz")
    raw = crop[crop.files[0]]
    path = folder / f"cube{edge}.npy"
    np.save(path, np.pad(raw, [(0, max(0, edge - n)) for n in raw.shape], mode="symmetric")[:edge, :edge, :edge])
    return path


def measured(edge: int, folder: Path, block: float, segmentation: str = "learned") -> Path:
    """The results folder of a run over a cube; one that is there already is taken."""
    place = folder / f"run{edge}-{block:.0f}-{segmentation}"
    if not (place / "out/report.html").exists():
        data = ("--input", cube(edge, folder), "--voxel_size", "10,10,10", "--report_plots", "false")
        done = run(*data, "--block_voxels", block, "--segmentation", segmentation, folder=place, timeout=3600)
        if done.code:
            sys.exit(done.said)
        print(f"{edge}^3: {done.seconds:.0f} s wall", flush=True)
    return place / "out"


def totals(outdir: Path) -> dict[str, float]:
    known = {*scaling.ORDER, *(name for names in scaling.TAKEN_OVER.values() for name in names)}
    records = [r for r in scaling.records_of(outdir) if r["stage"] in known]
    return {
        "tasks": len(records),
        "CPU s": sum(r["cpu_s"] + r["startup_cpu_s"] for r in records),
        "MB written": sum(r["bytes_out"] for r in records) / 1e6,
        "GB peak": max(r["peak_memory_bytes"] for r in records if r["stage"] in scaling.DIVIDED) / 1e9,
    }


def densities(outdir: Path) -> str:
    """What scaling.DENSITY is taken from."""
    records = scaling.records_of(outdir)
    quality = {r["stage"]: r["quality"] for r in records}
    rows = {k: sum(r["quality"].get(k, 0) for r in records if r["stage"] == "agglomerate") for k in ("supervoxels", "edges")}
    size = scaling.megavoxels_of(records)
    return (
        f"{rows['supervoxels'] / size:.0f} supervoxels, {rows['edges'] / size:.0f} edges, "
        f"{quality['graph']['nodes'] / size:.0f} neurites with synapses, "
        f"{quality['graph']['synapses'] / size:.0f} synapse candidates a megavoxel"
    )


def predicted(outdir: Path, stages: dict[str, scaling.Stage], segmentation: str) -> dict[str, float]:
    records = scaling.records_of(outdir)
    setting = scaling.Setting(segmentation, block_voxels=BLOCK, shard_voxels=scaling.shard_of(records) * 1e6)
    costs = scaling.predict(scaling.megavoxels_of(records) * 1e6, setting, stages)
    more = 2 * [c for c in costs if c.stage == "multiscale"]  # raw, supervoxels, aligned
    return {
        "tasks": sum(c.tasks for c in costs) + len(more),
        "CPU s": 3600 * sum(c.cpu_h for c in [*costs, *more]),
        "MB written": 1e3 * sum(c.written_gb for c in [*costs, *more]),
        "GB peak": max(c.task_gb for c in costs if c.stage in scaling.DIVIDED),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--check", type=int, nargs="+", default=[160, 208, 288])
    parser.add_argument("--segmentation", choices=tuple(scaling.DENSITY), default="learned")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--stages", nargs="*", help="with --write: only the lines of these, the others stay")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runs = [measured(edge, folder, WHOLE, args.segmentation) for edge in args.calibrate]
        stages = scaling.calibrate(runs)
        worst = 0.0
        print(f"{'size':>6} {'what':12} {'measured':>10} {'predicted':>10} {'error':>7}")
        for edge in args.check:
            runs.append(outdir := measured(edge, folder, BLOCK, args.segmentation))
            found, told = totals(outdir), predicted(outdir, stages, args.segmentation)
            for what, value in found.items():
                error = told[what] / value - 1
                worst = max(worst, abs(error))
                print(f"{edge:>4}^3 {what:12} {value:10.2f} {told[what]:10.2f} {100 * error:6.1f}%", flush=True)
        print(densities(runs[-1]))
        if args.write:
            chosen = scaling.calibrate(runs)
            if args.stages:
                chosen = scaling.load(args.segmentation) | {name: chosen[name] for name in args.stages}
            scaling.save(chosen, args.segmentation)
    print(f"largest error {100 * worst:.1f}% (asked: 20%)")
    return 0 if worst <= 0.2 else 1


if __name__ == "__main__":
    sys.exit(main())
