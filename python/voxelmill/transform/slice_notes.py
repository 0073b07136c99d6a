"""What a step on a slice found: numbers for the record, arrays for the pictures (`serving/slice_preview.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..core import slices
from ..core.errors import DataError
from ..core.provenance import Task

Notes = dict[str, Any]


def keep(task: Task, notes: Notes, path: Path | None) -> None:
    """Numbers go into the record, arrays into a file, if one is wanted."""
    task.report(**{name: value for name, value in notes.items() if not isinstance(value, np.ndarray)})
    if path is not None:
        with open(path, "wb") as file:
            arrays: Any = {name: value for name, value in notes.items() if isinstance(value, np.ndarray)}
            np.savez(file, **arrays)


def of_voxels(grid: Any) -> Notes:
    """What a user must know of voxels that are no number, and of saturated ones, where `grid` is a `tile_grid.TileGrid`."""
    lost: dict[int, int] = getattr(grid, "lost", {})
    tops: dict[int, tuple[float, float]] = getattr(grid, "full", {})
    full = {i: part for i, (part, most) in tops.items() if most >= max(most for _, most in tops.values())}
    found = Notes()
    if lost:
        most = max(lost, key=lost.__getitem__)
        told = f"{sum(lost.values())} voxels of {len(lost)} tiles are NaN or infinite, most in tile {most}"
        found["notes_numbers"] = f"{told}; they count as not acquired"
    if full:
        worst = max(full, key=full.__getitem__)
        told = f"{len(full)} tiles are saturated, most tile {worst}, of which {full[worst]:.0%} have the highest value"
        found["notes_saturated"] = f"{told}; light and shadows there are not to be believed"
    return found


def read_notes(paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """The arrays of several files."""
    found: dict[str, np.ndarray] = {}
    for path in paths:
        with np.load(path) as arrays:
            found |= {name: arrays[name] for name in arrays}
    return found


def one_step(task: Task, output: Path, notes: Path | None, step: Callable[[], tuple[Any, Notes]]) -> None:
    """Take a step on a slice or its tiles, keep what it found, and write what it made (a grid or a slice)."""
    with or_left_out(task):
        made, found = step()
        keep(task, found, notes)
        made.save(output)
        task.report(**of_voxels(made))


@contextmanager
def or_left_out(task: Task) -> Iterator[None]:
    """A slice of which a step can make nothing is left out by name, and harms no other."""
    try:
        yield
    except DataError as error:
        if getattr(task.params, "strict", False):
            raise
        task.leave_out(str(error), slices.name_of(slices.number_of(task.block)))
