"""What every reader of volumes gives: a `Source`; and what it is asked for: `Wanted`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.space import BESIDE, Space, nm_per
from ...core.volume import Region


@dataclass(frozen=True)
class Chunks:
    """The grid in which a source is stored: chunks (z, y, x) from voxel 0 on, and which of them are there.

    One that is not there reads as `fill`."""

    shape: tuple[int, ...]
    fill: Any
    there: Callable[[tuple[int, ...]], bool]  # whether the chunk with this voxel is stored


@dataclass(frozen=True)
class Placed:
    """Where a source says that its voxels lie: size and origin (z, y, x) in nm, or why what it says is of no use."""

    size: tuple[float, ...] | None = None  # None: not known
    first: tuple[float, ...] | None = None  # the centre of voxel 0, in voxels; None: not stated
    unknown: str = ""

    @property
    def origin(self) -> tuple[float, ...] | None:
        """Of the centre of voxel 0 in nm; None where it is not known."""
        return self.moved_to(self.size) if self.size else None

    def moved_to(self, size: Sequence[float] | None) -> tuple[float, ...] | None:
        """The origin if voxels have another size than the source says: its voxels keep their numbers. In voxels where
        the size is None: not known."""
        if self.first is None or size is None:
            return self.first
        return tuple(f * float(s) for f, s in zip(self.first, size, strict=True))


NOWHERE = Placed()  # the format says nothing


def placed(scale: Sequence[float], units: Sequence[str | None], origin: Sequence[float] | None = None) -> Placed:
    """From numbers (z, y, x) and the units they are in; a scale of 1 without unit says nothing."""
    per = [nm_per(unit) for unit in units]
    told = ", ".join(f"{float(v):g}" for v in scale)
    with np.errstate(divide="ignore", invalid="ignore"):  # a size below 0 is an error, but its length counts the voxels
        first = None if origin is None else tuple((np.asarray(origin, float) / np.abs(np.asarray(scale, float))).tolist())
    first = first if first and np.isfinite(first).all() else None
    if not all(np.isfinite(float(v)) and float(v) > 0 for v in scale):
        return Placed(first=first, unknown=f"voxel size {told} is not positive")
    if any(f is None for f in per):
        strange = next((u for u, f in zip(units, per, strict=True) if f is None and u), None)
        if not strange and all(float(v) == 1 for v in scale):
            return Placed(first=first)
        of = f"in {str(strange)[:40]!r}" if strange else "without unit"
        return Placed(first=first, unknown=f"voxel size {told} {of} is no length")
    return Placed(tuple(float(v) * f for v, f in zip(scale, per, strict=True) if f), first)


@dataclass
class Source:
    """A volume somewhere: shape (z, y, x), dtype, where it lies, how to read it."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    read: Callable[[Region], np.ndarray]
    placed: Placed = NOWHERE
    missing: list[int] = field(default_factory=list)  # sections that the source lacks
    sections: list[str] = field(default_factory=list)  # file names, where a section is a file
    forward: bool = False  # can be read from the front only, so that one task must read it all
    close: Callable[[], None] = lambda: None  # raises where the rest of the source is damaged
    chunks: Chunks | None = None  # where chunks may be missing
    remarks: list[str] = field(default_factory=list)  # doubts that a user must see, and --strict refuses
    why_blank: Callable[[], str] = lambda: ""  # asked where every voxel reads the same

    @property
    def voxel_size(self) -> tuple[float, ...] | None:
        """z, y, x in nm; None where it is not known."""
        return self.placed.size

    @property
    def origin(self) -> tuple[float, ...] | None:
        """z, y, x of the centre of voxel 0 in nm; None where it is not stated."""
        return self.placed.origin


def overlap(a: Source, b: Source) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]:
    """Corners (z, y, x) in each, and shape, of what both hold; what one of them lacks is said aloud.

    They lie where they say; but two of one shape, of which one says nothing or 0, lie on each other.
    Raises DataError where they cannot be laid over each other."""
    if a.shape == b.shape and not (a.origin and b.origin and any(a.origin) and any(b.origin)):
        return ((0, 0, 0), (0, 0, 0)), a.shape
    if not (a.origin and b.origin and a.voxel_size and b.voxel_size):
        raise DataError(
            f"{a.name} has shape {a.shape} and {b.name} {b.shape} (z, y, x); "
            "expected the same where one does not say where it lies"
        )
    at, beside = Space.zyx(a.voxel_size, a.origin).voxel_of(Space.zyx(b.voxel_size, b.origin))
    low = np.maximum(at, 0)
    shape = np.minimum(np.add(at, b.shape), a.shape) - low
    if (shape <= 0).any():
        raise DataError(f"{a.name} lies from {a.origin} nm on (z, y, x) and {b.name} from {b.origin}; they do not overlap")
    size = tuple(int(n) for n in shape)
    if not a.shape == b.shape == size:
        print(
            f"WARNING {a.name} {a.shape} and {b.name} {b.shape} share {size} (z, y, x); the rest is left out", file=sys.stderr
        )
    if beside > BESIDE:
        print(f"WARNING {b.name} lies {beside:.2f} voxels beside the grid of {a.name}; laid to the nearest", file=sys.stderr)
    return (tuple(int(n) for n in low), tuple(int(n) for n in low - at)), size


@dataclass(frozen=True)
class Wanted:
    """What of a file is wanted: a dataset, by name or by its usual names, and a channel."""

    key: str = ""
    channel: int = 0
    labels: bool = False

    @property
    def flag(self) -> str:
        return "--truth_key" if self.labels else "--input_key"

    def choose(self, names: list[str], where: str) -> str:
        """One of the datasets: the one asked for, the only one, or the one called `raw` (of labels: `labels`).

        Of the levels of a pyramid (s0, s1, ...) the finest. Raises ParameterError where the key must say which."""
        key, usual = self.key.strip("/"), "labels" if self.labels else "raw"
        coarser = {
            n for n in names if (m := re.fullmatch(r"(.*/)?s\d+", n)) and not n.endswith("s0") and f"{m[1] or ''}s0" in names
        }
        finest = [n for n in names if n not in coarser]
        called = [n for n in finest if n.removesuffix("/s0").split("/")[-1] == usual]
        chosen = key or (called[0] if len(called) == 1 else finest[0] if len(finest) == 1 else "")
        if chosen not in names:
            raise ParameterError(
                f"{where}: {'no dataset ' + chosen if chosen else 'several datasets'}; "
                f"give one of {', '.join(finest[:20]) or '(none)'} with {self.flag}"
            )
        return chosen
