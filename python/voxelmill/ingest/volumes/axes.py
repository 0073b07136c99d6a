"""From the axes that a format names, or does not name, to z, y, x."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import Region

FULL_NAMES = {
    "channel": "c", "time": "t", "depth": "z", "height": "y", "width": "x",
    "plane": "z", "slice": "z", "section": "z", "row": "y", "column": "x", "col": "x",
}  # fmt: skip


def one_letter(names: Sequence[str]) -> list[str]:
    return [FULL_NAMES.get(str(n).lower(), str(n).lower()) for n in names]


def name_all(names: Sequence[str], count: int) -> bool:
    """Whether these name `count` axes, z, y and x among them."""
    return len(names) == count and set("zyx") <= set(one_letter(names))


def strange(names: Sequence[str]) -> list[str]:
    """A remark on names that say something, but not which of the axes are z, y, x."""
    said = [n for n in names if n and not re.fullmatch(r"(phony_)?(dim|axis|d)_?\d*|\d+", n, re.IGNORECASE)]
    return [f"its axes are called {', '.join(map(repr, names))}; taken for z, y, x by their order"] if said else []


def coarser(name: str) -> bool:
    """Whether an array of this name is a level of a pyramid, and not its finest."""
    return bool(re.fullmatch(r"s?\d+", name)) and int(name.lstrip("s")) > 0


@dataclass(frozen=True)
class Turn:
    """How an array becomes (z, y, x): one index for each axis that goes, and the order of those that stay."""

    index: tuple[int | None, ...]  # None: the axis stays
    order: tuple[int, int, int]  # which of the axes that stay is z, y, x

    @property
    def kept(self) -> tuple[int, int, int]:
        """The array's axes that are z, y, x."""
        staying = [n for n, i in enumerate(self.index) if i is None]
        return tuple(staying[n] for n in self.order)  # type: ignore[return-value]

    def pick(self, values: Sequence) -> tuple:
        """Of one value per axis of the array, those of z, y, x."""
        return tuple(values[n] for n in self.kept)

    def where(self, region: Region) -> tuple:
        """The index expression in the array for a region (z, y, x)."""
        found: list = list(self.index)
        for axis, part in zip(self.kept, region, strict=True):
            found[axis] = part
        return tuple(found)

    def turned(self, values: np.ndarray) -> np.ndarray:
        """What `where` gave, as (z, y, x)."""
        return values.transpose(self.order)


def turn(names: Sequence[str] | None, shape: Sequence[int], channel: int, name: str) -> Turn:
    """How to turn an array of this shape.

    Args:
        names: of the axes, `z`, `y`, `x`, `c`, `t` or others; None where the format does not say. Axes of
            length 1 are no obstacle, whatever they are. Unnamed arrays are z, y, x once those are gone.
        channel: which channel to take of `c`.
    Raises:
        DataError for axes that are no volume, ParameterError for a channel that is not there."""
    if names is None:
        return _unnamed(shape, name)
    known = one_letter(names)
    listed = "".join(known) if all(len(n) == 1 for n in known) else ", ".join(known)
    index: list[int | None] = []
    if len(known) != len(shape) or any(known.count(a) != 1 for a in "zyx"):
        raise DataError(f"{name}: axes {listed} of shape {tuple(shape)}; expected zyx, or tczyx with one time point")
    for axis, n in zip(known, shape, strict=True):
        if axis in "zyx":
            index.append(None)
        elif axis == "c" and known.count("c") == 1:
            if channel >= n:
                raise ParameterError(f"--channel {channel}: {name} has {n} channels, the first is 0")
            index.append(channel)
        elif n == 1:
            index.append(0)
        else:
            what = "time points" if axis == "t" else f"places along axis {axis}"
            raise DataError(f"{name}: {n} {what}; expected one")
    staying = [a for a in known if a in "zyx"]
    return Turn(tuple(index), tuple(staying.index(a) for a in "zyx"))  # type: ignore[arg-type]


def _unnamed(shape: Sequence[int], name: str) -> Turn:
    index: list[int | None] = [None] * len(shape)
    for axis in [n for n, length in enumerate(shape) if length == 1][: max(0, len(shape) - 3)]:
        index[axis] = 0
    if index.count(None) != 3 or min(shape) < 1:
        raise DataError(f"{name}: shape {tuple(shape)}; expected three axes (z, y, x), each at least 1")
    return Turn(tuple(index), (0, 1, 2))
