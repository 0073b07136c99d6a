"""What registration of two slices found, and what is thought of it: `pairwise_registration_metrics.json` and ITK transforms.

    position in moving = R(rotation) (p - centre) + centre + (dim1_px, dim2_px)         p: position in fixed

in px of the common space, beyond what the stage says: all zero where the stage is right. Content of plane `fixed_z` of
fixed is that of plane `moving_z` of moving.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from ..core.errors import DataError
from ..core.params import Params, param

Status = Literal["ok", "warning", "error"]
Source = Literal["images", "manual", "manual_refined"]  # who says so: registration, a person, both
# name: unit, what it is, warning, error; smaller is better but for correlations. A turn is no sign of a bad registration:
# pairs turned by 3 degrees are found as well as others.
THRESHOLDS = {
    "translation": ("px", "Shift beyond what the stage says", 30.0, 50.0),
    "rotation": ("deg", "Turn about the middle of the canvas", 3.0, 4.5),
    "z_correlation": ("", "Correlation of planes at the depth that fits best", 0.25, 0.15),
    "correlation": ("", "Correlation of band-passed slabs, laid on each other", 0.3, 0.15),
}

ACROSS = 0.1  # px: error of thin slabs, RMS, times their correlation squared; made tissue 0.033, grey values of FIB-25 0.15


class Surface(Params):
    """The top of a slice, where the knife went."""

    moving_slice_first_index: int = param(4, "First plane of a slice below its surface that is sound", ge=0)


class Laid(BaseModel, frozen=True):
    """A slice in the volume: number, first plane, planes it has, 2x3 matrix from px of the volume to px of the slice."""

    number: int
    z: int
    planes: int
    matrix: list[list[float]]


class Pair(BaseModel, frozen=True):
    """See above. `thin`: the last planes of fixed were registered, which ends above sound planes of moving: how alike
    they are says nothing of depth, and is no gate, since planes on either side of a gap are less alike however they lie."""

    fixed: int
    moving: int
    fixed_z: float
    moving_z: float
    expected_z: float
    dim1_px: float = 0.0
    dim2_px: float = 0.0
    rotation_deg: float = 0.0
    z_correlation: float = 0.0
    correlation: float = 0.0
    confidence: float = 0.0
    thin: bool = False
    status: Status = "error"
    why: str = ""
    source: Source = "images"

    @property
    def translation(self) -> float:
        return math.hypot(self.dim1_px, self.dim2_px)

    @property
    def values(self) -> dict[str, float]:
        """What the thresholds are for."""
        found = {
            "translation": self.translation,
            "rotation": abs(self.rotation_deg),
            "z_correlation": self.z_correlation,
            "correlation": self.correlation,
        }
        return {name: value for name, value in found.items() if not (self.thin and name.endswith("correlation"))}

    @property
    def doubt_px(self) -> float:
        """By how much thin slabs may be registered wrongly."""
        return ACROSS / max(self.correlation, 0.05) ** 2


def confidence(z_correlation: float, translation: float, rotation: float, most: tuple[float, float]) -> float:
    """0 to 1; `most`: the largest translation and rotation that are looked for."""
    parts = (z_correlation, 1 - translation / most[0], 1 - abs(rotation) / most[1])
    return float(np.clip(np.dot((0.5, 0.3, 0.2), parts), 0, 1))


def status_of(name: str, value: float) -> Status:
    """By the thresholds."""
    *_, warning, error = THRESHOLDS[name]
    sign = -1 if name.endswith("correlation") else 1
    return "error" if sign * value > sign * error else "warning" if sign * value > sign * warning else "ok"


def judged(pair: Pair) -> Pair:
    """With the worst status of its values, and which they are."""
    states = {name: status_of(name, value) for name, value in pair.values.items()}
    worst: Status = "error" if "error" in states.values() else "warning" if "warning" in states.values() else "ok"
    said = [f"{name} {pair.values[name]:.3g} ({state})" for name, state in states.items() if state != "ok"]
    return pair.model_copy(update={"status": worst, "why": pair.why or ", ".join(said)})


def write_metrics(path: Path, pair: Pair) -> None:
    rows = {
        name: {"value": value, "unit": THRESHOLDS[name][0], "description": THRESHOLDS[name][1],
               "status": status_of(name, value), "warning": THRESHOLDS[name][2],
               "error": THRESHOLDS[name][3]}
        for name, value in pair.values.items()
    }  # fmt: skip
    out = {
        "step_name": "pairwise_registration",
        "metrics": rows,
        "info": pair.model_dump(),
        "warnings": [pair.why] if pair.status == "warning" else [],
        "errors": [pair.why] if pair.status == "error" else [],
        "overall_status": pair.status,
    }
    path.write_text(json.dumps(out, indent=1))


def read_metrics(path: Path) -> Pair:
    """Raises DataError for another kind of file, and for values that are no numbers."""
    try:
        return Pair.model_validate(json.loads(path.read_text(), parse_constant=_no_number)["info"])
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise DataError(f"{path.name}: no metrics of a pair of slices ({str(error).splitlines()[0]})") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def read_itk(path: Path) -> np.ndarray:
    """The (2, 3) matrix, in the order (dim 1, dim 2), of an ITK Euler2D or Euler3D transform, px, from fixed to moving.

    Raises DataError for other transforms, for several in a file, and for one that leaves the plane."""
    try:
        rows = [line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line]
        lines = dict(rows)
        kind = lines["Transform"].split("_")[0]
        values, (x0, y0, *_) = ([float(v) for v in lines[key].split()] for key in ("Parameters", "FixedParameters"))
        angle, x, y = values if kind == "Euler2DTransform" else (values[2], values[3], values[4])
        tilted = kind == "Euler3DTransform" and (max(map(abs, values[:2])) > 1e-9 or abs(values[5]) > 1e-3)
        if not all(map(math.isfinite, (angle, x, y, x0, y0))):
            raise ValueError("a value is no number")
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{path.name}: no ITK transform ({type(error).__name__}: {error}); expected Euler3DTransform"
        ) from None
    several = sum(name == "Transform" for name, _ in rows) > 1
    if kind not in ("Euler2DTransform", "Euler3DTransform") or tilted or several:
        what = "several transforms" if several else "leaves the plane" if tilted else kind
        raise DataError(f"{path.name}: {what}; expected one Euler2DTransform or Euler3DTransform that stays in the plane")
    from .warp import rigid_matrix

    return rigid_matrix(y, x, -math.degrees(angle), (y0, x0))


def write_itk(path: Path, matrix: np.ndarray, shape: tuple[int, int]) -> None:
    """An ITK Euler3DTransform, px, from fixed to moving.

    matrix (2, 3) is in the order (dim 1, dim 2); ITK has x = dim 2 first, so that its angle has the other sign."""
    from .warp import apply, centre_of

    centre = centre_of(shape)
    dim1, dim2 = (apply(matrix, np.array(centre)) - centre).tolist()
    angle = -math.atan2(matrix[1, 0], matrix[0, 0])
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: Euler3DTransform_double_3_3\n"
        f"Parameters: 0 0 {angle:.12g} {dim2:.12g} {dim1:.12g} 0\nFixedParameters: {centre[1]:.12g} {centre[0]:.12g} 0 0\n"
    )
