"""Stored pixels as whole counts, uint16; of a whole movie: conversion.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voxelmill.core.errors import DataError


def to_uint16(plane: NDArray, convert: bool, where: str, factor: float = 1.0) -> NDArray[np.uint16]:
    """Counts as uint16: uint16 as it is, uint8 widened, all else only with `convert`, times `factor`, rounded and
    never clipped. Whether rounding leaves anything is a question for the whole movie: see `conversion`.

    Raises:
        DataError: another type without `convert`; or values that are not finite or not within 0-65535.
    """
    refuse_type(plane.dtype, convert, where)
    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:
        return plane.astype(np.uint16)
    low, high = plane.min(), plane.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{where}: NaN or infinite values cannot be converted to counts; replace them first")
    rounded = np.rint(plane * factor) if factor != 1 else np.rint(plane)
    if rounded.min() < 0 or rounded.max() > 65535:
        raise DataError(
            f"{where}: values {low:g} to {high:g} do not fit into uint16; rescale them first, or choose --convert_factor"
        )
    return rounded.astype(np.uint16)


def refuse_type(dtype: np.dtype, convert: bool, where: str) -> None:
    """Raise DataError for pixels that cannot become counts, or not without `convert`."""
    if dtype.kind not in "uif":
        raise DataError(f"{where}: pixels are {dtype}, expected numbers of counts")
    if not convert and not (dtype.kind == "u" and dtype.itemsize <= 2):
        raise DataError(f"{where}: pixels are {dtype}, expected uint8 or uint16; give --convert to round them to uint16")
