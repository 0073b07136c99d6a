"""Parts of a stack that no pair holds: laid by the stage, as it errs elsewhere, and doubted as much as it deserves."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.transform.slice_parts import EXACT, parts_of, rejoined


def test_parts():
    assert parts_of([(0, 1), (3, 1), (4, 5)], 7).tolist() == [0, 0, 1, 0, 2, 2, 3]
    values = np.arange(6.0).reshape(3, 2)
    same, doubt = rejoined(values, np.zeros(3, int), [0, 1, 2], 1.0)
    assert same is values and not doubt.any()


@pytest.mark.parametrize(("kind", "least"), [("new for each slice", 0.75), ("adding up", 1.1)])
def test_the_stage_is_believed_as_it_errs(kind, least):
    """Against ends that agree, which is best where errors add up; the doubt is what it is off by, RMS."""
    rng = np.random.default_rng(1)
    ends, found, said = [], [], []
    for _ in range(100):
        error = rng.normal(0, 2, (10, 2))
        error = np.cumsum(error, 0) if kind == "adding up" else error
        part, numbers = np.repeat([0, 1], 5), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
        values = error + np.where(part == 1, 50.0, 0.0)[:, None]
        made, doubt = rejoined(values, part, numbers, 1.0)
        np.testing.assert_allclose(np.diff(made[:5], axis=0), np.diff(error[:5], axis=0), atol=1e-9)
        ends.append(error[5] - error[4])
        found.append(made[5] - made[4] - ends[-1])
        said.append(doubt[5])
        assert doubt[[0, 4, 6]].tolist() == [0, 0, 0]
    rms = np.sqrt(np.square([ends, found]).sum(-1).mean(1))
    assert rms[1] < least * rms[0]
    assert 0.8 * rms[1] < np.sqrt(np.square(said).mean()) < 1.6 * rms[1]


def test_slices_that_nothing_holds_lie_as_the_stage_says():
    values, doubt = rejoined(np.zeros((3, 1)), np.arange(3), [0, 1, 4], 1.0)
    assert not values.any() and doubt[0] == 0 and 0 < doubt[1] < doubt[2]


def test_what_is_added_has_no_last_bits():
    """They depend on the number of threads."""
    values = np.random.default_rng(4).normal(0, 2, (6, 2))
    made, _ = rejoined(values, np.repeat([0, 1], 3), [0, 1, 2, 4, 5, 6], 1.0)
    steps = (made - values) / EXACT
    assert np.abs(steps).max() > 1 and np.abs(steps - np.round(steps)).max() < 1e-6
