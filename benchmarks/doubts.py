"""How often good outlines are called doubtful, and bad ones are not, on real phase contrast that was altered.

    python benchmarks/doubts.py DATA [--part held_back] [--sets t98g,c2c12] [--looks looks.jsonl]

DATA is where the recipe's paths start. Each field is shown as it is and altered: clipped, bent by gamma, striped, lit
unevenly, of few grey values, in another size, blurred, noisy, shifted in every second line. Width and outlines are found as
in a run of that one frame. Outlines are good where F1 at IoU 0.5 against what people drew is at most 0.05 below that of the
field as it is, bad where it is more than 0.3 below. What `cell_doubt` says was chosen on the validation fields.
`--looks` keeps what was measured of each, a line of JSON, and judges it anew where the file is there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from scipy import ndimage as ndi
from voxelmill.inference import cell_doubt, cells
from voxelmill.training import targets
from voxelmill.training.data import RECIPES, load_recipe

GOOD, BAD = 0.05, 0.3  # F1 lost at most, and at least
SIDES = 60, 3000  # px, between which a scaled field is shown


def altered(image: np.ndarray, width: float, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Names and images (y, x) of the same size."""
    height, across = image.shape
    y, x = np.mgrid[:height, :across]
    low, high = (float(v) for v in np.percentile(image, (0.1, 99.9)))
    part = np.clip((image - low) / (high - low), 0, 1)
    yield "as it is", image
    for name, limits in {"above": (0, 70), "below": (30, 100), "on both sides": (15, 85)}.items():
        yield f"clipped {name}", np.clip(image, *np.percentile(image, limits)).astype(image.dtype)
    for gamma in (0.3, 3):
        yield f"gamma {gamma:g}", np.round(60_000 * part**gamma).astype(np.uint16)
    yield "stripes", np.where(x % 2, image, 0.8 * image).astype(image.dtype)
    spot = np.exp(-((y - 0.3 * height) ** 2 + (x - 0.3 * across) ** 2) / (2 * (0.12 * min(height, across)) ** 2))
    for strength in (0.5, 3):
        yield f"spot of light, {strength:g} times", (image + strength * (high - low) * spot).astype(np.float32)
    corner = ((y - height / 2) ** 2 + (x - across / 2) ** 2) / ((height / 2) ** 2 + (across / 2) ** 2)
    yield "dark corners", (image * (1 - 0.8 * corner)).astype(np.float32)
    yield "light from one side", (image * (0.2 + 0.8 * x / across)).astype(np.float32)
    for levels in (16, 6):
        yield f"{levels} grey values", np.round(part * (levels - 1)).astype(np.uint8)
    packed = cv2.imencode(".jpg", np.round(255 * part).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    yield "JPEG of quality 20", cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
    for sigma in (2, 4, 8):
        yield f"blur {sigma} px", ndi.gaussian_filter(image.astype(np.float32), sigma)
    for share in (0.5, 1, 2):
        yield f"noise {share:g} sd", (image + rng.normal(0, share * image.std(), image.shape)).astype(np.float32)
    comb = image.copy()
    comb[1::2] = np.roll(image[1::2], max(2, int(width / 3)), 1)
    yield "lines shifted", comb


def scaled(image: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for factor in (0.25, 0.5, 0.7, 1.5, 2, 3):
        size = tuple(round(n * factor) for n in image.shape[::-1])
        if SIDES[0] <= min(size) and max(size) <= SIDES[1]:
            how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
            small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT)
            yield f"scale {factor:g}", cv2.resize(image.astype(np.float32), size, interpolation=how), small.astype(np.int32)


def f1(truth: np.ndarray, found: np.ndarray) -> float:
    names, truth = np.unique(truth, return_inverse=True)
    n = len(names) - 1 + int(found.max())
    return 2 * cell_doubt.matched(truth.reshape(found.shape), found) / max(n, 1)


def looked_at(image: np.ndarray, labels: np.ndarray) -> dict:
    """F1 of a frame, the width that was found, px, and what was measured for its doubts."""
    width = cells.cell_diameter_of([image])
    with mock.patch.object(cell_doubt, "doubts", lambda looks, _: looks):
        looks = cells.doubts_of([image], width)
    found = cells.segment(image, cell_diameter=width, min_object_size=1, max_object_size=image.size)
    return {"f1": f1(labels, found), "width": width, "looks": [asdict(look) for look in looks]}


def measure(data: Path, part: str, sets: list[str]) -> Iterator[dict]:
    for k, e in enumerate(load_recipe(RECIPES / "cells.json", data).examples(part)):
        if e.set not in sets:
            continue
        image, labels = np.asarray(e.image), np.asarray(e.labels).astype(np.int32)
        shown = [(name, one, labels) for name, one in altered(image, targets.width(labels), np.random.default_rng(k))]
        for name, one, truth in (*shown, *scaled(image, labels)):
            yield {"set": e.set, "field": k, "name": name, **looked_at(one, truth)}


def judge(rows: list[dict]) -> None:
    """Counts of each alteration, and which good fields were named for what."""
    usual = {(r["set"], r["field"]): r["f1"] for r in rows if r["name"] == "as it is"}
    counts = {name: Counter[str]() for name in dict.fromkeys(r["name"] for r in rows)}
    for r in rows:
        said = cell_doubt.doubts([cell_doubt.Look(**look) for look in r["looks"]], r["width"])
        lost = usual[r["set"], r["field"]] - r["f1"]
        kind = "good" if lost <= GOOD else "bad" if lost > BAD else "worse"
        counts[r["name"]].update({kind: 1, f"{kind} doubted": bool(said)})
        if kind == "good" and said:
            print(f"  good and doubted: {r['set']} {r['field']} {r['name']}: {' | '.join(one[:70] for one in said)}")
    print(f"{'':26} good  doubted   worse  not     bad  not")
    for name, n in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        free = {kind: n[kind] - n[f"{kind} doubted"] for kind in ("worse", "bad")}
        print(f"{name:26} {n['good']:4} {n['good doubted']:8} {n['worse']:7} {free['worse']:4} {n['bad']:7} {free['bad']:4}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", default="held_back", choices=["train", "validation", "held_back"])
    parser.add_argument("--sets", default="t98g,c2c12")
    parser.add_argument("--looks", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.looks and given.looks.is_file():
        rows = [json.loads(line) for line in given.looks.read_text().splitlines()]
    else:
        rows = list(measure(given.data, given.part, given.sets.split(",")))
        if given.looks:
            given.looks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge(rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
