"""Section alignment against its peers, on the same data in one run.

    python benchmarks/alignment.py --texture FOLDER --fib25 fib25.npz --vnc vnc.npz --json alignment.json

Three tables:

pairs         made stacks of known geometry (`geometry_data.py`): residual of neighbouring clean sections
              in px, over pixels whose partner lies inside the neighbour, and CPU seconds a pair,
              preparation included
stacks        the same stacks through the section graph: bad sections found, good ones wrongly flagged,
              residual between neighbours of the aligned stack
equivariance  N(0, 1 px) jitter on real sections: (jitter + correction of the jittered stack) - correction
              of the original, slice to slice, rms px; and CPU milliseconds a section, warp included

CPU is process time with one thread. Run it alone on the machine: others on it make it up to twice as long.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
):
    os.environ[_name] = "1"  # before the libraries are loaded

# ruff: noqa: E402
import cv2
import geometry_data
import numpy as np
from voxelmill.transform import warp
from voxelmill.transform.registration import estimate_pair
from voxelmill.transform.section_graph import align_stack

Estimator = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


# --- estimators: fixed, moving -> the map of points (..., 2) of fixed to positions in moving -------------


def nothing(fixed, moving):
    return lambda points: points


def voxelmill(level):
    def estimate(fixed, moving):
        return estimate_pair(fixed, moving, level=level).positions

    return estimate


def phase_correlation(fixed, moving):
    from skimage.registration import phase_cross_correlation

    shift = phase_cross_correlation(fixed, moving, upsample_factor=10)[0]
    return lambda points: points - shift


def pystackreg(fixed, moving):
    from pystackreg import StackReg

    m = StackReg(StackReg.RIGID_BODY).register(fixed.astype(float), moving.astype(float))  # (x, y) order
    return lambda p: np.stack(
        [m[1, 1] * p[..., 0] + m[1, 0] * p[..., 1] + m[1, 2], m[0, 1] * p[..., 0] + m[0, 0] * p[..., 1] + m[0, 2]], -1
    )


def simpleitk(fixed, moving):
    import SimpleITK as sitk

    a, b = (sitk.GetImageFromArray(s.astype(np.float32)) for s in (fixed, moving))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInterpolator(sitk.sitkLinear)
    start = sitk.CenteredTransformInitializer(a, b, sitk.Euler2DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY)
    method.SetInitialTransform(start, inPlace=False)
    found = sitk.Euler2DTransform(sitk.CompositeTransform(method.Execute(a, b)).GetNthTransform(0))
    m = np.array(found.GetMatrix()).reshape(2, 2)
    c, t = np.array(found.GetCenter()), np.array(found.GetTranslation())
    return lambda p: ((p[..., ::-1] - c) @ m.T + c + t)[..., ::-1]


PEERS: dict[str, Estimator] = {
    "nothing": nothing,
    "voxelmill translation": voxelmill("translation"),
    "voxelmill rigid": voxelmill("rigid"),
    "voxelmill elastic": voxelmill("elastic"),
    "scikit-image PCC x10": phase_correlation,
    "pystackreg rigid": pystackreg,
    "SimpleITK rigid": simpleitk,
}


# --- measures -----------------------------------------------------------------------------------------


def residuals(stack: geometry_data.Stack, i: int, j: int, at: np.ndarray, points: np.ndarray) -> np.ndarray:
    """|T_j(M(p)) - T_i(p)| where M(p) lies inside section j."""
    y, x = (np.ascontiguousarray(at[..., k], np.float32) for k in (0, 1))
    here = tuple(np.moveaxis(points.astype(int), -1, 0))
    truth = stack.positions
    off = [cv2.remap(truth[j, k], x, y, cv2.INTER_LINEAR) - truth[i, k][here] for k in (0, 1)]
    n = stack.sections.shape[1] - 1
    return np.hypot(*off)[(y >= 0) & (y <= n) & (x >= 0) & (x <= n)]


def lattice(size: int, step: int = 4) -> np.ndarray:
    return np.stack(np.mgrid[0:size:step, 0:size:step], -1).astype(float)


def pairs(stacks: dict[int, geometry_data.Stack]) -> list[dict]:
    rows = []
    for name, estimate in PEERS.items():
        clean, seconds, worse = [], [], 0
        try:
            estimate(*next(iter(stacks.values())).sections[:2])  # imports are not its cost
        except ImportError as error:
            print(f"{name}: left out ({error}); pip install voxelmill[bench]")
            continue
        for stack in stacks.values():
            points = lattice(stack.sections.shape[1])
            for i, j in pairwise(range(len(stack.sections))):
                start = time.process_time()
                at = estimate(stack.sections[i], stack.sections[j])(points)
                seconds.append(time.process_time() - start)
                if not {i, j} & {stack.blank, stack.corrupt}:
                    clean.append(residuals(stack, i, j, at, points))
                    worse += clean[-1].mean() > residuals(stack, i, j, points, points).mean()
        every = np.concatenate(clean)
        rows.append(
            {
                "method": name,
                "mean_px": float(every.mean()),
                "p95_px": float(np.percentile(every, 95)),
                "max_px": float(every.max()),
                "worse_than_nothing": worse,
                "pairs": len(clean),
                "cpu_s_a_pair": float(np.median(seconds)),
            }
        )
    return rows


def whole_stacks(stacks: dict[int, geometry_data.Stack], neighbours: int) -> list[dict]:
    rows = []
    for level in ("translation", "rigid", "elastic"):
        found, wrong, rest, seconds = 0, 0, [], []
        for stack in stacks.values():
            n = len(stack.sections)
            start = time.process_time()
            result = align_stack(stack.sections.__getitem__, n, level=level, neighbours=neighbours)
            seconds.append((time.process_time() - start) / n)
            bad = {z for z, s in enumerate(result.status) if s in ("blank", "corrupt")}
            found += len(bad & {stack.blank, stack.corrupt})
            wrong += len(bad - {stack.blank, stack.corrupt})
            points = lattice(stack.sections.shape[1])
            y, x = points[..., 0], points[..., 1]
            raw = [result.transform(z).positions(y, x).astype(np.float32) for z in range(n)]
            seen = [
                [cv2.remap(t[k], r[1], r[0], cv2.INTER_LINEAR, borderValue=np.nan) for k in (0, 1)]
                for t, r in zip(stack.positions, raw)
            ]
            good = [z for z in range(n) if z not in (stack.blank, stack.corrupt)]
            rest += [np.nanmean(np.hypot(*np.subtract(seen[i], seen[j]))) for i, j in pairwise(good)]
        rows.append(
            {
                "level": level,
                "bad_found": found,
                "bad": 2 * len(stacks),
                "good_flagged": wrong,
                "mean_px": float(np.mean(rest)),
                "worst_pair_px": float(np.max(rest)),
                "cpu_s_a_section": float(np.mean(seconds)),
            }
        )
    return rows


def seed_correction(sections: np.ndarray) -> tuple[np.ndarray, float]:
    """Phase correlation with the aligned section before, sign put right; (n, 2) px, CPU s with warp."""
    from skimage.registration import phase_cross_correlation
    from skimage.transform import SimilarityTransform
    from skimage.transform import warp as skimage_warp

    start, out, reference = time.process_time(), [np.zeros(2)], sections[0].astype(np.float32) / 255
    for s in sections[1:]:
        image = s.astype(np.float32) / 255
        shift = phase_cross_correlation(reference, image, upsample_factor=10)[0]
        move = SimilarityTransform(translation=(shift[1], shift[0])).inverse
        reference = skimage_warp(image, move, preserve_range=True, mode="edge").astype(np.float32)
        out.append(shift)
    return np.array(out), time.process_time() - start


def our_correction(sections: np.ndarray, level: str, neighbours: int) -> tuple[np.ndarray, float]:
    start = time.process_time()
    result = align_stack(sections.__getitem__, len(sections), level=level, neighbours=neighbours)
    for z, s in enumerate(sections):
        warp.render(s, result.transform(z))
    return np.stack([result.dy, result.dx], 1), time.process_time() - start


def equivariance(name: str, sections: np.ndarray, seeds: list[int], neighbours: int) -> list[dict]:
    methods = {"scikit-image PCC x10": seed_correction}
    for level in ("translation", "rigid"):
        methods[f"voxelmill {level}"] = lambda s, level=level: our_correction(s, level, neighbours)
    rows = []
    for method, correct in methods.items():
        correct(sections[:3])
        before, seconds = correct(sections)
        rest = []
        for seed in seeds:
            jitter = warp.simulate_jitter(len(sections), 1.0, seed)
            moved = np.stack(
                [warp.render(s, warp.shift_transform(*v), interpolation="cubic") for s, v in zip(sections, jitter)]
            )
            rest.append(np.diff(jitter + correct(moved)[0] - before, axis=0))
        y, x = np.sqrt(np.mean(np.square(rest), axis=(0, 1)))
        worst = max(float(np.sqrt((r**2).mean(0)).max()) for r in rest)
        rows.append(
            {
                "data": name,
                "method": method,
                "rms_y_px": float(y),
                "rms_x_px": float(x),
                "worst_seed_axis_px": worst,
                "cpu_ms_a_section": seconds / len(sections) * 1e3,
            }
        )
    return rows


# --- report -------------------------------------------------------------------------------------------


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}")
    if rows:
        cells = [list(rows[0])]
        cells += [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
        widths = [max(map(len, column)) for column in zip(*cells)]
        for line in cells:
            print("  ".join(c.ljust(w) for c, w in zip(line, widths)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--texture", type=Path, help="folder of grey TIFFs for the made stacks; else noise")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103], help="of the made stacks")
    parser.add_argument("--size", type=int, default=640, help="px a side of the made sections")
    parser.add_argument("--fib25", type=Path, help="npz with `raw` (z, y, x) uint8")
    parser.add_argument("--vnc", type=Path, help="npz with `raw` (z, y, x) uint8")
    parser.add_argument("--jitter-seeds", type=int, nargs="+", default=[21, 22, 23])
    parser.add_argument("--neighbours", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the figures go")
    a = parser.parse_args()
    cv2.setNumThreads(1)
    texture = geometry_data.textures(a.texture)
    stacks = {s: geometry_data.stack(s, texture, size=a.size) for s in a.seeds}
    out: dict[str, list[dict]] = {"pairs": pairs(stacks), "stacks": whole_stacks(stacks, a.neighbours)}
    out["equivariance"] = [
        row
        for name, path in (("FIB-25", a.fib25), ("VNC", a.vnc))
        if path
        for row in equivariance(name, np.load(path)["raw"], a.jitter_seeds, a.neighbours)
    ]
    for title, rows in out.items():
        show(title, rows)
    if a.json:
        a.json.write_text(json.dumps(out, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
