"""What registration of a pair of sections found, and many such results as plain arrays. Axes, signs: `registration`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from .warp import apply, centre_of, invert, rigid_parameters, sample_grid

Level = Literal["none", "translation", "rigid", "elastic"]
LEVELS: tuple[Level, ...] = ("none", "translation", "rigid", "elastic")


@dataclass(frozen=True)
class PairResult:
    """What registration of a pair found.

    fixed, moving        numbers of the sections, as given to `estimate_pair`
    level                the level whose result this is: 'none' (identity) when nothing better was found
    matrix               (2, 3) float64, (y, x): position in fixed -> position in moving
    field                None or (2, gy, gx) float32 px (y, x), node [i, j] at (i, j) * spacing of fixed:
                         position in moving = matrix @ p + field(p)
    correlation          of the band-passed overlap, at the result; 0 when a section is blank
    correlation_before   at the identity
    overlap              part of fixed that is seen in moving, 0 to 1
    agreement            (ty, tx) float32: the correlation tile by tile of fixed
    blank                whether fixed, moving hold a single value
    shape                (ny, nx) of the sections
    """

    fixed: int
    moving: int
    level: Level
    matrix: np.ndarray
    field: np.ndarray | None
    spacing: int
    correlation: float
    correlation_before: float
    overlap: float
    agreement: np.ndarray
    blank: tuple[bool, bool]
    shape: tuple[int, int]

    @property
    def trusted(self) -> bool:
        """False when the sections have nothing in common that was found; then `matrix` is the identity."""
        return self.level != "none"

    @property
    def correction(self) -> tuple[float, float, float]:
        """(dy, dx, rotation_deg) that lays the content of moving on fixed, about the centre."""
        return rigid_parameters(invert(self.matrix), centre_of(self.shape))

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Positions in moving (..., 2) of points (..., 2), (y, x), of fixed."""
        out = apply(self.matrix, points)
        if self.field is not None:
            nodes = points / self.spacing
            out = out + np.moveaxis(sample_grid(self.field, nodes[..., 0], nodes[..., 1]), 0, -1)
        return out


def pack(pairs: Sequence[PairResult]) -> dict[str, np.ndarray]:
    """Pair results as plain arrays, one row a pair, for `np.savez`; see `unpack`."""
    out: dict[str, np.ndarray] = {}
    for f in fields(PairResult):
        values = [getattr(p, f.name) for p in pairs]
        if f.name == "field":
            some = next((v for v in values if v is not None), np.zeros((2, 0, 0), np.float32))
            out["has_field"] = np.array([v is not None for v in values], bool)
            values = [some * 0 if v is None else v for v in values]
        out[f.name] = np.array(values)
    return out


def unpack(arrays: Mapping[str, np.ndarray]) -> list[PairResult]:
    """Pair results from the arrays of `pack`."""
    columns = {f.name: np.asarray(arrays[f.name]) for f in fields(PairResult)}
    has_field = arrays["has_field"]
    arrays_per_pair = ("matrix", "field", "agreement")
    out = []
    for k in range(len(has_field)):
        row: dict[str, Any] = {n: c[k] if n in arrays_per_pair else c[k].tolist() for n, c in columns.items()}
        row.update(blank=tuple(row["blank"]), shape=tuple(row["shape"]))
        if not has_field[k]:
            row["field"] = None
        out.append(PairResult(**row))
    return out
