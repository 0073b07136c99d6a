"""Background and cell traces against made movies of known truth, beside PyAMA's published method.

    python benchmarks/timelapse_traces.py [--presets sparse,dense] [--frames N] [--size N] [--json OUT]

True masks and tracks are given, so that only the background and the extraction are measured. CPU seconds are
of one thread; memory is what the stage adds at its peak to the frame it reads. The error of a trace value is
|measured - true| / true over all cells and frames, of cells that are whole (not cut by the border).

The peer is written anew after the description of its method: foreground dilated by a 21 x 21 square, medians
of 256 px tiles that overlap by half, a cubic spline through them that is clamped outside the outermost tile
centres, and sums over a full-frame mask per cell. It cannot do frames of 512 px or less.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402  (threads are set first)
from voxelmill.postprocess.features import TraceBuilder  # noqa: E402
from voxelmill.testing.timelapse import Movie, make_movie  # noqa: E402
from voxelmill.transform.background import estimate_frame, estimate_movie  # noqa: E402

# ---- the peer ------------------------------------------------------------------------------------


def peer_background(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    from scipy.interpolate import RectBivariateSpline
    from scipy.ndimage import binary_dilation

    masked = image.astype(np.float32)
    masked[binary_dilation(labels > 0, np.ones((21, 21)))] = np.nan
    edges = [np.rint(np.linspace(0, n, 2 * max(-(-n // 256) + 1, 2) - 1)).astype(int) for n in image.shape]
    y, x = ([(a + b) / 2 for a, b in zip(e[:-2], e[2:])] for e in edges)
    support = np.array(
        [
            [np.nanmedian(masked[y0:y1, x0:x1]) for x0, x1 in zip(edges[1][:-2], edges[1][2:])]
            for y0, y1 in zip(edges[0][:-2], edges[0][2:])
        ]
    )
    support = np.where(np.isnan(support), np.nanmedian(masked), support)
    spline = RectBivariateSpline(y, x, support)
    at = [np.clip(np.arange(n), c[0], c[-1]) for n, c in zip(image.shape, (y, x))]
    return spline(*at).astype(np.float32)


def peer_extract(movie: Movie, background: np.ndarray) -> dict[tuple[int, int], float]:
    total = {}
    for t, labels in enumerate(movie.labels):
        image = movie.fluorescence[0, t].astype(np.float32)
        for cell in np.unique(labels[labels > 0]):
            mask = labels == cell
            total[int(cell), t] = float((image - background[t])[mask].sum())
            mask.sum()  # its area
    return total


# ---- measuring -----------------------------------------------------------------------------------


def cpu(function, *arguments) -> tuple[Any, float]:
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def our_background(movie: Movie) -> np.ndarray:
    n, *shape = movie.labels.shape
    surface, _ = estimate_movie(lambda t: (movie.fluorescence[0, t], movie.labels[t]), n, tuple(shape))
    return np.stack([surface(t) for t in range(n)])


def our_extract(movie: Movie, background: np.ndarray) -> dict[tuple[int, int], float]:
    builder = TraceBuilder(0, np.arange(len(movie.labels)), {0: ["area"], 1: ["intensity_total"]}, phase=0)
    for t, labels in enumerate(movie.labels):
        builder.add(t, labels, {1: movie.fluorescence[0, t]}, {1: background[t]})
    table = builder.table()
    return dict(zip(zip(table["cell"].tolist(), table["frame"].tolist()), table["intensity_total_ch_1"].tolist()))


def trace_error(movie: Movie, total: dict[tuple[int, int], float]) -> tuple[float, float]:
    """Median and 90th percentile, per cent."""
    height, width = movie.labels.shape[1:]
    errors = []
    for cell, t, y, x, true in zip(*(movie.cells[k] for k in ("cell", "frame", "y", "x", "total_ch_1"))):
        if 25 < y < height - 25 and 25 < x < width - 25:
            errors.append(abs(total[int(cell), int(t)] - true) / true * 100)
    return float(np.median(errors)), float(np.percentile(errors, 90))


def memory(n_frames: int, size: int) -> float:
    """Peak MiB that fitting and extracting add, with frames made on the fly."""
    movie = make_movie("sparse", frames=2, size=size, seed=5)
    tracemalloc.start()
    read = lambda t: (movie.fluorescence[0, t % 2], movie.labels[t % 2])  # noqa: E731
    surface, _ = estimate_movie(read, n_frames, (size, size))
    builder = TraceBuilder(0, np.arange(n_frames), {0: ["area"], 1: ["intensity_total"]}, phase=0)
    for t in range(n_frames):
        image, labels = read(t)
        builder.add(t, labels, {1: image}, {1: surface(t)})
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def measure(preset: str, frames: int, size: int, seed: int) -> dict[str, Any]:
    movie = make_movie(preset, frames=frames, size=size, seed=seed)
    megapixels = movie.labels.size / 1e6
    our_extract(movie, movie.background[0])  # imports are not counted
    estimate_frame(movie.fluorescence[0, 0], movie.labels[0])
    peer_background(movie.fluorescence[0, 0], movie.labels[0])
    row: dict[str, Any] = {"preset": preset, "frames": frames, "size": size, "cells": len(np.unique(movie.cells["cell"]))}

    def stack_peer() -> np.ndarray:
        return np.stack([peer_background(f, m) for f, m in zip(movie.fluorescence[0], movie.labels)])

    for who, background, extract in (
        ("voxelmill", lambda: our_background(movie), our_extract),
        ("pyama_method", stack_peer, peer_extract),
    ):
        found, background_s = cpu(background)
        total, extract_s = cpu(extract, movie, found)
        median, p90 = trace_error(movie, total)
        row[who] = {
            "background_rmse_counts": float(np.sqrt(np.mean((found - movie.background[0]) ** 2))),
            "background_mpx_per_cpu_s": megapixels / background_s,
            "extract_mpx_per_cpu_s": megapixels / extract_s,
            "trace_error_median_percent": median,
            "trace_error_p90_percent": p90,
        }
    floor = trace_error(movie, our_extract(movie, movie.background[0]))
    row["floor_with_true_background"] = dict(zip(("median_percent", "p90_percent"), floor))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--presets", default="pattern,sparse,dense,fast")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    rows = [measure(preset, a.frames, a.size, a.seed) for preset in a.presets.split(",")]
    peaks = {str(n): memory(n, a.size) for n in (10, 100)}
    figures = list(rows[0]["voxelmill"])
    print("| preset | " + " | ".join(f.replace("_", " ") for f in figures) + " |")
    print("|---" * (len(figures) + 1) + "|")
    for row in rows:
        cells = [f"{row['voxelmill'][f]:.2f} ({row['pyama_method'][f]:.2f})" for f in figures]
        print(f"| {row['preset']} | " + " | ".join(cells) + " |")
    print(
        "In brackets: PyAMA's method. Trace error with the true background: "
        + ", ".join(
            f"{r['preset']} {r['floor_with_true_background']['median_percent']:.1f} / "
            f"{r['floor_with_true_background']['p90_percent']:.1f} %"
            for r in rows
        )
    )
    print("Peak memory added, MiB: " + ", ".join(f"{n} frames {mib:.1f}" for n, mib in peaks.items()))
    if a.json:
        a.json.write_text(json.dumps({"rows": rows, "memory_mib": peaks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
