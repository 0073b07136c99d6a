"""Orientation codes: all 48, on a block whose six sides differ."""

from __future__ import annotations

import re

import numpy as np
import pytest
from voxelmill.core.orientation import CODES, PATTERN, RAS, affine, directions

TOWARD = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


def test_there_are_48_and_the_pattern_takes_no_others():
    assert len(set(CODES)) == 48 and all(re.match(PATTERN, code) for code in (*CODES, ""))
    assert not [bad for bad in ("RLS", "PIRS", "PI", "pir", "RRA", "XIR", "SAS") if re.match(PATTERN, bad)]


@pytest.mark.parametrize("code", CODES)
def test_each_axis_goes_where_its_letter_says(code: str):
    for dim, letter in enumerate(code):
        assert tuple(directions(code)[:, dim]) == TOWARD[letter]


def test_a_store_in_ras_keeps_its_numbers():
    made = affine(RAS, (3, 2, 1), (30, 20, 10))  # z, y, x
    assert np.allclose(made @ (1, 1, 1, 1), (11, 22, 33, 1))
    assert np.allclose(affine("IPL", (3, 2, 1), (30, 20, 10)) @ (1, 1, 1, 1), (-11, -22, -33, 1))
