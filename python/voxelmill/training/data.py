"""What a network is trained on: images and labels of a recipe, split by field, volume or region, never by patch.

A recipe is a JSON file; it names the sets and says which part of each trains, which chooses (validation) and which
is held back (looked at once, at the end):

    {"kind": "cells", "sets": [{
        "name": "t98g", "licence": "MIT", "attribution": "...", "weight": 0.45,
        "image": "t98g_train/set{}.npz", "image_key": "phase", "labels": "t98g_train/set{}.npz",
        "parts": {"train": {"files": ["02", "03"]}, "validation": {"files": ["06"]}}}]}

`files` fill the braces; `region` cuts [start, stop] of each axis (null = all of it). A set with `made` in place of
files comes from `voxelmill.testing.timelapse`. Paths are relative to a folder given beside the recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import tables
from ..core.errors import DataError, ParameterError, StorageError

RECIPES = Path(__file__).with_name("recipes")
PARTS = ("train", "validation", "held_back")
FEW = 10  # sections of which no fifth can be spared
UNSURE = -1  # of a place that is no truth either way
NONE = np.zeros((0, 0))  # in place of an image that is kept elsewhere


@dataclass(frozen=True)
class Example:
    """An image with its labels, both (z, y, x) (neurites) or (y, x) (cells)."""

    set: str
    name: str
    image: np.ndarray
    labels: np.ndarray
    weight: float = 1.0  # how often the set is drawn, over the sum of all sets
    voxel_size: tuple[float, ...] = ()  # nm, (z, y, x)


@dataclass(frozen=True)
class Recipe:
    kind: str
    root: Path
    sets: list[dict[str, Any]] = field(default_factory=list)

    def examples(self, part: str) -> Iterator[Example]:
        """All images of a part, frame by frame for cells. Raises DataError where images and labels disagree."""
        if part not in PARTS:
            raise ParameterError(f"part {part!r} is unknown; expected one of {', '.join(PARTS)}")
        for one in self.sets:
            how = one.get("parts", {}).get(part)
            if how is None:
                continue
            where = _made(how) if one.get("made") else self._read(one, how)
            for name, image, labels in where:
                if image.shape != labels.shape:
                    raise DataError(f"{name}: image {image.shape} and labels {labels.shape}; expected the same shape")
                frames = [(name, image, labels)]
                if self.kind == "cells" and image.ndim == 3:
                    frames = [(f"{name}:{t}", image[t], labels[t]) for t in range(len(image))]
                for title, i, l in frames:
                    size = tuple(one.get("voxel_size", ()))
                    yield Example(one["name"], title, i, l.astype(np.int32), one.get("weight", 1.0), size)

    def _read(self, one: dict[str, Any], how: dict[str, Any]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for file in how.get("files", [""]):
            paths = [str(self.root / one[k].format(file)) for k in ("image", "labels")]
            keys = one.get("image_key", ""), one.get("labels_key", "")
            image = read(paths[0], self.kind, keys[0], "image")
            if self.kind == "synapses" and paths[1].endswith(".csv"):
                here, shipped = Path(paths[1]), RECIPES / one["labels"]
                labels = paint(here if here.is_file() or not shipped.is_file() else shipped, image.shape)
            else:
                labels = read(paths[1], self.kind, keys[1], "labels")
            region = tuple(slice(*r) if r else slice(None) for r in how.get("region", []))
            yield f"{one['name']}/{file or Path(paths[0]).stem}", image[region], labels[region]

    def said(self) -> list[dict[str, Any]]:
        """What the model's card says of its data: name, licence, attribution and parts of each set."""
        return [{k: s[k] for k in ("name", "licence", "attribution", "parts") if k in s} for s in self.sets]


def paint(table: Path, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The places of a table as voxels of a volume: 1 on for synapses, UNSURE, 0 elsewhere.

    Raises DataError for a table without the columns, and places beyond the volume."""
    labels = np.zeros(shape, np.int32)
    for n, (line, row) in enumerate(tables.read(table, (*"zyx", "verdict"))[1], 1):
        try:
            at = tuple(int(row[axis]) for axis in "zyx")
        except ValueError as error:
            raise DataError(f"{table}, line {line}: {error}; expected z, y, x in whole voxels") from None
        if any(not 0 <= p < s for p, s in zip(at, shape, strict=True)):
            raise DataError(f"{table}, line {line}: {at} lies outside the volume of {shape} voxels (z, y, x)")
        if row["verdict"] in ("synapse", "unsure"):
            labels[at] = n if row["verdict"] == "synapse" else UNSURE
    return labels


def load_recipe(path: Path, root: Path) -> Recipe:
    try:
        told = json.loads(path.read_text())
        return Recipe(told["kind"], root, told["sets"])
    except OSError as error:
        raise StorageError(f"{path}: no recipe here ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a recipe ({error}); expected JSON with kind and sets") from error


def own_recipe(
    kind: str, images: list[str], labels: list[str], voxel_size: tuple[float, ...] = (), licence: str = "not stated"
) -> Recipe:
    """A recipe of a user's own files, paired in order.

    Of several files the last fifth (at least one) is for validation; of a single one the last fifth of its first
    axis: sections, frames, or rows of a single frame. Of a volume of fewer than FEW sections the last fifth of rows.
    """
    if len(images) != len(labels):
        raise ParameterError(f"{len(images)} images and {len(labels)} labels; expected as many, in the same order")
    sets = []
    held = max(1, len(images) // 5) if len(images) > 1 else 0
    for i, (image, label) in enumerate(zip(images, labels)):
        size = voxel_size or (stated_size(image) if kind != "cells" else ())
        own: dict[str, Any] = {"name": Path(image).stem, "image": image, "labels": label, "licence": licence}
        own["voxel_size"] = size
        # names with braces are names
        own |= {k: own[k].replace("{", "{{").replace("}", "}}") for k in ("image", "labels")}
        if held:
            parts: dict[str, Any] = {"validation" if i >= len(images) - held else "train": {}}
        else:
            shape = read(image, kind, "", "image").shape
            whole: list[Any] = [None] if kind != "cells" and shape[0] < FEW else []
            cut = round(0.8 * shape[len(whole)])
            parts = {"train": {"region": [*whole, [0, cut]]}, "validation": {"region": [*whole, [cut, None]]}}
        sets.append(own | {"parts": parts})
    return Recipe(kind, Path(), sets)


def stated_size(path: str) -> tuple[float, ...]:
    """Voxel size (z, y, x) in nm as a volume's file states it; () where it does not."""
    from ..ingest.volumes.formats import open_source

    return open_source(path).placed.size or ()


def read(path: str, kind: str, key: str, what: str) -> np.ndarray:
    """An image or its labels: for neurites any volume the pipeline reads; for cells TIFF, NPY or NPZ."""
    if kind != "cells":
        from ..ingest.volumes.formats import open_source

        source = open_source(path, key, labels=what == "labels")
        return source.read(tuple(slice(0, n) for n in source.shape))
    file = Path(path)
    if not file.is_file():
        raise StorageError(f"{path}: no such file")
    if file.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        array = tifffile.imread(file)
    elif file.suffix.lower() in (".npy", ".npz"):
        array = np.load(file)
        if file.suffix.lower() == ".npz":
            usual = [key] if key else ["labels"] if what == "labels" else ["phase", "image", "raw"]
            chosen = next((k for k in usual if k in array.files), None)
            if chosen is None:
                raise DataError(f"{path}: holds {', '.join(array.files)}; expected {' or '.join(usual)}")
            array = array[chosen]
    else:
        raise ParameterError(f"{path}: no reader for {what} of cells in this format; expected TIFF, NPY or NPZ")
    if array.ndim not in (2, 3):
        raise DataError(f"{path}: {what} of shape {array.shape}; expected (y, x) or (t, y, x)")
    return array


def _made(how: dict[str, Any]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    from ..testing.timelapse import make_movie

    for preset in how["presets"]:
        for seed in how["seeds"]:
            movie = make_movie(preset, frames=how.get("frames", 9), size=how.get("size", 448), channels=0, seed=seed)
            take = [0, how.get("frames", 9) - 1]
            yield f"made/{preset}{seed}", movie.phase[take], movie.labels[take]


def chances(examples: list[Example]) -> np.ndarray:
    """How often each example is drawn: the weight of its set shared by the set's examples; float64, sums to 1."""
    many: dict[str, int] = {}
    for e in examples:
        many[e.set] = many.get(e.set, 0) + 1
    each = np.array([e.weight / many[e.set] for e in examples])
    return each / each.sum() if len(each) else each
