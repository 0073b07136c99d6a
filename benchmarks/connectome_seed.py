"""`connectome`'s compute against the classic notebook's method, stage by stage, on the same data.

    python benchmarks/connectome_seed.py [VOLUME.npz] [--sections N] [--repeat N] [--json OUT]

VOLUME.npz holds ``raw`` (uint8, z y x) and, for the quality figures, ``labels``, or ``labels2d`` when ids do
not go on from section to section, and ``synapses`` (bool). Without it a volume is made. CPU seconds are of
one thread, the least of ``--repeat`` runs, imports not counted; memory is what a stage adds to its inputs
at the peak.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402  (threads are set first)

sys.path.insert(0, str(Path(__file__).resolve().parent))
import seed_method as seed  # noqa: E402
from voxelmill.inference import section_linking, seeded_watershed  # noqa: E402
from voxelmill.postprocess import blobs, score  # noqa: E402
from voxelmill.transform import contrast  # noqa: E402

STAGES = ("preprocess", "segment", "stitch", "synapses")


def made_volume(shape: tuple[int, int, int] = (24, 256, 256), seed: int = 7) -> dict[str, np.ndarray]:
    """EM-like sections: drifting cells, dark membranes, noise, synapses on membranes."""
    import cv2

    rng = np.random.default_rng(seed)
    count = max(shape[1] * shape[2] // 900, 4)
    points = rng.random((count, 2)) * shape[1:]
    drift = rng.normal(0, 0.7, (count, 2))
    raw, labels, synapses = np.empty(shape, np.uint8), np.empty(shape, np.uint16), np.zeros(shape, bool)
    for z in range(shape[0]):
        at = np.mod(points + z * drift, shape[1:])
        site = np.ones(shape[1:], np.uint8)
        y, x = at.astype(int).T
        site[y, x] = 0
        _, nearest = cv2.distanceTransformWithLabels(site, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        names = np.zeros(nearest.max() + 1, np.uint16)
        names[nearest[y, x]] = np.arange(1, count + 1)
        labels[z] = names[nearest]
        membrane = score.near_boundary(labels[z], 1)
        image = 170.0 + 15 * np.sin(labels[z] * 2.4) - 90 * membrane
        for i in rng.choice(np.flatnonzero(membrane), count // 40 + 1):
            cv2.circle(spot := np.zeros(shape[1:], np.uint8), (int(i % shape[2]), int(i // shape[2])), 4, 1, -1)
            synapses[z] |= spot > 0
            image[spot > 0] = 30
        raw[z] = cv2.GaussianBlur(image + rng.normal(0, 25, image.shape), (5, 5), 1.0).clip(0, 255)
    return {"raw": raw, "labels": labels, "synapses": synapses}


def ours_segment(volume: np.ndarray) -> seeded_watershed.Supervoxels:
    return seeded_watershed.segment_block(volume)


def ours_stitch(supervoxels: seeded_watershed.Supervoxels) -> np.ndarray:
    labels = supervoxels.labels
    overlaps = section_linking.concatenate(section_linking.section_overlaps(*pair, step=2) for pair in pairwise(labels))
    return section_linking.remap(labels, section_linking.join(supervoxels.ids, overlaps), step=2)


def measure(function: Callable, *inputs: Any, repeat: int) -> tuple[Any, float, float]:
    """Result, least CPU seconds and added peak memory (MB), each run in a forked child."""
    context = multiprocessing.get_context("fork")

    def run(pipe: Any) -> None:
        import cv2

        cv2.setNumThreads(1)
        function(*(_small(value) for value in inputs))  # imports, and nothing else worth counting
        ctypes.CDLL(None).malloc_trim(0)  # else the stage fills what was freed before, unseen
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        start = time.process_time()
        result = function(*inputs)
        pipe.send((result, time.process_time() - start, _memory("VmHWM") - before))

    best: tuple[Any, float, float] | None = None
    for _ in range(repeat):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=run, args=(sender,))
        child.start()
        sender.close()  # else a child that fails leaves the pipe open and this waiting
        result, seconds, memory = receiver.recv()
        child.join()
        best = (result, min(seconds, best[1]), min(memory, best[2])) if best else (result, seconds, memory)
    return best


def _small(value: Any) -> Any:
    return (
        seeded_watershed.Supervoxels(value.labels[:2], value.ids, value.empty[:2]) if isinstance(value, tuple) else value[:2]
    )


def _memory(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def quality(data: dict[str, np.ndarray], labels: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Scores of a segmentation and of synapse places ``(n, 3)`` against what truth there is."""
    figures: dict[str, float] = {}
    keys = ("voi_split", "voi_merge", "arand")
    labels = labels.astype(np.uint64)
    if "labels" in data:
        figures |= {f"{key} 3-D": v for key, v in score.score_volumes(data["labels"], labels).items() if key in keys}
    truth = data.get("labels", data.get("labels2d"))
    if truth is not None:
        figures |= {f"{key} 2-D": v for key, v in score.score_sections(truth, labels).items() if key in keys}
    if "synapses" in data:
        figures |= synapse_quality(data["synapses"], places)
    return figures


def synapse_quality(truth: np.ndarray, places: np.ndarray, tolerance: float = 10.0, min_size: int = 25) -> dict[str, float]:
    """Share of places within ``tolerance`` px of a true profile, and of profiles with a place that near."""
    import cv2

    found, total, right = 0, 0, np.zeros(len(places), bool)
    for z, section in enumerate(truth):
        here = np.flatnonzero(places[:, 0] == z)
        count, profiles, stats, _ = cv2.connectedComponentsWithStats(section.astype(np.uint8), connectivity=8)
        for profile in range(1, count):
            if stats[profile, cv2.CC_STAT_AREA] < min_size:
                continue
            away = cv2.distanceTransform((profiles != profile).astype(np.uint8), cv2.DIST_L2, 5)
            near = away[places[here, 1], places[here, 2]] <= tolerance
            total, found = total + 1, found + bool(near.any())
            right[here[near]] = True
    return {"synapse recall": found / max(total, 1), "synapse precision": float(right.mean()) if len(right) else 0.0}


def compare(data: dict[str, np.ndarray], repeat: int) -> dict[str, Any]:
    """Run both chains on ``data``; each stage gets what its own chain made before it."""
    raw = data["raw"]
    rows: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    figures = {}
    chains = {
        "notebook": (seed.preprocess, seed.segment, seed.stitch, seed.synapses),
        "voxelmill": (contrast.enhance, ours_segment, ours_stitch, blobs.detect),
    }
    for name, (preprocess, segment, stitch, synapses) in chains.items():
        cost = {}
        image, *cost["preprocess"] = measure(preprocess, raw, repeat=repeat)
        parts, *cost["segment"] = measure(segment, image, repeat=repeat)
        labels, *cost["stitch"] = measure(stitch, parts, repeat=repeat)
        rows_found, *cost["synapses"] = measure(synapses, image, labels, repeat=repeat)
        for stage, (seconds, memory) in cost.items():
            rows[stage] |= {f"{name}_cpu_s": seconds, f"{name}_peak_mb": memory}
        places = np.array([[row[0], row[1], row[2]] for row in rows_found], int).reshape(-1, 3)
        figures[name] = quality(data, labels, places) | {"candidates": len(places)}
    total = {key: sum(row[key] for row in rows.values()) for key in ("notebook_cpu_s", "voxelmill_cpu_s")}
    total |= {key: max(row[key] for row in rows.values()) for key in ("notebook_peak_mb", "voxelmill_peak_mb")}
    rows["total"] = total
    for row in rows.values():
        row["speedup"] = row["notebook_cpu_s"] / row["voxelmill_cpu_s"]
        row["voxelmill_mvox_per_cpu_s"] = raw.size / 1e6 / row["voxelmill_cpu_s"]
    return {"shape": list(raw.shape), "stages": rows, "quality": figures}


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = [f"volume {result['shape']} (z, y, x), one thread", ""]
    lines.append(f"{'stage':<12}{'notebook':>12}{'voxelmill':>12}{'ratio':>8}{'Mvox/s':>9}{'peak MB':>16}")
    for stage, row in result["stages"].items():
        peak = f"{row['notebook_peak_mb']:.0f} / {row['voxelmill_peak_mb']:.0f}"
        lines.append(
            f"{stage:<12}{row['notebook_cpu_s']:>10.3f} s{row['voxelmill_cpu_s']:>10.3f} s"
            f"{row['speedup']:>8.1f}{row['voxelmill_mvox_per_cpu_s']:>9.1f}{peak:>16}"
        )
    lines.append("")
    for key in result["quality"]["notebook"]:
        values = (result["quality"][name][key] for name in ("notebook", "voxelmill"))
        lines.append(
            f"{key:<20}" + "".join(f"{value:>12.3f}" if isinstance(value, float) else f"{value:>12}" for value in values)
        )
    return "\n".join(lines)


def main() -> None:
    import cv2

    cv2.setNumThreads(1)  # before any fork: a child would wait for threads that it does not have
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "volume", nargs="?", type=Path, help="npz with raw (and labels, synapses), or `demo`; default: a made volume"
    )
    parser.add_argument("--sections", type=int, help="use the first N sections")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each stage; the fastest counts")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    if arguments.volume == Path("demo"):
        crop = Path(__file__).resolve().parents[1] / "assets/demo"
        data = {"raw": np.load(crop / "fib25_crop.npz")["raw"], "labels": np.load(crop / "fib25_truth.npz")["labels"]}
    elif arguments.volume:
        with np.load(arguments.volume) as archive:
            data = {key: archive[key] for key in ("raw", "labels", "labels2d", "synapses") if key in archive.files}
    else:
        data = made_volume()
    data = {key: value[: arguments.sections] for key, value in data.items()}
    result = compare(data, arguments.repeat)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
