"""Read detections: cells that somebody has outlined already, in place of a segmentation of ours.

A label movie (t, y, x), integers, 0 = background: TIFF, NPY, NPZ (`labels`, or its only array) or OME-Zarr.
Several fields of view: an image each (OME-TIFF, OME-Zarr), or a first axis (NPY, NPZ: fov, t, y, x).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import files, pool
from ..core.errors import DataError, ParameterError
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..timelapse.store import Facts, FrameWriter, each_fov
from .inspect_movie import key_of as key_of_movie
from .movies.formats import open_movie

ARRAYS = (".npy", ".npz")
Plane = Callable[[int, int], NDArray]  # field of view, frame -> labels (y, x)
Shapes = list[tuple[int, ...]]  # (t, y, x) of each field of view


class Given(Params):
    """Given cells."""

    detections: str = param("", "Label movie (t, y, x) whose cells are tracked; nothing is segmented then", path=True)


class Parameters(Given, Strict):
    """Cells that are given."""


def run(p: Parameters, task: Task, *, source: Path, facts: In, batch: str, output: Out) -> None:
    known = Facts.read(facts)
    name = p.detections or str(source)
    shapes, _ = pool.opened("labels", partial(open_labels, source.resolve(), name))
    require_one_each(shapes, known, name)
    each_fov(task, known, known.batch(batch), partial(copy, known, source.resolve(), name, output), output=output)


def require_one_each(shapes: Shapes, known: Facts, name: str) -> None:
    """Raise ParameterError unless there is a label movie for each field of view, or one for the only one chosen."""
    if len(shapes) not in (1, len(known.views)) or (len(shapes) == 1 < len(known.chosen)):
        raise ParameterError(
            f"--detections {name} holds {len(shapes)} label movies, the input has "
            f"{len(known.views)} fields of view, of which {len(known.chosen)} are chosen; give "
            "a label movie for each, or choose one with --fovs"
        )


def keys_of(source: Path, batches: Iterable[list[int]]) -> list[str]:
    """Of the files that the labels of fields of view are read from, a key a batch."""
    if source.suffix.lower() in ARRAYS:
        return [files.key(source.parent, [source.name]) for _ in batches]
    with open_movie(source) as movie:
        return [key_of_movie(movie, fovs if len(movie.fovs) > 1 else [0]) for fovs in batches]


def copy(known: Facts, source: Path, name: str, output: Path, fov: int) -> dict[str, Any]:
    """Copy the labels of a field of view; the largest of them."""
    shapes, plane = pool.opened("labels", partial(open_labels, source, name))
    place = fov if len(shapes) > 1 else 0
    if shapes[place] != known.views[fov].shape:
        raise DataError(
            f"--detections {name}: labels of field of view {fov} are {shapes[place]} (t, y, x), "
            f"the movie is {known.views[fov].shape}; they must be equal"
        )
    cells = 0
    with FrameWriter(output, fov, known.labeled(), known, "uint16", label=True) as writer:
        for t in range(shapes[place][0]):
            labels = checked(plane(place, t), f"--detections {name}: field of view {fov}, frame {t}")
            cells = max(cells, int(labels.max()))
            writer.add(labels)
    return {"largest_label": cells}


def checked(labels: NDArray, where: str) -> NDArray:
    """Labels as they are, if they are labels. Raises DataError otherwise."""
    if labels.dtype.kind not in "uib":
        raise DataError(f"{where}: found {labels.dtype}, expected integer labels; give a label image, not an image")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise DataError(f"{where}: found the label {labels.min()}, expected 0 for background and positive labels")
    if labels.max() > np.iinfo(np.uint32).max:
        raise DataError(f"{where}: the label {labels.max()} does not fit into uint32; renumber the labels from 1")
    return labels


@contextmanager
def open_labels(path: Path, name: str) -> Iterator[tuple[Shapes, Plane]]:
    """Shapes of the label movies in a file, and how to read one frame of one of them."""
    if path.suffix.lower() in ARRAYS:
        stack = load_array(path, name)
        yield [stack.shape[1:]] * len(stack), lambda fov, t: stack[fov, t]
        return
    with open_movie(path) as movie:
        if len(movie.channel_names) > 1 or any(view.n_planes > 1 for view in movie.fovs):
            raise DataError(
                f"--detections {name}: found {len(movie.channel_names)} channels and "
                f"{max(v.n_planes for v in movie.fovs)} z planes; expected labels (t, y, x)"
            )
        # the stored values: `read_frame` would refuse ids above 65,535
        yield [(v.n_frames, v.height, v.width) for v in movie.fovs], lambda fov, t: movie._plane(fov, t, 0, 0)


def load_array(path: Path, name: str) -> NDArray:
    """(fov, t, y, x) of an NPY or NPZ file; NPY is mapped, not loaded."""
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(stack, np.ndarray):
            key = "labels" if "labels" in stack.files else stack.files[0] if len(stack.files) == 1 else ""
            if not key:
                raise ParameterError(f"--detections {name}: holds {', '.join(stack.files)}; expected an array `labels`")
            stack = stack[key]
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"--detections {name}: cannot be read ({error}); expected an NPY or NPZ file") from None
    if stack.ndim not in (3, 4) or 0 in stack.shape:
        raise DataError(f"--detections {name}: found shape {stack.shape}, expected (t, y, x) or (fov, t, y, x)")
    return stack[None] if stack.ndim == 3 else stack
