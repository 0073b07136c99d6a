"""Fits: parameters that traces were made with come back, also from noise; what cannot be told is said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from voxelmill.postprocess.fits import Rates, chain, fit, own

KNOWN = Rates(beta=0.00522, km=1.28)
HOURS = np.arange(120) / 6


def made(model: str, t0: float, delta: float, height: float, offset: float, known: Rates = KNOWN) -> np.ndarray:
    """By integrating the reactions, not by their solution."""
    if model == "decay":
        return offset + height * np.exp(-delta * HOURS)

    def change(_, y):
        m, g, f = y
        ripe = known.km * g if model == "maturation" else 0.0
        return [-delta * m, height * m - ripe - known.beta * g, ripe - known.beta * f]

    later = HOURS[t0 <= HOURS]
    run = solve_ivp(change, (t0, HOURS[-1]), [1, 0, 0], t_eval=later, rtol=1e-9, atol=1e-9)
    signal = run.y[2 if model == "maturation" else 1]
    return offset + np.concatenate([np.zeros(len(HOURS) - len(later)), signal])


@pytest.mark.parametrize("model", ["maturation", "translation", "decay"])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_parameters_come_back(model, noise):
    truth = {"t0_h": 3.1, "delta_per_h": 0.15, "ktl_per_h": 800.0, "amplitude": 800.0, "offset": 500.0}
    values = made(model, 3.1, 0.15, 800, 500)
    values = values + noise * np.ptp(values) * np.random.default_rng(1).standard_normal(len(values))
    found = fit(model, HOURS, values, KNOWN)
    assert not found.note and found.r_squared > (0.999999 if not noise else 0.98)
    for name, value in found.parameters.items():
        assert value == pytest.approx(truth[name], rel=1e-3 if not noise else 0.15), name


def test_rates_that_are_equal_are_no_singularity():
    """mRNA that decays as fast as the protein: the solution is tau exp(-r tau), by another formula."""
    tau = np.linspace(-1, 20, 200)
    assert np.allclose(chain(tau, [0.3, 0.3]), np.maximum(tau, 0) * np.exp(-0.3 * np.maximum(tau, 0)), rtol=0.01, atol=1e-3)
    values = made("maturation", 2.0, 0.3, 100, 10, Rates(0.3, 0.3))
    assert fit("maturation", HOURS, values, Rates(0.3, 0.3)).parameters["ktl_per_h"] == pytest.approx(100, rel=0.02)


def test_gaps_are_passed_over():
    values = made("decay", 0, 0.2, 100, 10)
    values[[3, 50, 90]] = np.nan
    found = fit("decay", HOURS, values, KNOWN)
    assert found.parameters["delta_per_h"] == pytest.approx(0.2, rel=1e-3)
    assert np.array_equal(np.isnan(found.fitted), np.isnan(values))


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (np.full(120, 7.0), "the trace is flat"),
        (np.where(HOURS < 0.4, 1.0 + HOURS, np.nan), "3 values are too few for 4 parameters"),
        (made("decay", 0, 0.0, 0, 0) + HOURS, "at the end of its range"),
    ],
)
def test_what_cannot_be_told_is_said(values, note):
    assert note in fit("translation" if "range" not in note else "decay", HOURS, -values, KNOWN).note


def test_a_model_of_ones_own_starts_from_its_defaults():
    model = own(lambda hours, height=1.0, rate=0.5: height * np.exp(-rate * hours))
    hours = np.arange(30) / 2
    found = model.fit(hours, 3e4 * np.exp(-0.2 * hours))
    assert model.names == ("height", "rate") and found.note == ""
    assert [found.parameters[n] for n in model.names] == pytest.approx([3e4, 0.2], rel=1e-6)
    assert found.r_squared == pytest.approx(1) and np.allclose(found.fitted, 3e4 * np.exp(-0.2 * hours))
    assert model.fit(hours, np.full(30, 2.0)).note == "the trace is flat"
    wild = own(lambda hours, rate=3.0: np.log(rate - hours))  # not a number of most hours: far off, no error
    assert wild.fit(hours, hours + 1).note.startswith("the model is not finite at ")


def _shifts(hours, peak_h=3.0):
    hours -= peak_h
    return np.exp(-(hours**2))


def _raises(hours, rate=1.0):
    raise RuntimeError("no\nroot")


@pytest.mark.parametrize(
    ("signal", "note"),
    [
        (_raises, "the model raised RuntimeError: no root"),
        (lambda hours, a=1.0: a * hours[:9], "the model raised ValueError: gave an array of shape (9,), expected (30,)"),
        (lambda hours, rate=1.0: rate * np.nan * hours, "the model is not finite at 30 of 30 values"),
    ],
)
def test_a_model_of_ones_own_that_fails_on_a_trace_is_noted(signal, note):
    """It passed its trial on an example; the other models and traces are none the worse."""
    hours = np.arange(30) / 2
    found = own(signal).fit(hours, hours + 1)
    assert (found.note, found.parameters) == (note, {}) and np.isnan(found.fitted).all() and len(found.fitted) == 30


def test_a_model_of_ones_own_that_changes_its_hours_changes_no_others():
    hours = np.arange(30) / 2
    values = np.exp(-((hours - 4) ** 2))
    values[3] = np.nan
    assert own(_shifts).fit(hours, values).parameters["peak_h"] == pytest.approx(4) and hours[0] == 0
