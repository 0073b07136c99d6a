"""How often an image in DIC is told from phase contrast by the side on which its cells are lit (`cell_doubt.lit_of`).

    python benchmarks/dic.py               20 made movies, of seeds that chose nothing
    python benchmarks/dic.py --data DATA   and the real fields held back; DATA is where the recipe's paths start

DIC is made of what is known: the slope, along each of three directions, of the image itself, of domes on the true cells, and
of these in noise. The width of cells is the true one. Images as they are count as named wrongly where they are named.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage as ndi
from voxelmill.inference.cell_doubt import MOST_LIT, lit_of
from voxelmill.inference.cell_flows import WIDTH
from voxelmill.testing.timelapse import PRESETS, make_movie
from voxelmill.training import targets
from voxelmill.training.data import RECIPES, load_recipe

DEGREES = (45, 100, 225)
SEEDS = range(4101, 4106)


def slope(image: np.ndarray, degrees: float) -> np.ndarray:
    """Of an image (y, x), smoothed by 1 px, along a direction."""
    along_y, along_x = np.gradient(ndi.gaussian_filter(image.astype(np.float32), 1))
    return np.sin(np.deg2rad(degrees)) * along_y + np.cos(np.deg2rad(degrees)) * along_x


def kinds(
    frame: np.ndarray, labels: np.ndarray, degrees: float, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """The same cells (y, x) in DIC lit from one side, in three ways."""
    domes = slope(np.sqrt(np.minimum(ndi.distance_transform_edt(labels), 10)), degrees)
    yield "slope of the image", slope(frame, degrees)
    yield "slope of domes", domes
    yield "slope of domes, in noise", domes + rng.normal(0, domes.std() / 2, domes.shape)


def is_named(image: np.ndarray, width: float) -> bool:
    """Whether an image (y, x) of cells of a width, px, is called DIC when it is shrunk as the network sees it."""
    size = tuple(max(8, round(n * WIDTH / width)) for n in image.shape[::-1])
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR)
    return lit_of(small) > MOST_LIT


def count(name: str, fields: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
    named, asked, rng = Counter[str](), Counter[str](), np.random.default_rng(0)
    for frame, labels in fields:
        width = targets.width(labels)
        shown = [("as it is", frame)] + [one for degrees in DEGREES for one in kinds(frame, labels, degrees, rng)]
        for kind, image in shown:
            asked[kind] += 1
            named[kind] += is_named(image, width)
    print(name + "".join(f"\n  {kind:<26} {named[kind]} of {asked[kind]}" for kind in asked), flush=True)


def made() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for preset in PRESETS:
        for seed in SEEDS:
            movie = make_movie(preset, frames=1, size=384, channels=0, seed=seed)
            yield movie.phase[0], movie.labels[0].astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    count("made movies, named as DIC", made())
    for part in ("validation", "held_back") if given.data else ():
        by_set = defaultdict(list)
        for e in load_recipe(RECIPES / "cells.json", given.data).examples(part):
            by_set[e.set].append((e.image, e.labels))
        for name, fields in by_set.items():
            count(f"{name}, {part}, named as DIC", iter(fields))


if __name__ == "__main__":
    main()
