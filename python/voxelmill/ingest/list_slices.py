"""List slices: which of those in a folder are reconstructed, checked against the tables that go with them.

A slice takes part that is there, that the slice configuration (if there is one) uses, and that --debug_slices (if given)
names. Each needs a place by the shifts. What is left out is said by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..core import plans, shifts, slice_config, slices
from ..core.errors import DataError, StorageError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.slice_config import SliceConfig
from ..core.stage import In, Out
from ..core.volume import open_image

SLICE = re.compile(r"(?:mosaic_grid(?:_3d)?_z(\d+)|slice_z(\d+)_normalize)\.ome\.zarr")


class Parameters(Strict):
    """Choice of slices."""

    debug_slices: str = param("", "Only these slices, as in 25,27-29; they come in whatever the slice configuration says")


def run(p: Parameters, task: Task, *, source: In, shifts_xy: In, config: In | None = None, list: Out, used: Out) -> None:
    there = stores(source)
    known = slice_config.read(config) if config else slice_config.of(there)
    wanted = choose(p, task, there, known, config.name if config else "")
    if not wanted:
        raise DataError(
            f"{source.name}: none of {len(there)} slices is used; expected use=true for some in the slice configuration"
        )
    look = partial(look_at, source, there)
    chosen = [n for n, _ in task.each_sound(look, wanted, "stores opened", name=slices.name_of)]
    if not chosen:
        why = task.left_out[slices.name_of(wanted[0])]
        raise DataError(f"{source.name}: none of {len(wanted)} stores can be opened; the first: {why}")
    rows = shifts.read(shifts_xy)
    shifts.places(rows, chosen)
    strangers = {n for row in rows for n in (row.fixed, row.moving)} - set(there) - set(known.rows)
    if strangers and not p.debug_slices:
        task.quarantine(map(slices.name_of, sorted(strangers)), f"named by {shifts_xy.name}, but there is no store")
    plans.write(list, [{**row, "store": there[int(row["slice"])]} for row in slices.tasks(chosen)])
    slice_config.write(used, known.stamped({n: {"use": True} for n in chosen if n not in known.used}))
    task.report(slices=len(chosen), slices_there=len(there))


def stores(folder: Path) -> dict[int, str]:
    """Slice -> name of its store. Raises DataError where there are none, or two of one slice."""
    found: dict[int, str] = {}
    for name in sorted(path.name for path in folder.iterdir()):
        if match := SLICE.fullmatch(name):
            n = int(match[1] or match[2])
            if n in found:
                raise DataError(f"{folder.name}: {found[n]} and {name} are both slice {n}; leave one of them")
            found[n] = name
    if not found:
        raise DataError(
            f"{folder.name}: neither mosaic_grid_3d_zNN.ome.zarr nor slice_zNN_normalize.ome.zarr in it; "
            "expected one a slice, as --workflow mosaic leaves them"
        )
    return found


def look_at(folder: Path, there: dict[int, str], n: int) -> None:
    """Raises DataError where the store of a slice is none."""
    try:
        open_image(folder / there[n]).layout()
    except StorageError as error:
        raise DataError(f"{error}; copy the store again") from None


def choose(p: Parameters, task: Task, there: dict[int, str], known: SliceConfig, table: str) -> Sequence[int]:
    """Slices that take part, in order. Raises DataError where one that --debug_slices names is not there."""
    wanted = slices.chosen(p.debug_slices)
    if wanted is not None:
        absent = sorted(wanted - set(there))
        if absent:
            raise DataError(
                f"--debug_slices {p.debug_slices}: no store of {slices.listed(absent)}; there are {slices.listed(there)}"
            )
        return sorted(wanted)
    absent = [n for n in known.used if n not in there]
    if absent:
        task.quarantine(map(slices.name_of, absent), f"used by {table}, but there is no store")
    unknown = [n for n in there if n not in known.rows]
    if unknown:
        task.quarantine(map(slices.name_of, unknown), f"there is a store, but no row in {table}")
    return [n for n in known.used if n in there]
