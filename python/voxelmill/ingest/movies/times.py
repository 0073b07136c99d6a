"""Which of a file's times to believe: each field of view is judged alone, and a bad stamp spoils no other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

BEGIN = 1.5  # a clock that starts again, counted in bad stamps: one stamp that falls back is bad, two are a start
USUAL = 2.0  # a factor: steps that are longer or shorter speak against a row
ODD = 0.75  # such a step, counted in bad stamps: less than one, for steps may change, and a stamp that fits nowhere makes two


def usable(times: NDArray | None, n: int) -> bool:
    """Whether these are n real times: finite and, if several, never running backwards nor all equal."""
    if times is None or len(times) != n or not np.isfinite(times).all():
        return False
    return n < 2 or bool((np.diff(times) >= 0).all() and times[-1] > times[0])


def row(times: NDArray) -> tuple[NDArray[np.intp], float]:
    """Indices of the finite times that agree with one another best, and what they cost: each is later than the one before
    it, or, where the clock started again, earlier. A time that is left out costs 1, a start BEGIN, and a step that is not
    within a factor of USUAL from the median ODD."""
    there = np.flatnonzero(np.isfinite(times))
    known, n = times[there], len(there)
    steps = np.sort(np.diff(known) / np.diff(there))
    steps = steps[steps > 0]
    usual = float(steps[(len(steps) - 1) // 2]) if len(steps) else 1.0
    cost, before = np.arange(n, dtype=np.float64), np.full(n, -1)  # of the best row that ends with each
    for i in range(1, n):
        step = (known[i] - known[:i]) / (there[i] - there[:i]) / usual
        against = np.select([step < 0, step == 0, (step > USUAL) | (step < 1 / USUAL)], [BEGIN, np.inf, ODD])
        total = cost[:i] + np.arange(i)[::-1] + against
        nearest = i - 1 - int(np.argmin(total[::-1]))
        if total[nearest] < cost[i]:
            cost[i], before[i] = total[nearest], nearest
    cost += np.arange(n)[::-1]
    found, at = [], int(np.argmin(cost)) if n else -1
    least = float(cost[at]) if n else 0.0
    while at >= 0:
        found.append(at)
        at = int(before[at])
    return there[found[::-1]], least


def mended(times: NDArray) -> tuple[Times, list[int], list[int]] | None:
    """Times that rise, indices of the bad ones, and of those at which the clock started again; None when no more than half
    can be believed.

    What a bad one says is replaced by what its neighbours say. Where the clock started again both sides keep their steps,
    and the usual one (the median) lies between them; so it does beyond the first and the last good one.
    """
    good, cost = row(times)
    falls = np.flatnonzero(np.diff(times[good]) < 0)
    if len(good) < 2 or 2 * len(good) <= len(times) or (len(falls) and 2 * cost >= len(times)):
        return None
    apart, steps = np.diff(good), np.diff(times[good])
    step = float(np.median(np.delete(steps / apart, falls)))
    steps[falls] = step * apart[falls]
    right = times[good[0]] + np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(len(times))
    out = np.interp(at, good, right)
    early, late = at < good[0], at > good[-1]
    out[early] = right[0] - step * (good[0] - at[early])
    out[late] = right[-1] + step * (at[late] - good[-1])
    return out, sorted(set(at.tolist()) - set(good.tolist())), good[falls + 1].tolist()


def best(candidates: Sequence[tuple[NDArray, str]], n: int) -> tuple[Times, str]:
    """The first of several clocks, each with its name, that is right or can be mended; else the one with most
    stamps; NaN and no name where there is none."""
    fitting = [(np.asarray(times, np.float64), name) for times, name in candidates if len(times) == n]
    for times, name in fitting:
        if usable(times, n) or mended(times) is not None:
            return times, name
    known = max(fitting, key=lambda one: np.isfinite(one[0]).sum(), default=(np.full(n, np.nan), ""))
    return known if np.isfinite(known[0]).any() else (np.full(n, np.nan), "")
