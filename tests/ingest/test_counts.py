"""Pixels as whole counts: what passes, what is converted, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.errors import DataError
from voxelmill.ingest.movies.counts import to_uint16


def test_dtypes():
    assert to_uint16(np.array([[0, 255]], np.uint8), False, "f").dtype == np.uint16
    with pytest.raises(DataError, match="--convert"):
        to_uint16(np.zeros((2, 2), np.float32), False, "f")
    assert to_uint16(np.array([[0.4, 65535.2]], np.float32), True, "f").tolist() == [[0, 65535]]
    assert to_uint16(np.array([[3, 70]], np.int32), True, "f").tolist() == [[3, 70]]
    for bad, message in (
        (np.array([[-1.0]]), "do not fit"),
        (np.array([[70_000]]), "do not fit"),
        (np.array([[np.nan]]), "NaN"),
        (np.array([[1j]]), "numbers of counts"),
    ):
        with pytest.raises(DataError, match=message):
            to_uint16(bad, True, "f")
