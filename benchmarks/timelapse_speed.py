"""Megapixels per CPU second of the stages of `timelapse`, reading and writing included, beside scipy and scikit-image.

    python benchmarks/timelapse_speed.py [--frames 24] [--size 1024] [--repeats 3] [--out result.json]

A made movie goes through copying and tracking; then each measured stage runs as in a task, and a peer does the same
with the calls that are written first: both read the same store and write one. All in this process, by turns, the best
of the repeats, one thread; starting Python and importing are not counted (`startup.py` counts them).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from timelapse_traces import peer_background
from voxelmill.core.metadata import write_group
from voxelmill.testing.movies import LAYER, OUTPUT, run_timelapse, stack_of, write_ome_tiff
from voxelmill.testing.stages import run_stage
from voxelmill.testing.timelapse import make_movie
from voxelmill.timelapse.store import Facts, FrameWriter, fov_name, open_channel

GIVEN = {"pc_channel": 0, "fl_channels": "1", "segmentation_method": "logstd", "min_frames": 1}


def labelled(frame: np.ndarray) -> np.ndarray:
    """The steps of `logstd` by scipy and scikit-image: texture, threshold, closing, holes, opening, watershed."""
    from scipy import ndimage as ndi
    from skimage.feature import peak_local_max
    from skimage.morphology import disk
    from skimage.segmentation import watershed

    image = frame.astype(np.float64)
    variance = np.maximum(ndi.uniform_filter(image * image, 3) - ndi.uniform_filter(image, 3) ** 2, 1e-6)
    texture = 0.5 * np.log(variance)
    counts, edges = np.histogram(texture, bins=200)
    mode = edges[np.argmax(counts)]
    mask = ndi.binary_closing(texture > mode + 3 * texture[texture <= mode].std(), disk(3))
    mask = ndi.binary_opening(ndi.binary_fill_holes(mask), disk(3))
    depth = ndi.distance_transform_edt(mask)
    peaks = peak_local_max(ndi.gaussian_filter(depth, 2), min_distance=9, labels=ndi.label(mask)[0])
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=mask)


def peer_segment(folder: Path, known: Facts) -> None:
    image = open_channel(folder / "movie", 0, "pc_ch_0")
    with FrameWriter(folder / "peer", 0, known.labeled(), known, "uint16", label=True) as writer:
        for t in range(image.shape[0]):
            writer.add(labelled(image.read(t)))


def peer_surface(folder: Path, known: Facts) -> None:
    image, labels = open_channel(folder / "movie", 0, "fl_ch_1"), open_channel(folder / "labels", 0, known.labeled())
    with FrameWriter(folder / "peer", 0, "fl_background_ch_1", known, "float32") as writer:
        for t in range(image.shape[0]):
            writer.add(peer_background(image.read(t), labels.read(t)))


def peer_extract(folder: Path, known: Facts) -> None:
    from skimage.measure import regionprops_table

    images = [open_channel(folder / "movie", 0, "fl_ch_1"), open_channel(folder / "background", 0, "fl_background_ch_1")]
    tracked = open_channel(folder / "tracked", 0, known.tracked())
    wanted = ("label", "area", "bbox", "axis_major_length", "axis_minor_length", "intensity_mean")
    rows = []
    for t in range(tracked.shape[0]):
        found = regionprops_table(tracked.read(t), images[0].read(t) - images[1].read(t), wanted)
        rows.append(np.stack([np.full(len(found["label"]), t), *found.values()], axis=1))
    np.savetxt(folder / "peer" / "traces.csv", np.concatenate(rows), "%.6g", ",")


PEERS: dict[str, Callable[[Path, Facts], None]] = {
    "segment_cells": peer_segment,
    "estimate_background": peer_surface,
    "extract_traces": peer_extract,
}


def ours(stage: str, folder: Path) -> None:
    """Run a stage on what lies in the folder."""
    needs = {
        "segment_cells": ["movie"],
        "estimate_background": ["movie", "labels"],
        "extract_traces": ["movie", "tracked", "background"],
    }[stage]
    flags = {"segmentation_method": "logstd"} if stage == "segment_cells" else {}
    files = {name: folder / name for name in needs} | {"facts": folder / "movie.json", "output": folder / "again"}
    if run_stage(f"{LAYER[stage]}.{stage}", folder, batch="0-0", **files, **flags):
        raise SystemExit(f"{stage} failed")


def measure(stage: str, folder: Path, known: Facts, repeats: int) -> tuple[float, float]:
    """Least CPU seconds of ours and of the peer, by turns; a first round is not counted."""
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for who, work in enumerate((lambda: ours(stage, folder), lambda: PEERS[stage](folder, known))):
            for name in ("again", "peer"):
                shutil.rmtree(folder / name, ignore_errors=True)
            write_group(folder / "peer" / fov_name(0) / "images.zarr")
            start = time.process_time()
            work()
            seconds[who].append(time.process_time() - start)
    return min(seconds[0][1:]), min(seconds[1][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("frames", 24), ("size", 1024), ("repeats", 3), ("seed", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        movie = make_movie("sparse", frames=options.frames, size=options.size, seed=options.seed)
        source = write_ome_tiff(folder / "a.ome.tif", [stack_of(movie)])
        if run_timelapse(folder, source, upto="estimate_background", **GIVEN):
            raise SystemExit("the movie cannot be processed")
        known, megapixels = Facts.read(folder / "movie.json"), movie.labels.size / 1e6
        for stage in PEERS:
            best = measure(stage, folder, known, options.repeats)
            rate, peer = (megapixels / s for s in best)
            figures[stage] = {"mpx_per_cpu_s": rate, "peer_mpx_per_cpu_s": peer, "ratio": rate / peer}
            print(f"{OUTPUT[stage]:12s} {rate:6.1f} Mpx per CPU s, peer {peer:6.1f}: {rate / peer:.1f} times", flush=True)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when libraries are imported, so start again with it
        os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
