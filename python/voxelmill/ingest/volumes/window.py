"""The grey values that `--rescale` maps to 0 and 255: percentiles, found exactly, in a pass or two over the source.

A pass counts the upper 16 bits of each value, in an order-keeping form; where values have more, a second pass counts
the lower 16 bits of those that share their upper half with a percentile. Memory does not depend on the volume.
Grey levels of 8 bits that were only written in another type (k, k / 255, 257 k, ...) are found too, and keep their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...core.errors import DataError

HALF = 1 << 16
FEWEST, LEVELS = 64, 256  # fewer levels fit into 8 bits wherever they lie, and would be dark by their numbers
UNITS = (1.0, 256.0, 257.0, 1 / 255, 1 / 256)  # what one grey level of 8 bits is written as, most often
OFF = 0.01  # of a step that a level may lie beside it: what float32 makes of k / 255 is 1e-5 off
Pieces = Callable[[], Iterator[tuple[int, np.ndarray]]]  # each time anew: number of the first section, values (z, y, x)


@dataclass(frozen=True)
class Window:
    low: float
    high: float
    below: float = 0.0  # share of values below `low`: they become 0
    above: float = 0.0  # share of values above `high`: they become 255


def window(pieces: Pieces, percentiles: tuple[float, float], name: str, keep: bool = False) -> Window:
    """The window between two percentiles; the whole range where they fall together.

    keep: grey levels of 8 bits in another type keep these levels, whatever the percentiles. 64-bit numbers are told apart
    as float32 has them. Raises DataError for NaN and infinity."""
    upper, kind = np.zeros(HALF, np.int64), np.dtype(np.uint8)
    for first, values in pieces():
        kind = values.dtype
        if kind.kind == "f":
            bad = np.count_nonzero(~np.isfinite(values), axis=(1, 2))
            if bad.any():
                raise DataError(
                    f"{name}: {bad.sum()} NaN or infinite values from section "
                    f"{first + int(bad.argmax())} on; expected numbers. Mend the source"
                )
        for section in values:
            upper += np.bincount(upper_half(section), minlength=HALF)
    number = int(upper.sum())
    if not number:
        return Window(0.0, 0.0)
    if keep and np.count_nonzero(upper) <= LEVELS and (narrow := eight_bits(pieces)):
        return narrow
    ranks = [0, *(min(number - 1, max(0, round(p / 100 * (number - 1)))) for p in percentiles), number - 1]
    reached = np.cumsum(upper)
    halves = [int(np.searchsorted(reached, rank, "right")) for rank in ranks]
    lower = {half: np.zeros(HALF, np.int64) for half in halves}
    if _wide(kind):
        for _, values in pieces():
            for section in values:
                found = keys(section).reshape(-1)
                top = found >> 16
                for half, counts in lower.items():
                    counts += np.bincount(found[top == half] & (HALF - 1), minlength=HALF)
    else:
        for half, counts in lower.items():
            counts[0] = upper[half]
    exact = []
    for half, rank in zip(halves, ranks, strict=True):
        before = int(reached[half] - upper[half])
        inside = np.cumsum(lower[half])
        at = int(np.searchsorted(inside, rank - before, "right"))
        under = before + int(inside[at] - lower[half][at])
        exact.append((value_of((half << 16) | at, kind), under, number - before - int(inside[at])))
    (least, *_), (low, below, _), (high, _, above), (most, *_) = exact
    if not high > low:
        return Window(least, most)
    return Window(low, high, below / number, above / number)


def eight_bits(pieces: Pieces) -> Window | None:
    """The window that gives values of 64 to 256 even steps their numbers, 0 to 255, if these are such values.

    They are counted from 0 where they are multiples of a step, one of UNITS before others, else from the lowest one."""
    levels = np.zeros(0)
    for _, values in pieces():
        for section in values:
            levels = np.union1d(levels, np.unique(section).astype(np.float64))
            if len(levels) > LEVELS:
                return None
    if len(levels) < FEWEST:
        return None
    for first, steps in ((0.0, UNITS), (0.0, ()), (float(levels[0]), ())):
        above = levels - first
        if above[-1] <= 0:
            continue
        for step in steps or (_step(above),):
            number = np.rint(above / step)
            told = above[0] >= 0 and number[-1] < LEVELS and np.diff(number).min() > 0  # each has a number of its own
            if told and np.allclose(above / step, number, rtol=0, atol=OFF):
                return Window(first, first + (LEVELS - 1) * step)
    return None


def _step(above: np.ndarray) -> float:
    """The least difference between values in order, 0 among them; as exact as the highest one."""
    least = float(np.diff(np.union1d(above, 0.0)).min())
    return float(above[-1]) / max(1, round(float(above[-1]) / least))


def _as_float(kind: np.dtype) -> bool:
    return kind.kind == "f" or kind.itemsize == 8


def _wide(kind: np.dtype) -> bool:
    """Whether a key has more than its upper half."""
    return _as_float(kind) or kind.itemsize > 2


def upper_half(values: np.ndarray) -> np.ndarray:
    """The upper half of the keys, as one line."""
    if _wide(values.dtype):
        return (keys(values) >> 16).reshape(-1)
    return (
        values.reshape(-1) if values.dtype.kind == "u" else values.reshape(-1).astype(np.int32) - np.iinfo(values.dtype).min
    )


def keys(values: np.ndarray) -> np.ndarray:
    """uint32 in the order of the values, which have more than 16 bits."""
    if _as_float(values.dtype):
        bits = values.astype(np.float32).view(np.uint32)
        return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return (values.astype(np.int64) - np.iinfo(values.dtype).min).astype(np.uint32)


def value_of(key: int, kind: np.dtype) -> float:
    """The value behind a key."""
    if _as_float(kind):
        bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
        return float(np.uint32(bits).view(np.float32))
    return float((key if _wide(kind) else key >> 16) + int(np.iinfo(kind).min))
