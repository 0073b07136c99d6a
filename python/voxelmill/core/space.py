"""Where voxels lie: the axes of an array and, for each, scale, origin and unit. Everything that comes out has one.

    index       0       1       2       3          position = origin + index * scale
                |       |       |       |          is the centre of a voxel, in the frame of the source:
    position  origin  +scale  +2scale  ...         what NGFF calls translation, what `voxel_offset` of
                                                   Neuroglancer precomputed gives times the resolution

A source numbers its own voxels from `offset` on (its `voxel_offset`; else the origin in voxels, rounded). A part of
an array keeps the positions of its voxels, and a level of a pyramid those of what each of its voxels stands for:

    level 0   |  0  |  1  |  2  |  3  |         origin 0,    scale 1
    level 1   |     0     |     1     |         origin 0.5,  scale 2

An axis whose unit is None has positions that are no lengths: what nobody stated is not made up.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .errors import DataError

T = TypeVar("T")

NM = "nanometer"
MM = "millimeter"
NM_PER_MM = 1e6
SAME = 1e-3  # relative: voxel sizes that differ by less are one size, written with fewer digits

_PREFIX = {
    "": 0, "deca": 1, "hecto": 2, "kilo": 3, "mega": 6, "giga": 9, "tera": 12, "peta": 15, "exa": 18, "zetta": 21,
    "yotta": 24, "deci": -1, "centi": -2, "milli": -3,
    "micro": -6, "nano": -9, "pico": -12, "femto": -15, "atto": -18, "zepto": -21,
    "yocto": -24,
}  # fmt: skip
_SHORT = {"": 0, "k": 3, "d": -1, "c": -2, "m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9, "p": -12, "f": -15}

# All units of length that OME and NGFF know, and how people write them, in nm.
PER_NM: dict[str, float] = {
    **{f"{name}met{end}": 10.0 ** (power + 9) for name, power in _PREFIX.items() for end in ("er", "re")},
    **{f"{name}m": 10.0 ** (power + 9) for name, power in _SHORT.items()},
    "micron": 1e3, "angstrom": 0.1, "ångström": 0.1, "\u212b": 0.1, "\u00c5": 0.1, "å": 0.1, "A": 0.1, "a": 0.1,
    "inch": 25.4e6, "in": 25.4e6, "foot": 304.8e6, "ft": 304.8e6, "yard": 914.4e6, "yd": 914.4e6, "thou": 25.4e3,
    "mile": 1609.344e9, "parsec": 3.0856775814913673e25,
}  # fmt: skip

# All units of time, in seconds.
PER_SECOND: dict[str, float] = {
    **{f"{name}{end}": 10.0**power for name, power in _PREFIX.items() for end in ("second", "sec")},
    **{f"{name}{end}": 10.0**power for name, power in _SHORT.items() if name not in ("d", "c") for end in ("s", "sec")},
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip


def one_size(*sizes: Sequence[float]) -> bool:
    """Whether no two of these voxel sizes, a number an axis, differ by more than SAME along any."""
    each = np.array(sizes, float)
    return bool((np.ptp(each, axis=0) <= SAME * np.median(each, axis=0)).all())


def common(sizes: Sequence[T | None]) -> T | None:
    """The first of some voxel sizes where all are known and are one size; None else."""
    return sizes[0] if sizes and all(sizes) and one_size(*sizes) else None  # type: ignore[arg-type]


def nm_per(unit: str | None) -> float | None:
    """Nanometres in a unit, however it is spelt (`microns`, `&#181;m`, `\\u00B5m`); None for what is no length."""
    return _per(unit, PER_NM)


def seconds_per(unit: str | None) -> float | None:
    """Seconds in a unit, however it is spelt (`hrs`, `msec`, `minutes`); None for what is no time."""
    return _per(unit, PER_SECOND)


def micrometres_per(unit: str | None) -> float | None:
    """As `nm_per`, in micrometres."""
    nm = nm_per(unit)
    return None if nm is None else nm / 1e3


def minutes_per(unit: str | None) -> float | None:
    """As `seconds_per`, in minutes."""
    seconds = seconds_per(unit)
    return None if seconds is None else seconds / 60


def _per(unit: str | None, table: dict[str, float]) -> float | None:
    text = html.unescape(str(unit or "")).replace("\\u00B5", "µ").replace("\\u00b5", "µ").strip().rstrip(".")
    spellings = (text, text.lower(), text.lower().removesuffix("s"), text.lower().removesuffix("es"))
    return next((table[t] for t in spellings if t in table), None)


@dataclass(frozen=True)
class Axis:
    """One axis of an array: `z` in nanometer, `t` in second, `c` without unit."""

    name: str
    type: str = "space"
    unit: str | None = NM


ZYX = (Axis("z"), Axis("y"), Axis("x"))


@dataclass(frozen=True)
class Space:
    """Axes, and scale and origin along each, in its unit. Raises DataError where their numbers differ or are no sizes."""

    axes: tuple[Axis, ...]
    scale: tuple[float, ...]
    origin: tuple[float, ...]

    def __post_init__(self) -> None:
        names = "".join(a.name[:1] for a in self.axes)
        for what, values in (("scale", self.scale), ("origin", self.origin)):
            if len(values) != len(self.axes):
                raise DataError(f"{what} {tuple(values)}; expected {len(self.axes)} numbers, one for each axis of {names}")
        check_scale(self.scale)
        if not np.isfinite(self.origin).all():
            raise DataError(f"origin {tuple(self.origin)}; expected finite numbers")

    @classmethod
    def of(cls, axes: Sequence[Axis], scale: Sequence[float], origin: Sequence[float] | None = None) -> Space:
        """From any sequences of numbers; origin 0 when not given."""
        where = (0.0,) * len(axes) if origin is None else origin
        return cls(tuple(axes), tuple(float(v) for v in scale), tuple(float(v) for v in where))

    @classmethod
    def zyx(cls, scale: Sequence[float] | None, origin: Sequence[float] | None = None) -> Space:
        """A volume in nm; of unknown voxel size when scale is None: then axes have no unit and positions, the origin's too,
        are numbers of voxels."""
        if scale is None:
            return cls.of([Axis(a.name, a.type, None) for a in ZYX], (1, 1, 1), origin)
        return cls.of(ZYX, scale, origin)

    @property
    def known(self) -> bool:
        """Whether every spatial axis has a unit."""
        return all(a.unit for a in self.axes if a.type == "space")

    @property
    def offset(self) -> tuple[int, ...]:
        """Number of voxel 0 in the source's own count."""
        return tuple(round(o / s) for o, s in zip(self.origin, self.scale, strict=True))

    def position(self, index: Sequence[float]) -> tuple[float, ...]:
        """Where a voxel (or a point between voxels) lies."""
        return tuple(o + i * s for o, s, i in zip(self.origin, self.scale, index, strict=True))

    def index(self, position: Sequence[float]) -> tuple[float, ...]:
        """The inverse of `position`; whole where a voxel has its centre."""
        return tuple((p - o) / s for p, o, s in zip(position, self.origin, self.scale, strict=True))

    def voxel_of(self, other: Space) -> tuple[tuple[int, ...], float]:
        """Which voxel of this array the first one of another lies on (it may lie outside), and how far beside, in voxels.

        Raises DataError where the two have voxels of different size."""
        if not one_size(self.scale, other.scale):
            raise DataError(f"voxel size {self.scale} and {other.scale}; expected the same for two that lie over each other")
        exact = self.index(other.origin)
        whole = tuple(round(i) for i in exact)
        return whole, max(abs(i - n) for i, n in zip(exact, whole, strict=True))

    def crop(self, corner: Sequence[int]) -> Space:
        """Of the part of the array that begins at voxel `corner`."""
        return replace(self, origin=self.position(corner))

    def level(self, step: Sequence[float]) -> Space:
        """Of an array whose voxels stand for `step` voxels of this one each: what they cover has the same middle."""
        scale = tuple(s * f for s, f in zip(self.scale, step, strict=True))
        return replace(self, scale=scale, origin=self.position([(f - 1) / 2 for f in step]))

    def frame(self) -> dict[str, object]:
        """What a table says of the numbers in it: where index and position count from."""
        nm = {"scale_nm": list(self.scale), "origin_nm": list(self.origin)}
        return {
            "z, y, x": "voxel of the published volume, from 0; plus voxel_offset: as the source numbers it",
            "z_nm, y_nm, x_nm": "in the frame of the source: origin_nm + index * scale_nm" if self.known else "not known",
            **(nm if self.known else {}),
            "voxel_offset": list(self.offset),
        }

    def part(self, names: Sequence[str]) -> Space:
        """Of the axes with these names, in their order."""
        at = [next(n for n, a in enumerate(self.axes) if a.name == name) for name in names]
        return Space.of([self.axes[n] for n in at], [self.scale[n] for n in at], [self.origin[n] for n in at])


BESIDE = 0.01  # of a voxel that two grids may lie beside each other without a word


def check_scale(scale: Sequence[float], where: object = "") -> None:
    """Raises DataError unless every voxel size is a positive finite number."""
    numbers = [float(v) for v in scale]
    if not all(np.isfinite(v) and v > 0 for v in numbers):
        raise DataError(f"{f'{where}: ' if where else ''}voxel size {numbers}; expected positive numbers")
