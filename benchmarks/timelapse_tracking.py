"""Linking of true cells: F1 of links and CPU seconds of our methods, trackpy, laptrack and PyAMA's linking.

    python benchmarks/timelapse_tracking.py [--real FOLDER] [--seed 7] [--whole] [--jumps 10] [--out result.json]

Every tracker gets the same true masks of made movies (`voxelmill.testing.timelapse`; parameters were chosen
on seeds 11 and 101-103, so take others to report) and of FOLDER (`track_labels.tif`, a real movie). Peers
that are not installed are left out (`pip install trackpy laptrack`); each is run at several search ranges
and its best is taken. Ours is timed from label frames to relabelled frames; peers from their table of
centroids to ids. One thread, imports and a warm-up not timed. `--whole` segments the phase images first and
scores the result by the Cell Tracking Challenge's TRA (`pip install py-ctcmetrics`). `--jumps N` counts,
in N movies of each kind, the links that are kept where the stage jumps (10 of all kinds: a quarter of an hour).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from voxelmill.inference.cell_tables import region_table
from voxelmill.inference.tracking import track
from voxelmill.testing.timelapse import PRESETS, make_movie
from voxelmill.testing.timelapse_score import links

RANGES = (15.0, 25.0, 40.0)  # px, search ranges of the peers
Tracker = Callable[[np.ndarray], list[np.ndarray]]


def ours(method: str) -> Tracker:
    def run(movie: np.ndarray) -> list[np.ndarray]:
        tracks = track([region_table(frame) for frame in movie], method)
        return [tracks.relabel(t, frame) for t, frame in enumerate(movie)]

    return run


def pyama_labels(movie: np.ndarray) -> np.ndarray:
    """What PyAMA would link: it stores a mask and labels it anew, so cells that touch are one."""
    from scipy import ndimage as ndi

    return np.stack([ndi.label(frame > 0)[0] for frame in movie])


def pyama(tables: list) -> list[np.ndarray]:
    """PyAMA's public linking: IoU of all pairs of boxes, Hungarian, tracks from the first frame only."""
    from scipy.optimize import linear_sum_assignment

    ids = [np.arange(1, len(tables[0]) + 1)]
    for before, now in itertools.pairwise(tables):
        cost = np.ones((len(before), len(now)))
        for i, a in enumerate(before.bbox.tolist()):
            for j, b in enumerate(now.bbox.tolist()):
                height = min(a[2], b[2]) - max(a[0], b[0])
                width = min(a[3], b[3]) - max(a[1], b[1])
                if ids[-1][i] and height > 0 and width > 0:
                    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
                    iou = height * width / (both - height * width)
                    cost[i, j] = 1 - iou if iou >= 0.1 else 1
        new = np.zeros(len(now), int)
        for i, j in zip(*linear_sum_assignment(cost)):
            if cost[i, j] < 1:
                new[j] = ids[-1][i]
        ids.append(new)
    return ids


def centroid_frame(tables: list):
    import pandas as pd

    rows = [(t, y, x) for t, table in enumerate(tables) for y, x in table.centroid]
    return pd.DataFrame(rows, columns=["frame", "y", "x"])


def trackpy(search: float) -> Callable[[list], list[np.ndarray]]:
    import trackpy as tp

    tp.quiet()

    def run(tables: list) -> list[np.ndarray]:
        # where too many cells are in range, trackpy is told to come down to a range it can solve
        found = tp.link(centroid_frame(tables), search, memory=2, adaptive_stop=5, adaptive_step=0.9)
        ids = found.sort_index()["particle"].to_numpy() + 1
        return np.split(ids, np.cumsum([len(table) for table in tables])[:-1])

    return run


def laptrack(search: float) -> Callable[[list], list[np.ndarray]]:
    from laptrack import LapTrack

    cut = search**2
    tracker = LapTrack(cutoff=cut, gap_closing_cutoff=cut, splitting_cutoff=cut, gap_closing_max_frame_count=2)

    def run(tables: list) -> list[np.ndarray]:
        found, _, _ = tracker.predict_dataframe(
            centroid_frame(tables), ["y", "x"], frame_col="frame", only_coordinate_cols=False
        )
        ids = found.reset_index(drop=True)["track_id"].to_numpy() + 1
        return np.split(ids, np.cumsum([len(table) for table in tables])[:-1])

    return run


def on_tables(tracker: Callable[[list], list[np.ndarray]], tables: list, movie: np.ndarray) -> tuple[float, list]:
    from voxelmill.inference.cell_tables import relabel_frame

    start = time.process_time()
    ids = tracker(tables)
    spent = time.process_time() - start
    return spent, [relabel_frame(f, t.label, i) for f, t, i in zip(movie, tables, ids)]


def peers() -> dict[str, list[Callable[[list], list[np.ndarray]]]]:
    found = {"PyAMA": [pyama]}
    for name, make in (("trackpy", trackpy), ("laptrack", laptrack)):
        try:
            found[name] = [make(search) for search in RANGES]
        except ImportError:
            print(f"{name} is not installed; left out")
    return found


def measure(movie: np.ndarray, others: dict) -> dict[str, dict[str, float]]:
    """Link F1 and CPU seconds of every tracker on the true masks `movie` (t, y, x)."""
    result = {}
    for name in ("growth", "iou"):
        start = time.process_time()
        found = ours(name)(movie)
        result[name] = {"cpu_s": time.process_time() - start, "link_f1": links(movie, found)["link_f1"]}
    for name, trackers in others.items():
        masks = pyama_labels(movie) if name == "PyAMA" else movie
        tables = [region_table(frame) for frame in masks]
        runs = [on_tables(tracker, tables, masks) for tracker in trackers]
        scores = [links(movie, found)["link_f1"] for _, found in runs]
        best = int(np.argmax(scores))
        result[name] = {"cpu_s": runs[best][0], "link_f1": scores[best]}
    return result


def challenge(movie, segment: bool) -> dict[str, float]:
    """TRA, DET and LNK of a made movie, from its phase images or its true masks."""
    import tifffile
    from ctc_metrics import evaluate_sequence
    from voxelmill.serving.track_exports import write_ctc

    frames = list(movie.labels)
    if segment:
        from voxelmill.inference.cells import DEFAULT, METHODS

        method = METHODS[DEFAULT]
        shared = method.prepare(movie.phase[:3], {})
        frames = [method.segment(frame, shared) for frame in movie.phase]
    tracks = track([region_table(frame) for frame in frames])
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found, truth = write_ctc(Path(folder) / "res", tracks, frames), Path(folder) / "gt"
        (truth / "TRA").mkdir(parents=True)
        for t, frame in enumerate(movie.labels):
            tifffile.imwrite(truth / "TRA" / f"man_track{t:04d}.tif", frame)
        rows = "".join(f"{a} {b} {c} {d}\n" for a, b, c, d in movie.tracks)
        (truth / "TRA" / "man_track.txt").write_text(rows)
        scores = evaluate_sequence(str(found), str(truth), metrics=["Valid", "TRA", "DET", "LNK"])
    return {name: float(scores[name]) for name in ("Valid", "TRA", "DET", "LNK")}


def real_movie(folder: Path, rows: slice) -> SimpleNamespace:
    """`phase.tif`, `track_labels.tif` and `man_track.txt` of a folder, cut to some rows of the picture."""
    import tifffile

    phase, labels = (tifffile.imread(folder / f"{name}.tif")[:, rows] for name in ("phase", "track_labels"))
    listed = [tuple(map(int, line.split())) for line in (folder / "man_track.txt").read_text().splitlines()]
    seen = {i: [t for t, frame in enumerate(labels) if (frame == i).any()] for i, *_ in listed}
    tracks = [(i, seen[i][0], seen[i][-1], mother if seen.get(mother) else 0) for i, _, _, mother in listed if seen[i]]
    return SimpleNamespace(phase=phase, labels=labels, tracks=tracks)


def jumped(preset: str, seed: int, size: int, share: tuple[float, float], **changes: float) -> tuple[int, int]:
    """Links kept, and those there are, where the stage jumps by a share of the field along y and x after two of four
    frames."""
    moved = [round(abs(part) * size) for part in share]
    labels = make_movie(preset, frames=4, size=size + max(moved), channels=0, seed=seed, **changes).labels
    ends = [(0, far) if part >= 0 else (far, 0) for part, far in zip(share, moved)]
    tables = []
    for t, frame in enumerate(labels):
        y, x = (end[t >= 2] for end in ends)
        tables.append(region_table(np.ascontiguousarray(frame[y : y + size, x : x + size])))
    tracks = track(tables)
    before, after = (dict(zip(*(column.tolist() for column in tracks.ids(t)))) for t in (1, 2))
    both = before.keys() & after.keys()
    return sum(before[label] == after[label] for label in both), len(both)


JUMPS = {"a quarter, a quarter": (0.25, -0.25), "half, none": (-0.5, 0.0), "half, half": (0.5, 0.5)}


def show_jumps(n: int, presets: list[str]) -> dict[str, dict[str, list[int]]]:
    """Links kept and links, by kind of movie and jump (along y, along x), of `n` seeds that chose nothing: fields of 512 px,
    and small ones of 288 px with few fast cells."""
    found: dict[str, dict[str, list[int]]] = {}
    kinds = [(preset, preset, 501, 512, {}) for preset in presets] + [("few fast", "fast", 301, 288, {"cells": 75})]
    for (title, preset, first, size, changes), (name, share) in itertools.product(kinds, JUMPS.items()):
        each = [jumped(preset, seed, size, share, **changes) for seed in range(first, first + n)]
        kept, there = (sum(column) for column in zip(*each))
        found.setdefault(title, {})[name] = [kept, there]
        lost = sum(one == 0 for one, _ in each)
        print(f"{title:9s} jump by {name}: {kept} of {there} links kept; not bridged in {lost} of {n} movies", flush=True)
    return found


def show(name: str, row: dict[str, dict[str, float]]) -> None:
    cells = "  ".join(f"{k} {v['link_f1']:.4f} / {v['cpu_s']:.2f} s" for k, v in row.items())
    ratio = f"  growth : laptrack = {row['growth']['cpu_s'] / row['laptrack']['cpu_s']:.2f}" if "laptrack" in row else ""
    print(f"{name:9s} {cells}{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", type=Path, help="folder with track_labels.tif (with --whole also phase.tif, man_track.txt)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=640, help="px")
    parser.add_argument("--whole", action="store_true", help="also segment, and score by TRA")
    parser.add_argument(
        "--jumps", type=int, default=0, help="movies of each kind in which the stage jumps; nothing else then"
    )
    parser.add_argument("--presets", default=",".join(PRESETS), help="kinds of movies in which it jumps")
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()

    if args.jumps:
        found = show_jumps(args.jumps, args.presets.split(","))
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + "\n")
        return
    others = peers()
    measure(make_movie("sparse", frames=3, size=160, channels=0).labels, others)  # imports and compiled code
    result = {"seed": args.seed, "frames": args.frames, "size": args.size, "links": {}, "ctc": {}}
    for preset in PRESETS:
        movie = make_movie(preset, frames=args.frames, size=args.size, channels=0, seed=args.seed)
        result["links"][preset] = measure(movie.labels, others)
        show(preset, result["links"][preset])
        if args.whole:
            result["ctc"][preset] = {"masks": challenge(movie, False), "whole": challenge(movie, True)}
            print(f"{preset:9s} {json.dumps(result['ctc'][preset])}", flush=True)
    if args.real:
        import tifffile

        result["links"]["real"] = measure(tifffile.imread(args.real / "track_labels.tif"), others)
        show("real", result["links"]["real"])
        for name, rows in {"real": slice(None), "real, from row 760": slice(760, None)}.items() if args.whole else ():
            result["ctc"][name] = challenge(real_movie(args.real, rows), True)
            print(f"{name}: {json.dumps(result['ctc'][name])}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
