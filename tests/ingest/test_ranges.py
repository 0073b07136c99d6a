"""Ranges in words: what is read, what is refused."""

from __future__ import annotations

import pytest
from voxelmill.core.errors import ParameterError
from voxelmill.ingest.movies.ranges import parse_range

EVERY = [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("2", [2]),
        ("0-1,4", [0, 1, 4]),
        ("4, 0-1, 1", [0, 1, 4]),
        (3, [3]),
        ("all", EVERY),
        (-1, EVERY),
        ("-1", EVERY),
        (None, EVERY),
    ],
)
def test_parse_range(spec, expected):
    assert parse_range(spec, 5) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("5", "there are 5, numbered 0-4"),
        ("0-5", "numbered 0-4"),
        ("3-1", "backwards"),
        ("a", "cannot read"),
        ("1-", "cannot read"),
        ("0,,2", "cannot read"),
        ("-2", "cannot read"),
        ("1.5", "cannot read"),
    ],
)
def test_parse_range_refuses(spec, message):
    with pytest.raises(ParameterError, match=message):
        parse_range(spec, 5)
