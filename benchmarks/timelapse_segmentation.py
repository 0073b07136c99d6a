"""Cell segmentation against truth and against PyAMA's method: F1, IoU and speed, as a table and as JSON.

    python benchmarks/timelapse_segmentation.py [--real FOLDER] [--seed 7] [--out result.json]

Made movies come from `voxelmill.testing.timelapse`; parameters and weights saw seeds 77 and 1000-1099, so
take others to report. FOLDER holds real sets with hand-drawn truth: `t98g_manual/set*_{phase,instances}.tif`,
`c2c12_manual/{phase,instances}.tif`, `bacteria_tracks/{phase,track_labels}.tif`; the weights saw these, so
their figures here flatter. Speed is frame pixels over CPU seconds of one thread; what a movie shares, such as
the width of its cells, is found once before and not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from voxelmill.inference.cells import METHODS
from voxelmill.testing.timelapse import PRESETS, make_movie
from voxelmill.testing.timelapse_score import segmentation


def pyama(frame: np.ndarray) -> np.ndarray:
    """LOG-STD as the public PyAMA has it: window 3, mode + 3 sigma, fill, open and close by 7 x 7 thrice."""
    from scipy import ndimage as ndi

    image = frame.astype(np.float32)
    mean = ndi.uniform_filter(image, 3)
    variance = ndi.uniform_filter(image * image, 3) - mean * mean
    texture = np.zeros_like(image)
    np.log(variance, out=texture, where=variance > 0)
    texture *= 0.5
    counts, edges = np.histogram(texture, bins=200)
    top = int(np.argmax(counts))
    mode = (edges[top] + edges[top + 1]) / 2
    mask = texture > mode + 3 * texture[texture <= mode].std()
    mask = ndi.binary_fill_holes(mask)
    square = np.ones((7, 7), bool)
    mask = ndi.binary_opening(mask, square, iterations=3)
    mask = ndi.binary_closing(mask, square, iterations=3)
    return ndi.label(mask)[0]


def made_sets(seed: int, frames: int, size: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for preset in PRESETS:
        movie = make_movie(preset, frames=frames, size=size, channels=0, seed=seed)
        yield preset, movie.phase, movie.labels


def real_sets(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    import tifffile

    for phase in sorted(folder.glob("t98g_manual/*_phase.tif")):
        truth = phase.with_name(phase.name.replace("phase", "instances"))
        yield f"t98g {phase.name.split('_')[0]}", tifffile.imread(phase)[None], tifffile.imread(truth)[None]
    for name, truth in (("c2c12_manual", "instances"), ("bacteria_tracks", "track_labels")):
        if (folder / name).is_dir():
            images = tifffile.imread(folder / name / "phase.tif")
            yield name.split("_")[0], images, tifffile.imread(folder / name / f"{truth}.tif")


def evaluate(phase: np.ndarray, truth: np.ndarray, name: str) -> dict[str, float]:
    """Score and speed of one method on one movie (t, y, x)."""
    shared: dict = {}
    if name == "pyama":
        work = pyama
    else:
        method = METHODS[name]
        shared = dict(method.prepare(phase[:: max(1, len(phase) // 5)], {}))

        def work(frame: np.ndarray) -> np.ndarray:
            return method.segment(frame, shared)

    work(phase[0])  # imports and weights are not what is measured
    start = time.process_time()
    found = [work(frame) for frame in phase]
    seconds = time.process_time() - start
    score = segmentation(list(truth), found)
    return score | {"mpx_per_cpu_s": phase.size / 1e6 / seconds} | shared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", type=Path, help="folder with the real sets")
    parser.add_argument("--seed", type=int, default=7, help="seed of the made movies")
    parser.add_argument("--frames", type=int, default=20, help="frames of a made movie")
    parser.add_argument("--size", type=int, default=640, help="side of a made frame, px")
    parser.add_argument("--methods", default=",".join(["pyama", *METHODS]), help="which, comma-separated")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()

    cv2.setNumThreads(1)
    sets = list(made_sets(options.seed, options.frames, options.size))
    if options.real:
        sets += real_sets(options.real)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'set':12s} {'method':8s} {'F1@.5':>6s} {'F1@.75':>6s} {'IoU':>6s} {'area':>6s} {'Mpx/s':>6s}")
    for label, phase, truth in sets:
        for name in options.methods.split(","):
            f = figures.setdefault(label, {})[name] = evaluate(phase, truth, name)
            print(
                f"{label:12s} {name:8s} {f['f1_50']:6.3f} {f['f1_75']:6.3f} {f['mean_iou']:6.3f}"
                f" {f['area_ratio']:6.2f} {f['mpx_per_cpu_s']:6.1f}",
                flush=True,
            )
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # read when numpy is imported, so start again with it
        os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
