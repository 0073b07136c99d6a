"""Figures of a trained network on parts of a recipe that it has not learnt from, as JSON.

    python benchmarks/networks.py cells MODEL_DIR DATA [--part validation] [--diameter truth|estimated] [--picture P.png]
    python benchmarks/networks.py neurites MODEL_DIR DATA [--part validation] [--sets fib25 gala vnc] [--picture P.png]

DATA is the folder at which the recipe's paths start. Needs onnxruntime; neurites need waterz too. The decoders are
the simplest that show what a network is worth: flows for cells, seeded watershed and mean affinity for neurites.
`held_back` is looked at once, when everything is chosen. Speeds are per CPU second of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from voxelmill.inference import cells as shipped
from voxelmill.inference.cell_flows import FOLD, WIDTH, decode, normalise
from voxelmill.postprocess.score import score_sections, score_volumes
from voxelmill.testing.timelapse_score import match, segmentation
from voxelmill.training import targets
from voxelmill.training.data import RECIPES, load_recipe

LADDER = (5.0, 8.0, 13.0, 20.0, 32.0, 50.0, 80.0)  # px, widths at which a frame is shown to find the cells' own


def session(folder: Path) -> tuple[onnxruntime.InferenceSession, dict]:
    card = json.loads((folder / "card.json").read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(folder / card["file"], options, providers=["CPUExecutionProvider"]), card


def cell_maps(net: onnxruntime.InferenceSession, frame: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Maps (5, y, x) and scale (y / 2, x / 2) of a frame shrunk so that `diameter` px become WIDTH."""
    shrink = diameter / WIDTH
    size = tuple(max(8, round(n / shrink)) for n in frame.shape[::-1])
    small = cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA if shrink > 1 else cv2.INTER_LINEAR)
    x = normalise(small)
    x = np.pad(x, [(0, -n % FOLD) for n in x.shape], mode="symmetric")
    maps, scale = net.run(None, {"x": x[None, None]})
    return maps[0, :, : size[1], : size[0]], scale[0, 0, : (size[1] + 1) // 2, : (size[0] + 1) // 2]


def estimated(net: onnxruntime.InferenceSession, frame: np.ndarray) -> float:
    """Width of the cells, px: where the network calls them neither wider nor narrower than it expects."""
    seen = []
    for diameter in LADDER:
        maps, scale = cell_maps(net, frame, diameter)
        inside = maps[0, ::2, ::2] > 0
        if inside.sum() > WIDTH:
            sure = float(np.quantile(1 / (1 + np.exp(-maps[2][maps[0] > 0])), 0.9))
            seen.append((np.log2(diameter), float(np.median(scale[inside])), sure))
    # where "wider" turns into "narrower" lies the width; of several turns the one with the surest centres
    turns = [
        (s0 + s1, x0 + (x1 - x0) * up / (up - down)) for (x0, up, s0), (x1, down, s1) in pairwise(seen) if up > 0 >= down
    ]
    if turns:
        return float(2 ** max(turns)[1])
    return float(2 ** max(seen, key=lambda s: s[2])[0]) if seen else LADDER[len(LADDER) // 2]


def cells_of(net: onnxruntime.InferenceSession, frame: np.ndarray, diameter: float) -> np.ndarray:
    maps, _ = cell_maps(net, frame, diameter)
    parts = decode(maps)
    rim = cv2.dilate(parts.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    size = frame.shape[::-1]
    # float32: OpenCV's exact nearest neighbour takes no int32
    labels = cv2.resize(np.where(parts > 0, parts, rim).astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
    inside = cv2.resize(np.ascontiguousarray(maps[0]), size, interpolation=cv2.INTER_LINEAR) > 0
    return labels.astype(np.int32) * inside


def seg(truth: np.ndarray, found: np.ndarray) -> list[float]:
    """The Cell Tracking Challenge's SEG: of each true cell the IoU with what covers over half of it, else 0."""
    area = np.bincount(truth.ravel())
    ious = {t: iou for t, f, iou in match(truth, found, 1e-6)[0] if 2 * ((truth == t) & (found == f)).sum() > area[t]}
    return [ious.get(i, 0.0) for i in np.flatnonzero(area[1:]) + 1]


def cells(args: argparse.Namespace) -> dict:
    net, _ = session(args.model)
    recipe = load_recipe(args.recipe or RECIPES / "cells.json", args.data)
    found: dict[str, dict[str, list]] = {}
    for e in recipe.examples(args.part):
        if args.sets and e.set not in args.sets:
            continue
        truth = e.labels
        width = targets.width(truth)
        find = shipped.cell_diameter_of if args.shipped else lambda frames: estimated(net, *frames)
        diameter = width if args.diameter == "truth" else find([e.image])
        begun = time.process_time()
        labels = shipped.segment(e.image, cell_diameter=diameter) if args.shipped else cells_of(net, e.image, diameter)
        spent = time.process_time() - begun
        row = found.setdefault(e.set, {k: [] for k in ("truth", "labels", "seg", "off", "px", "s")})
        row["truth"].append(truth)
        row["labels"].append(labels)
        row["seg"] += seg(truth, labels)
        row["off"].append(abs(np.log2(diameter / width)))
        row["px"].append(truth.size)
        row["s"].append(spent)
        if args.picture and len(row["px"]) == 1:
            cv2.imwrite(str(args.picture.with_stem(f"{args.picture.stem}_{e.set}")), outlined(e.image, truth, labels))
    keep = ("n_truth", "n_found", "f1_50", "f1_75", "precision", "recall")
    return {
        name: {k: round(v, 3) for k, v in segmentation(r["truth"], r["labels"]).items() if k in keep}
        | {
            "seg": round(float(np.mean(r["seg"])), 3),
            "mpx_per_s": round(sum(r["px"]) / sum(r["s"]) / 1e6, 2),
            "width_off_by": round(float(np.mean(np.exp2(r["off"]))), 2),
        }
        for name, r in found.items()
    }


def outlined(image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Frame with true outlines in yellow and found ones in red, BGR."""
    low, high = np.percentile(image, [1, 99])
    grey = np.clip((image.astype(np.float32) - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)
    out = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for labels, colour in ((truth, (0, 220, 220)), (found, (40, 40, 255))):
        ids = labels.astype(np.float32)
        out[cv2.dilate(ids, np.ones((3, 3))) != ids] = colour
    return out


def affinities(net: onnxruntime.InferenceSession, raw: np.ndarray, card: dict, depth: int = 64) -> np.ndarray:
    """Affinities 0-1 (offset, z, y, x) of a volume, some sections at a time with the halo of the card."""
    halo = card["halo_px"][0]
    x = (raw.astype(np.float32) - np.float32(raw.mean())) / np.float32(raw.std())
    fold = card["input"]["multiple_of"]
    x = np.pad(x, [(0, 0), (0, -raw.shape[1] % fold[2]), (0, -raw.shape[2] % fold[3])], mode="symmetric")
    out = np.empty((len(card["offsets"]), *raw.shape), np.float32)
    for z in range(0, len(raw), depth):
        low, high = max(z - halo, 0), min(z + depth + halo, len(raw))
        logits = net.run(None, {"x": x[None, low:high]})[0][0, :, z - low : z - low + depth]
        out[:, z : z + depth] = 1 / (1 + np.exp(-logits[:, :, : raw.shape[1], : raw.shape[2]]))
    return out


def supervoxels(affinity: np.ndarray, flat: bool) -> np.ndarray:
    """Watershed of the nearest affinities, seeded where the distance to membranes is largest: uint64 (z, y, x)."""
    import cc3d
    import edt
    import SimpleITK as sitk

    inside = affinity[1:3].mean(0) if flat else affinity[:3].mean(0)
    out, offset = np.empty(inside.shape, np.uint64), 0
    for part in range(len(inside)) if flat else [slice(None)]:
        likely = inside[part]
        depth = edt.edt(likely > 0.5)
        smooth = cv2.GaussianBlur(depth, (0, 0), 1.0) if flat else sitk.GetArrayFromImage(
            sitk.DiscreteGaussian(sitk.GetImageFromArray(depth), 1.0)
        )  # fmt: skip
        peaks = sitk.GetArrayFromImage(sitk.RegionalMaxima(sitk.GetImageFromArray(np.round(smooth, 1)), fullyConnected=True))
        seeds = cc3d.connected_components((peaks > 0) & (depth > 0), connectivity=8 if flat else 26).astype(np.uint32)
        height = sitk.GetImageFromArray((1 - likely - 0.02 * smooth).astype(np.float32))
        basins = sitk.MorphologicalWatershedFromMarkers(height, sitk.GetImageFromArray(seeds), False, True)
        labels = sitk.GetArrayFromImage(basins).astype(np.uint64)
        out[part] = np.where(labels > 0, labels + offset, 0)
        offset += int(labels.max())
    return out


def filled(labels: np.ndarray, least: int) -> np.ndarray:
    """Segments of fewer than `least` voxels given to the nearest larger one."""
    from scipy.ndimage import distance_transform_edt

    _, own, count = np.unique(labels, return_inverse=True, return_counts=True)
    small = (count < least)[own].reshape(labels.shape)
    near = distance_transform_edt(small, return_distances=False, return_indices=True)
    return labels[tuple(near)]


def volumes(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray, bool]]:
    """Name, raw, truth, and whether truth is per section. Gala and VNC are for transfer alone, never for training."""
    wanted = args.sets or ["fib25"]
    for e in load_recipe(args.recipe or RECIPES / "neurites.json", args.data).examples(args.part):
        if e.set in wanted:
            yield e.set, e.image, e.labels, False
    for name, file, key in (("gala", "gala_flyem_train", "labels"), ("vnc", "vnc_stack1_z00-04", "labels2d")):
        if name in wanted:
            with np.load(args.data / "em" / f"{file}.npz") as stored:
                yield name, stored["raw"], stored[key].astype(np.int32), name == "vnc"


def neurites(args: argparse.Namespace) -> dict:
    import waterz

    net, card = session(args.model)
    out: dict = {}
    for name, raw, truth, flat in volumes(args):
        begun = time.process_time()
        affinity = affinities(net, raw, card)
        inferred = time.process_time()
        fragments = supervoxels(affinity, flat)
        cut = time.process_time()
        near = affinity[:3].copy()
        if flat:
            near[0] = 0
        thresholds = [0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]  # of 1 - mean affinity
        scoring = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
        rows = {}
        score = score_sections if flat else score_volumes
        for t, merged in zip(thresholds, waterz.agglomerate(near, thresholds, fragments=fragments, scoring_function=scoring)):
            labels = filled(merged.astype(np.int64), 150 if flat else 300)
            result, inner = (score(truth, labels, border=b) for b in (0, 2))
            rows[t] = {k: round(result[k], 3) for k in ("voi_split", "voi_merge", "voi", "arand")}
            rows[t] |= {f"{k}_b2": round(inner[k], 3) for k in ("voi", "arand")}
            if args.picture and t == 0.8:
                middle = len(raw) // 2
                shown = outlined(raw[middle], truth[middle], labels[middle])
                cv2.imwrite(str(args.picture.with_stem(f"{args.picture.stem}_{name}")), shown)
        best = min(rows, key=lambda t: rows[t]["voi"])
        out[name] = {
            "best": {"threshold": best, **rows[best]},
            "curve": {t: r["voi"] for t, r in rows.items()},
            "fragments": int(fragments.max()),
            "network_mvox_per_s": round(raw.size / (inferred - begun) / 1e6, 2),
            "watershed_mvox_per_s": round(raw.size / (cut - inferred) / 1e6, 2),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=("cells", "neurites"))
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", default="validation", choices=("validation", "held_back"))
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--diameter", default="truth", choices=("truth", "estimated"), help="cells: width given, or found")
    parser.add_argument("--shipped", action="store_true", help="cells: as a run segments them, by the shipped network")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the shipped network
    _, card = session(args.model)
    figures = cells(args) if args.kind == "cells" else neurites(args)
    print(json.dumps({"steps": card["training"]["steps"], "part": args.part, **figures}, indent=1))


if __name__ == "__main__":
    main()
