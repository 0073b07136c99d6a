"""Which of a file's times to believe: each field of view is judged alone, and a bad stamp spoils no other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


def usable(times: NDArray | None, n: int) -> bool:
    """Whether these are n real times: finite and, if several, never running backwards nor all equal."""
    if times is None or len(times) != n or not np.isfinite(times).all():
        return False
    return n < 2 or bool((np.diff(times) >= 0).all() and times[-1] > times[0])


def rising(times: NDArray) -> NDArray[np.intp]:
    """Indices of the longest strictly rising row of finite times: those that agree with one another."""
    tails: list[float] = []
    last: list[int] = []  # index of the last time of the best row of each length
    before = np.full(len(times), -1)
    for i, time in enumerate(times.tolist()):
        if not np.isfinite(time):
            continue
        k = bisect_left(tails, time)
        tails[k : k + 1], last[k : k + 1] = [time], [i]
        before[i] = last[k - 1] if k else -1
    found = []
    at = last[-1] if last else -1
    while at >= 0:
        found.append(at)
        at = int(before[at])
    return np.array(found[::-1], np.intp)


def mended(times: NDArray) -> tuple[Times, list[int]] | None:
    """Times with the bad ones replaced by what their neighbours say, and the indices of those; None when no more
    than half can be believed. Beyond the first and the last good one the median step goes on."""
    good = rising(times)
    if len(good) < 2 or 2 * len(good) <= len(times):
        return None
    step = float(np.median(np.diff(times[good]) / np.diff(good)))
    at = np.arange(len(times))
    out = np.interp(at, good, times[good])
    early, late = at < good[0], at > good[-1]
    out[early] = times[good[0]] - step * (good[0] - at[early])
    out[late] = times[good[-1]] + step * (at[late] - good[-1])
    return out, sorted(set(at.tolist()) - set(good.tolist()))


def best(candidates: Sequence[tuple[NDArray, str]], n: int) -> tuple[Times, str]:
    """The first of several clocks, each with its name, that is right or can be mended; else the one with most
    stamps; NaN and no name where there is none."""
    fitting = [(np.asarray(times, np.float64), name) for times, name in candidates if len(times) == n]
    for times, name in fitting:
        if usable(times, n) or mended(times) is not None:
            return times, name
    known = max(fitting, key=lambda one: np.isfinite(one[0]).sum(), default=(np.full(n, np.nan), ""))
    return known if np.isfinite(known[0]).any() else (np.full(n, np.nan), "")
