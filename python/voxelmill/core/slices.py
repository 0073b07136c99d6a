"""Slices of a series of serial sections: their numbers, and the names that files and tasks have of them.

slice 7    z07     mosaic_grid_3d_z07.ome.zarr        two digits at least; numbers are compared as numbers
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import DataError

if TYPE_CHECKING:  # the head of a run has the standard library alone
    from .plans import Row

# Stages on one slice, whose number is the block of their records.
STEPS = ("resample_mosaic_grid", "fix_focal_curvature", "fix_illumination", "stitch_3d_with_refinement",
         "beam_profile_correction", "crop_interface", "normalize", "prepare_slice")  # fmt: skip

_NUMBER = re.compile(r"z?(\d+)(?:\.0+)?")


def name_of(number: int) -> str:
    """`z07`, `z123`."""
    return f"z{number:02d}"


def label_of(block: int | str) -> str:
    """`z07` for 7, `7` or `z7`; what is no number, as it is."""
    number = _NUMBER.fullmatch(str(block))
    return name_of(int(number[1])) if number else str(block)


def in_order(block: int | str) -> tuple[bool, int, str]:
    """To sort by: numbers, then what is none."""
    number = _NUMBER.fullmatch(str(block))
    return not number, int(number[1]) if number else 0, str(block)


def listed(blocks: Iterable[int | str], most: int = 8) -> str:
    """`z00, z01 and 3 more`, in order."""
    found = list(dict.fromkeys(label_of(block) for block in sorted(blocks, key=in_order) if block != ""))
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def number_of(text: str, where: object = "") -> int:
    """Of `7`, `07`, `7.0` (as other tools write ids) or `z07`. Raises DataError for anything else."""
    found = _NUMBER.fullmatch(text.strip())
    if not found:
        raise DataError(f"{f'{where}: ' if where else ''}slice {text!r}; expected a number such as 7 or z07")
    return int(found[1])


def tasks(numbers: Iterable[int]) -> list[Row]:
    """A task a slice (`core/plans.py`), in order."""
    return [{"id": name_of(n), "slice": str(n)} for n in sorted(numbers)]


def in_name(name: str) -> int:
    """The number in the name of a slice's store, such as mosaic_grid_3d_z07.ome.zarr. Raises DataError without one."""
    found = re.search(r"_z(\d+)", name)
    if not found:
        raise DataError(f"{name}: no slice in this name; expected one such as mosaic_grid_3d_z07.ome.zarr")
    return int(found[1])


def chosen(text: str, where: str = "debug_slices") -> set[int] | None:
    """Of `25,27-29`; nothing chosen: None. Raises DataError for what is no list of slices; `where` it stands."""
    if not text.strip():
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = number_of(first, where)
        high = number_of(last, where) if dash else low
        if high < low:
            raise DataError(f"{where}: {part.strip()!r} runs backwards; expected FIRST-LAST")
        found |= set(range(low, high + 1))
    return found
