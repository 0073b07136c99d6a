"""Slices of OCT to one volume: how well pairs are registered and the volume is like the block it was cut from; made here.

    python benchmarks/reconstruct_stack.py                          all cases, with the libraries that are installed
    python benchmarks/reconstruct_stack.py --cases missing oblique  some of them
    python benchmarks/reconstruct_stack.py --texture VOLUME.npz     also tissue that looks like a real volume (array `raw`)
    python benchmarks/reconstruct_stack.py --cases --seed 901 902   never seen before: a seed draws the shape, too

From mosaic grids on, by the stages' own scripts; CPU seconds and peak memory are those of their records. Parameters were
chosen on the cases `tuned ...`; all others were looked at only to be reported. Libraries register the same slabs of the same
slices as we do, one thread each, all in one process: SimpleITK (rigid, correlation), pystackreg (rigid), scikit-image (phase
correlation, shift alone).
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
    os.environ[_name] = "1"  # before the libraries are loaded

# ruff: noqa: E402
import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from voxelmill.core import shifts, slice_config
from voxelmill.core.volume import open_image
from voxelmill.testing.oct import Acquisition, write_mosaics
from voxelmill.testing.oct_score import pair_error, volume_score
from voxelmill.transform.pairs import Pair, read_metrics
from voxelmill.transform.register_pairwise import SLAB, Parameters, registered, slab
from voxelmill.transform.warp import apply, centre_of, rigid_matrix

BIN = Path(__file__).parents[1] / "bin"
USUAL: dict[str, Any] = {
    "slices": 4, "tile": (48, 128, 128), "overlap": 0.2, "thickness": 20, "unreported": 2.0, "rotation": 0.6, "drift": 8.0
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "tuned 7": {"seed": 7},
    "tuned 11": {"seed": 11, "tile": (40, 112, 120), "thickness": 16},
    "plain 31": {"seed": 31},
    "deep 43": {"seed": 43, "grid": (2, 3), "tile": (64, 144, 112)},
    "wide 59": {"seed": 59, "grid": (4, 2), "tile": (44, 96, 128), "overlap": 0.25, "rotation": 1.2, "unreported": 4.0},
    "missing": {"seed": 61, "slices": 5, "missing": (2,)},
    "spoiled": {"seed": 67, "slices": 5, "spoiled": (2,)},
    "rehomed": {"seed": 71, "slices": 5, "rehomed": {2: (70.0, -55.0)}},
    "oblique": {"seed": 73, "tilt": 45.0},
    "one look": {"seed": 79, "looks": 1.0},
}


def unseen(seed: int) -> Acquisition:
    """Of a shape that the seed draws: slices, tiles, depth, thickness; every second one lacks a slice."""
    rng = np.random.default_rng([seed, 9])
    slices, thickness = int(rng.integers(4, 7)), int(rng.integers(14, 25))
    depth = int(thickness * rng.uniform(1.6, 2.8)) + 10
    missing = (int(rng.integers(1, slices - 1)),) if rng.random() < 0.5 else ()
    grid, tile = (tuple(int(n) for n in rng.integers(*of, 2)) for of in ((2, 5), (96, 145)))
    drawn = {"slices": slices, "thickness": thickness, "tile": (depth, *tile), "grid": grid, "missing": missing}
    return Acquisition(**{**USUAL, **drawn, "seed": seed, "surface": float(rng.integers(4, 9))})


@dataclass
class Made:
    """A run: where its files are, and what it cost by stage: CPU s of each task, start included, and most memory."""

    made: Acquisition
    folder: Path
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def stage(self, stage: str, /, **given: Any) -> None:
        words = [w for k, v in given.items() for w in (f"--{k}", *map(str, v if isinstance(v, list) else [v]))]
        # Through a shell: a process started directly begins with this one's peak memory as its own.
        run = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(BIN / f"{stage}.py"), *words]
        done = subprocess.run(run, cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")
        for path in self.folder.glob(f"{stage}.*provenance.json"):
            record = json.loads(path.read_text())
            self.cpu[stage].append(record["cpu_s"])
            self.memory[stage] = max(self.memory[stage], record["peak_memory_bytes"] / 1e6)
            path.unlink()

    @property
    def thick(self) -> dict[str, float]:
        return {"registration_slicing_interval_mm": self.made.thickness * self.made.voxel_um[0] / 1000}

    @property
    def slices(self) -> dict[int, Path]:
        """In common space, by number."""
        return {int(path.name[7:9]): path for path in sorted((self.folder / "common").glob("slice_*.ome.zarr"))}

    @property
    def pairs(self) -> list[Pair]:
        return [read_metrics(path) for path in sorted(self.folder.glob("pair-*.json")) if "manifest" not in path.name]


# --- the run --------------------------------------------------------------------------------------


def prepared(made: Acquisition, folder: Path) -> Made:
    """To slices in common space."""
    run = Made(made, folder)
    with get_context("spawn").Pool(1) as apart:  # a child's peak memory counts from what its parent holds
        apart.apply(write_mosaics, (folder / "raw", made))
    for s in made.kept:
        grid, out = folder / f"raw/mosaic_grid_3d_z{s:02d}.ome.zarr", f"slice_z{s:02d}_normalize.ome.zarr"
        tables = {"tiles": f"tiles{s}.csv", "seams": f"seams{s}.csv"}
        run.stage("prepare_slice", grid=grid, slice=s, stitch_overlap_fraction=made.overlap, output=out, **tables)
    slice_config.write(folder / "config.csv", slice_config.of(made.kept))
    out = {"clean": "clean.csv", "stamped": "stamped.csv"}
    run.stage("detect_rehoming_events", shifts_xy=folder / "raw/shifts_xy.csv", config="config.csv", **out)
    stores = sorted(folder.glob("slice_*_normalize.ome.zarr"))
    out = {"common_space": "common.json", "offsets": "offsets.csv", "slice_list": "slices.csv", "gap_list": "gaps.csv"}
    out["stamped"] = "placed.csv"
    run.stage("plan_common_space", volumes=stores, shifts_xy="clean.csv", config="stamped.csv", **out)
    (folder / "common").mkdir()
    for s, store in zip(made.kept, stores, strict=True):
        run.stage("bring_to_common_space", volume=store, common_space="common.json", slice=s, output=f"common/{store.name}")
    with open(folder / "gaps.csv", newline="") as file:
        for gap in csv.DictReader(file):
            near = {name: f"common/slice_{gap[name]}_normalize.ome.zarr" for name in ("before", "after")}
            out = {"manifest": "gap.csv", "diagnostics": "gap.json"}
            name = f"common/slice_{gap['id']}_interpolated.ome.zarr"
            run.stage("interpolate_missing_slice", **near, **run.thick, slice=gap["slice"], output=name, **out)
    return run


def stacked(run: Made, name: str = "out", **flags: Any) -> np.ndarray:
    """The volume."""
    stores, numbers = run.slices, list(run.slices)
    for step in (1, 2):
        for a, b in zip(numbers, numbers[step:]):
            if not (run.folder / f"pair-{a}-{b}.json").exists():
                out = {"transform": f"pair-{a}-{b}.tfm", "metrics": f"pair-{a}-{b}.json", "offsets": f"pair-{a}-{b}.txt"}
                run.stage("register_pairwise", fixed=stores[a], moving=stores[b], name=f"{a}-{b}", **run.thick, **out)
    metrics = [path for path in sorted(run.folder.glob("pair-*.json")) if "manifest" not in path.name]
    run.stage("auto_exclude_slices", metrics=metrics, config="placed.csv", output="used.csv")
    out = {"plan": f"{name}.json", "matches": "matches.csv", "decisions": "decisions.csv", "block_list": "blocks.csv"}
    both = {"volumes": list(stores.values())}
    run.stage("plan_stack", **both, metrics=metrics, config="used.csv", **run.thick, **flags, **out)
    with open(run.folder / "blocks.csv", newline="") as file:
        blocks = [row["block"] for row in csv.DictReader(file)]
    for k, block in enumerate(blocks):
        run.stage("stack", **both, plan=f"{name}.json", block=block, output=f"{name}{k}.ome.zarr")
    return sum(open_image(run.folder / f"{name}{k}.ome.zarr").read() for k in range(len(blocks)))


# --- the truth ------------------------------------------------------------------------------------


def on_slice(run: Made, s: int) -> np.ndarray:
    """What is to be added to px of slice s in common space to have px as `Acquisition` counts them."""
    made, px = run.made, run.made.voxel_um[1] / 1000
    with open(run.folder / f"tiles{s}.csv", newline="") as file:
        found = np.array([[float(row["y"]), float(row["x"])] for row in csv.DictReader(file)])
    raw = open_image(run.folder / f"slice_z{s:02d}_normalize.ome.zarr")
    off = (found + np.array(raw.origin[1:]) / 1e6 / px - made.positions(s)).mean(0)
    place = shifts.places(shifts.read(run.folder / "clean.csv"), made.kept)[s]
    return np.array(open_image(run.slices[s]).origin[1:]) / 1e6 / px - np.array(place) / px - off


def score_pair(run: Made, a: int, b: int, matrix: np.ndarray) -> tuple[float, float]:
    """Target error px and error of the turn, deg, of px of a -> px of b."""
    made, (at_a, at_b) = run.made, (on_slice(run, s) for s in (a, b))
    error = pair_error(made, a, b, lambda points: apply(matrix, points - made.stage[a] - at_a) + at_b + made.stage[b])
    turn = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return error, abs(turn - (made.rotations[a] - made.rotations[b]))


def matrix_of(run: Made, pair: Pair) -> np.ndarray:
    one, other = (open_image(run.slices[s]) for s in (pair.fixed, pair.moving))
    beside = (np.array(one.origin[1:]) - other.origin[1:]) / one.scale[1:]
    move = beside + np.array([pair.dim1_px, pair.dim2_px])
    return rigid_matrix(*move, pair.rotation_deg, centre_of(one.shape[1:]))


# --- others ---------------------------------------------------------------------------------------


def simpleitk(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    a, b = (sitk.GetImageFromArray(image) for image in (fixed, moving))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    start = sitk.Euler2DTransform()
    start.SetCenter([(n - 1) / 2 for n in fixed.shape[::-1]])
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(a, b)
    points = [start.TransformPoint(p) for p in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0))]  # x = dim 2 first
    (x0, y0), (x1, y1), (x2, y2) = points
    return np.array([[y1 - y0, y2 - y0, y0], [x1 - x0, x2 - x0, x0]])


def pystackreg(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    from pystackreg import StackReg

    m = StackReg(StackReg.RIGID_BODY).register(fixed, moving)  # (x, y) of fixed -> of moving
    return np.array([[m[1, 1], m[1, 0], m[1, 2]], [m[0, 1], m[0, 0], m[0, 2]]])


def skimage(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    from skimage.registration import phase_cross_correlation

    shift = phase_cross_correlation(fixed, moving, upsample_factor=20, normalization=None)[0]
    return np.array([[1.0, 0, -shift[0]], [0, 1, -shift[1]]])


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "SimpleITK": simpleitk, "pystackreg": pystackreg, "scikit-image": skimage
}  # fmt: skip


def ours(run: Made, a: int, b: int) -> float:
    """CPU s of a pair in this process: slices read, depths compared, slabs registered twice."""
    p = Parameters(**run.thick)
    start = time.process_time()
    registered(p, (open_image(run.slices[a]), open_image(run.slices[b])), (a, b))
    return time.process_time() - start


def peers(run: Made, a: int, b: int) -> dict[str, tuple[float, float, float]]:
    """Error px, error deg, CPU s of each that is installed: slabs at the true depth."""
    first = 4
    fixed = slab(open_image(run.slices[a]), first + (b - a) * run.made.thickness, SLAB)
    moving = slab(open_image(run.slices[b]), first, SLAB)
    found = {}
    for name, register in PEERS.items():
        try:
            register(fixed[:64, :64], moving[:64, :64])  # imports are no part of it
        except ImportError:
            continue
        except RuntimeError:  # a corner without structure
            pass
        start = time.process_time()
        matrix = register(fixed, moving)
        found[name] = (*score_pair(run, a, b, matrix), time.process_time() - start)
    return found


# --- the report -----------------------------------------------------------------------------------


def pairs_of(run: Made) -> list[dict[str, Any]]:
    """A row for each pair of neighbours that show tissue and each that registers them."""
    made, rows = run.made, []
    for pair in run.pairs:
        a, b = pair.fixed, pair.moving
        if b - a > 1 or {a, b} - set(made.kept) or {a, b} & set(made.spoiled):
            continue
        px, turn = score_pair(run, a, b, matrix_of(run, pair))
        z = abs(pair.fixed_z - pair.expected_z)
        rows.append({"who": "ours", "px": px, "turn": turn, "z": z, "cpu": ours(run, a, b)})
        rows += [{"who": who, "px": e, "turn": t, "cpu": c} for who, (e, t, c) in peers(run, a, b).items()]
    return rows


def report(name: str, run: Made, each_pair: bool = False) -> list[dict[str, Any]]:
    """What is printed of a case; its pairs."""
    volume = stacked(run)
    with get_context("spawn").Pool(1) as apart:
        score = apart.apply(volume_score, (run.made, volume))
    rows = pairs_of(run)
    mine = [row for row in rows if row["who"] == "ours"]
    worst = " ".join(f"{max((row[k] for row in mine), default=np.nan):7.3f}" for k in ("px", "turn", "z"))
    figures = " ".join(f"{score[k]:7.3f}" for k in ("plane_shift_rms_px", "nrmse", "ssim"))
    n = len(run.made.kept)
    each = {stage: sum(cpu) / n for stage, cpu in run.cpu.items()}
    stack = sum(each[stage] for stage in ("plan_stack", "stack"))
    cpu = f"{np.mean(run.cpu['register_pairwise']):6.2f} {stack:6.2f} {sum(each.values()):6.2f}"
    memory = f"{max(run.memory[stage] for stage in ('register_pairwise', 'plan_stack', 'stack')):6.0f}"
    print(f"{name:10} {worst} {figures} {cpu} {memory}", flush=True)
    if each_pair:
        for pair in run.pairs:
            if {pair.fixed, pair.moving} - set(run.made.kept):
                continue
            px, turn = score_pair(run, pair.fixed, pair.moving, matrix_of(run, pair))
            z, alike = abs(pair.fixed_z - pair.expected_z), f"alike {pair.correlation:.2f}, in depth {pair.z_correlation:.2f}"
            name = f"{pair.fixed}-{pair.moving}"
            print(f"    {name}: {px:.3f} px {turn:.3f} deg {z:.2f} planes; {alike}; {pair.status} {pair.why}", flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> None:
    """Medians and worst of all pairs, by who registered them."""
    columns = {
        who: [np.array([row[k] for row in rows if row["who"] == who]) for k in ("px", "turn", "cpu")]
        for who in dict.fromkeys(row["who"] for row in rows)
    }
    our_px, _, our_cpu = columns.get("ours", [np.full(1, np.nan)] * 3)
    for who, (px, turn, cpu) in columns.items():
        error, cost = np.median(px) / np.median(our_px), np.median(cpu) / np.median(our_cpu)
        print(
            f"{who:13} {len(px):3} pairs: median {np.median(px):.3f} px ({error:.1f} x ours), worst {px.max():.2f}; "
            f"{np.median(turn):.3f} deg, worst {turn.max():.3f}; {np.median(cpu):.2f} CPU s ({cost:.2f} x ours)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texture", type=Path)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seed", type=int, nargs="+", default=[], help="seeds of acquisitions that nothing was chosen on")
    parser.add_argument("--pairs", action="store_true", help="each pair, those two apart as well")
    given = parser.parse_args()
    cases = {name: Acquisition(**{**USUAL, **CASES[name]}) for name in given.cases}
    if given.texture:
        cases["texture"] = Acquisition(**USUAL, seed=83, texture=np.load(given.texture)["raw"])
    for seed in given.seed:
        cases[f"seed {seed}"] = made = unseen(seed)
        shape = f"{made.grid} tiles of {made.tile}, {made.thickness} planes cut"
        print(f"seed {seed}: {made.slices} slots, missing {made.missing}, {shape}")
    rows: list[dict[str, Any]] = []
    print("case        pair, worst: px  deg  planes | volume: shift  NRMSE  SSIM | CPU s: pair  stack  all a slice | MB")
    for name, made in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += report(name, prepared(made, Path(folder)), given.pairs)
    summary(rows)


if __name__ == "__main__":
    main()
