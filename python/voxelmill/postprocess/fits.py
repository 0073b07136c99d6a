"""Models of expression, fitted to the traces of single cells.

A cell gets its mRNA at t0 and makes protein from it; mRNA and protein decay, fluorophores mature. All rates are first
order, so that a trace is a sum of exponentials (Bateman, 1910; for transfected cells Leonhardt et al., Nanomedicine
10:679, 2014). With tau = t - t0, hours, 0 before:

    translation   offset + ktl * [exp(-beta tau) - exp(-delta tau)] / (delta - beta)
    maturation    offset + ktl * km * sum of exp(-r tau) / product of (s - r) over the two other rates s,
                  for the rates r = delta, beta + km, beta
    decay         offset + amplitude * exp(-delta (t - first t))

ktl is the first translation rate times the mRNA at t0, intensity per hour; delta the decay of mRNA (of the signal in
`decay`), beta that of protein, km maturation, all per hour. Intensities are linear in offset and ktl (amplitude),
so these are solved exactly on a grid of t0 and delta, and the best point is refined by `scipy.optimize.least_squares`.
A model of the user's own is a function of hours and of parameters; it is refined from the values that these begin with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MODELS = ("maturation", "translation", "decay")
DELTA = (1e-3, 20.0)  # 1/h, bounds of the decay that is fitted
DELTAS, STARTS = 24, 24  # of the grid
FAR = 1e6  # times the spread of a trace
NAMES = {
    "maturation": ("t0_h", "delta_per_h", "offset", "ktl_per_h"),
    "translation": ("t0_h", "delta_per_h", "offset", "ktl_per_h"),
    "decay": ("delta_per_h", "offset", "amplitude"),
}


@dataclass(frozen=True, slots=True)
class Rates:
    """What is not fitted, 1/h: beta, the decay of protein, and km, the maturation of the fluorophore."""

    beta: float
    km: float


@dataclass(frozen=True, slots=True)
class Fit:
    """parameters: by name, empty where nothing could be fitted. r_squared: share of the variance explained.
    fitted: (n,) intensities at the given times. note: what is doubtful, or empty."""

    parameters: dict[str, float]
    r_squared: float
    fitted: Array
    note: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """names: of what is fitted. fit: a trace's hours and values, both (n,), -> its fit."""

    names: tuple[str, ...]
    fit: Callable[[Array, Array], Fit]


def built_in(name: str, known: Rates) -> Model:
    """One of MODELS."""
    return Model(NAMES[name], lambda hours, values: fit(name, hours, values, known))


def own(signal: Callable[..., Any]) -> Model:
    """A model that is a function: `signal(hours, **parameters)`, whose defaults are where the parameters start from.

    Raises TypeError or ValueError where it has no parameter to fit, or one without a finite number to start from."""
    start = {n: float(one.default) for n, one in list(inspect.signature(signal).parameters.items())[1:]}
    if not start or not np.isfinite(list(start.values())).all():
        raise ValueError(f"start values {start}")
    return Model(tuple(start), lambda hours, values: fit_own(signal, start, hours, values))


def chain(tau: Array, rates: list[float]) -> Array:
    """What is at the end of a chain of first-order steps, when 1 was at its beginning at tau = 0; 0 before.

    rates: at which each member is lost, 1/h. Rates that are nearly equal are moved apart by a thousandth."""
    apart: list[float] = []
    for rate in rates:
        while any(abs(rate - other) < 5e-4 * (rate + other) for other in apart):
            rate += 1e-3 * rate
        apart.append(rate)
    later = np.maximum(tau, 0.0)
    return sum(np.exp(-r * later) / np.prod([s - r for s in apart if s != r]) for r in apart) * (tau > 0)  # type: ignore[return-value]


def shape_of(model: str, hours: Array, t0: float, delta: float, known: Rates) -> Array:
    """The signal of a model (n,) for ktl (amplitude) 1 and offset 0."""
    if model == "decay":
        return np.exp(-delta * (hours - hours[0]))
    if model == "translation":
        return chain(hours - t0, [delta, known.beta])
    return known.km * chain(hours - t0, [delta, known.beta + known.km, known.beta])


def fit(model: str, hours: Array, values: Array, known: Rates) -> Fit:
    """Fit a model to one trace. hours, values: (n,), times rising; frames without a value (NaN) are passed over."""
    seen = np.isfinite(values)
    if refused := _refused(values[seen], len(NAMES[model])):
        return Fit({}, np.nan, np.full(len(values), np.nan), refused)
    t, y = hours[seen], values[seen]
    # a rise that begins before the first frame by up to a third of the movie is still seen
    starts = np.array([0.0]) if model == "decay" else np.linspace(t[0] - np.ptp(t) / 3, t[-2], STARTS)
    deltas = np.geomspace(*DELTA, DELTAS)
    tried = [(_linear(model, t, y, t0, delta, known)[2], t0, delta) for t0 in starts for delta in deltas]
    _, t0, delta = min(tried)
    t0, delta, end = _refined(model, t, y, float(t0), float(delta), known, (float(starts[0]), float(t[-2])))
    offset, height, left = _linear(model, t, y, t0, delta, known)
    fitted = np.where(seen, offset + height * shape_of(model, hours, t0, delta, known), np.nan)
    values_of = {"t0_h": t0, "delta_per_h": delta, "offset": offset, "ktl_per_h": height, "amplitude": height}
    r_squared = 1 - left / float(((y - y.mean()) ** 2).sum())
    return Fit({name: values_of[name] for name in NAMES[model]}, r_squared, fitted, end)


def fit_own(signal: Callable[..., Any], start: dict[str, float], hours: Array, values: Array) -> Fit:
    """As `fit`, with a model that is a function. What it gives that is not finite counts as far off; a model that raises,
    or whose best signal is not finite, is noted and not fitted: the other traces and models are."""
    from scipy.optimize import least_squares

    seen = np.isfinite(values)
    none = np.full(len(values), np.nan)
    if refused := _refused(values[seen], len(start)):
        return Fit({}, np.nan, none, refused)
    t, y = hours[seen], values[seen]
    scale = float(np.ptp(y))

    def given(x: Array) -> Array:
        found = np.asarray(signal(t.copy(), **dict(zip(start, x.tolist()))), np.float64)
        if found.shape != t.shape:
            raise ValueError(f"gave an array of shape {found.shape}, expected {t.shape}")
        return found

    def off(x: Array) -> Array:
        return np.nan_to_num((given(x) - y) / scale, nan=FAR, posinf=FAR, neginf=-FAR)

    try:
        with np.errstate(all="ignore"):
            found = least_squares(off, list(start.values()), x_scale="jac", max_nfev=2000)
            best = given(found.x)
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        return Fit({}, np.nan, none, " ".join(f"the model raised {type(error).__name__}: {error}".split()))
    if not np.isfinite(best).all():
        return Fit({}, np.nan, none, f"the model is not finite at {int((~np.isfinite(best)).sum())} of {len(y)} values")
    fitted = none.copy()
    fitted[seen] = best
    r_squared = 1 - float(((best - y) ** 2).sum()) / float(((y - y.mean()) ** 2).sum())
    note = "" if found.success else "not converged: other start values may help"
    return Fit(dict(zip(start, found.x.tolist())), r_squared, fitted, note)


def _refused(y: Array, n_free: int) -> str:
    """Why nothing can be fitted to these values; empty where something can."""
    if len(y) <= n_free:
        return f"{len(y)} values are too few for {n_free} parameters"
    return "the trace is flat" if float(np.ptp(y)) <= 1e-9 * max(float(np.abs(y).max()), 1e-30) else ""


def _linear(model: str, t: Array, y: Array, t0: float, delta: float, known: Rates) -> tuple[float, float, float]:
    """Offset and height that fit best, the height not below 0, and the sum of squares that is left."""
    signal = shape_of(model, t, t0, delta, known)
    varies = signal - signal.mean()
    power = float(varies @ varies)
    height = max(float(varies @ y) / power, 0.0) if power > 0 else 0.0
    offset = float(y.mean() - height * signal.mean())
    return offset, height, float(((y - offset - height * signal) ** 2).sum())


def _refined(
    model: str, t: Array, y: Array, t0: float, delta: float, known: Rates, range_t0: tuple[float, float]
) -> tuple[float, float, str]:
    """t0 and delta from the best point of the grid on, and which of them ends at a bound."""
    from scipy.optimize import least_squares

    moves = model != "decay"
    scale = max(float(np.ptp(y)), 1e-30)

    def off(x: Array) -> Array:
        at, rate = (float(x[1]) if moves else t0), float(np.exp(x[0]))
        offset, height, _ = _linear(model, t, y, at, rate, known)
        return (offset + height * shape_of(model, t, at, rate, known) - y) / scale

    low = np.array([np.log(DELTA[0]), range_t0[0]][: 1 + moves])
    high = np.array([np.log(DELTA[1]), range_t0[1]][: 1 + moves])
    margin = 1e-6 * (high - low)
    first = np.clip(np.array([np.log(delta), t0][: 1 + moves]), low + margin, high - margin)
    found = least_squares(off, first, bounds=(low, high), x_scale=(high - low) / 10, xtol=1e-10, ftol=1e-12)
    at_end = (found.x - low < 1e-3 * (high - low)) | (high - found.x < 1e-3 * (high - low))
    names = [name for name, end in zip(("delta", "t0"), at_end) if end]
    note = f"{' and '.join(names)} at the end of its range: not determined by this trace" if names else ""
    return (float(found.x[1]) if moves else t0), float(np.exp(found.x[0])), note
