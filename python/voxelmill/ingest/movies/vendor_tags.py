"""What TIFFs of Zeiss (LSM) and MetaMorph (STK) say in tags of their own, by the package `tifffile`.

| file | times | pixel size | channel names |
|---|---|---|---|
| LSM | TimeStamps, else TimeIntervall, in s | VoxelSizeX, VoxelSizeY, in m | ChannelColors |
| STK | date and time of each plane | XCalibration, YCalibration in CalibrationUnits | - |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tags:
    """times: minutes of each frame, where there are as many; step: minutes between frames, 0 where it is not said;
    sides: size of a pixel along x and y with its unit; names of the channels."""

    source: str
    times: NDArray[np.float64]
    step: float
    sides: tuple[tuple[float, str], tuple[float, str]]
    names: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def read(file: Any) -> Tags | None:
    """Of an open file; None where it is of neither kind."""
    if file.is_lsm and file.lsm_metadata:
        told = file.lsm_metadata
        times = np.asarray(told.get("TimeStamps", ()), float) / 60
        names = (told.get("ChannelColors") or {}).get("ColorNames") or ()
        sides = [(float(told.get(f"VoxelSize{a}") or 0), "m") for a in "XY"]
        return Tags("LSM", times, float(told.get("TimeIntervall") or 0) / 60, (sides[0], sides[1]), tuple(map(str, names)))
    if file.is_stk and file.stk_metadata:
        told = file.stk_metadata
        days, clock = (np.asarray(of, float) for of in _stamps(file))
        unit = str(told.get("CalibrationUnits") or "").strip("\0 ") if told.get("SpatialCalibration", 1) else ""
        sides = [(float(told.get(f"{a}Calibration") or 0) if unit else 0.0, unit) for a in "XY"]
        waves = sorted({float(w) for w in np.ravel(told.get("Wavelengths", ()))})
        said = f"its planes are of {len(waves)} wavelengths ({', '.join(f'{w:g}' for w in waves[:4])}): all are frames."
        times = (days - days[:1]) * 1440 + clock / 60_000
        return Tags("MetaMorph", times, 0.0, (sides[0], sides[1]), doubts=(said,) if len(waves) > 1 else ())
    return None


def _stamps(file: Any) -> tuple[Any, Any]:
    """Julian day and milliseconds since midnight of each plane."""
    told = file.pages.first.tags.valueof(33629) or {}
    return told.get("DateCreated", ()), told.get("TimeCreated", ())
