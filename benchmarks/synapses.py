"""Precision, recall and F1 of synapses within 150 nm, the network's beside the notebook's dark blobs; JSON.

    python benchmarks/synapses.py fib25 DATA [--z 100 150] [--model MODEL_DIR]     places annotated by eye, in the package
    python benchmarks/synapses.py vnc DATA --model MODEL_DIR [--z 4 5]             class 223, components in 3-D

DATA is the folder that holds em/. FIB-25 z 0-99 is what the shipped model has learnt from. VNC may not be shipped, nor a
model of it: make one here (`--prepare FOLDER` writes z 0-3 and its synapses for `voxelmill train --kind synapses`).

Each true synapse is found by at most one detection, and each detection finds at most one; the pairs are those that find
most. A true place of VNC is all voxels of a component. Detections near a place called unsure count neither way. Blobs are
given the true neurites; `blobs, best` keeps of those within 120 nm the best, as the network's are kept. Sections go through
the workflow's contrast first. `threshold of the other half`: the volume is cut in two along y, and each half is counted at
the threshold that is best in the other, so that none is chosen where it is counted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from voxelmill.postprocess import blobs, densities
from voxelmill.postprocess.partners import partners, reach
from voxelmill.postprocess.synapses import MODEL, network
from voxelmill.training.data import RECIPES, paint
from voxelmill.transform.contrast import enhance

WITHIN = 150.0  # nm
CHOICES = np.arange(0.1, 0.91, 0.05).round(2)  # thresholds to choose from
FIB = "em/fib25_t2_z000-149.npz", "fib25_synapses.csv", (10.0, 10.0, 10.0)
VNC = "em/vnc_stack1_z00-04.npz", (50.0, 4.6, 4.6)


def score(truth: list[np.ndarray], found: np.ndarray, unsure: np.ndarray) -> dict[str, float]:
    """truth: of each synapse its places, nm (n, 3); found, unsure: places, nm."""
    near = np.array([cKDTree(places).query(found)[0] <= WITHIN for places in truth]).reshape(len(truth), len(found))
    pairs = linear_sum_assignment(near, maximize=True)
    right = near[pairs]
    used = np.zeros(len(found), bool)
    used[pairs[1][right]] = True
    left = np.zeros(len(found), bool)
    if len(unsure) and len(found):
        left = ~used & (cKDTree(unsure).query(found)[0] <= WITHIN)
    return figures(len(truth), int((~left).sum()), int(right.sum())) | {"near_unsure": int(left.sum())}


def figures(true: int, found: int, right: int) -> dict[str, float]:
    return {
        "true": true,
        "found": found,
        "right": right,
        "precision": round(right / max(found, 1), 4),
        "recall": round(right / max(true, 1), 3),
        "f1": round(2 * right / max(found + true, 1), 3),
    }


def crossed(truth: list[np.ndarray], found: np.ndarray, said: np.ndarray, unsure: np.ndarray, middle: float) -> dict:
    """Halves along y below and above `middle`, nm, each at the threshold that has the best F1 in the other one, together."""
    halves = []
    for upper in (False, True):
        here = found[:, 1] >= middle if upper else found[:, 1] < middle
        own = [t for t in truth if (t[:, 1].mean() >= middle) == upper]
        halves.append({t: score(own, found[here & (said >= t)], unsure) for t in CHOICES.tolist()})
    chosen = [max(half, key=lambda t: half[t]["f1"]) for half in reversed(halves)]
    counts = [half[t] for half, t in zip(halves, chosen)]
    return figures(*(sum(c[name] for c in counts) for name in ("true", "found", "right"))) | {"thresholds": chosen}


def fib(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, tuple]:
    file, table, scale = FIB
    with np.load(args.data / file) as stored:
        raw, labels = stored["raw"], stored["labels"]
    painted = paint(RECIPES / table, raw.shape)
    painted[: args.z[0]] = painted[args.z[1] :] = 0
    truth = [at[None] * np.array(scale) for at in np.argwhere(painted > 0)]
    return raw, labels, truth, np.argwhere(painted < 0) * np.array(scale), scale


def vnc(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray, tuple]:
    file, scale = VNC
    with np.load(args.data / file) as stored:
        raw, labels, synapse = stored["raw"], stored["labels2d"], stored["classes"] == 223
    if args.prepare:
        args.prepare.mkdir(parents=True, exist_ok=True)
        np.save(args.prepare / "raw.npy", raw[:4])
        np.save(args.prepare / "synapses.npy", synapse[:4].astype(np.uint8))
    synapse[: args.z[0]] = synapse[args.z[1] :] = False
    found, many = ndimage.label(synapse, np.ones((3, 3, 3)))
    return raw, labels, [np.argwhere(found == i) * np.array(scale) for i in range(1, many + 1)], np.zeros((0, 3)), scale


def sides(table: Path, labels: np.ndarray, scale: tuple, z: list[int]) -> str:
    """In how many places whose presynaptic body the annotator named `partners` names the same, true neurites given."""
    import csv

    right = many = 0
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            at = [int(row[axis]) for axis in "zyx"]
            if row["pre_body"] and z[0] <= at[0] < z[1]:
                box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(at, reach(scale)))
                got = partners(labels[box], [c - b.start for c, b in zip(at, box)], scale)
                many, right = many + 1, right + (got is not None and got.pre == int(row["pre_body"]))
    return f"{right} of {many}"


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("which", choices=("fib25", "vnc"))
    top.add_argument("data", type=Path)
    top.add_argument("--model", type=Path, default=MODEL)
    top.add_argument("--z", type=int, nargs=2)
    top.add_argument("--threshold", type=float, nargs="+", default=[0.3])
    top.add_argument("--prepare", type=Path)
    args = top.parse_args()
    args.z = args.z or ([100, 150] if args.which == "fib25" else [4, 5])
    raw, labels, truth, unsure, scale = (fib if args.which == "fib25" else vnc)(args)
    image = enhance(raw)
    begun = time.process_time()
    at, said = densities.detect(network(args.model), image, scale, min(*args.threshold, CHOICES[0]))
    spent = time.process_time() - begun

    def within(places: np.ndarray) -> np.ndarray:
        return places[(places[:, 0] >= args.z[0]) & (places[:, 0] < args.z[1])] * np.array(scale)

    told = {f"learned, {t}": score(truth, within(at[said >= t]), unsure) for t in args.threshold}
    inside = (at[:, 0] >= args.z[0]) & (at[:, 0] < args.z[1])
    told["learned, threshold of the other half"] = crossed(
        truth, within(at), said[inside], unsure, raw.shape[1] / 2 * scale[1]
    )
    rows = blobs.detect(image, labels, np.tile([0, 255], (len(image), 1)))
    places = np.stack([rows[axis] for axis in "zyx"], 1)
    told["blobs"] = score(truth, within(places), unsure)
    told["blobs, best"] = score(truth, within(places[densities.best(places, rows["score"], scale)]), unsure)
    told["Mvoxel a CPU s"] = round(raw.size / spent / 1e6, 2)
    if args.which == "fib25":
        told["presynaptic side as annotated"] = sides(RECIPES / FIB[1], labels, scale, args.z)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
