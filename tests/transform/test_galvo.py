"""The galvo return is found to the line, whatever the shift; where there is none, nothing is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.errors import DataError
from voxelmill.transform.galvo import find_shift, profile, without_return


def raw(nx: int, n_extra: int, shift: int, seed: int, looks: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A scan (z, nx, B-scans) with speckle, and the ring that the microscope records of it."""
    rng = np.random.default_rng(seed)
    scene = 100 * (1.5 + np.sin(np.linspace(0, 9, nx))[None, :, None] * np.cos(np.linspace(0, 7, 40)))
    scan = scene * rng.gamma(looks, 1 / looks, (24, nx, 40))
    back = 0.3 * scan[:, np.linspace(nx - 1, 0, n_extra).astype(int)]
    return scan, np.roll(np.concatenate([scan, back], axis=1), -shift, axis=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 150), st.integers(2, 24), st.integers(0, 1000), st.integers(0, 99))
def test_the_shift_is_exact(nx, n_extra, shift, seed):
    shift %= nx + n_extra
    made = [raw(nx, n_extra, shift, seed + k) for k in range(3)]
    found, sure = find_shift([profile(ring) for _, ring in made], n_extra)
    assert found == shift and sure > 0.6
    np.testing.assert_array_equal(without_return(made[0][1], found, nx), made[0][0])


def test_tiles_without_a_return_are_not_believed():
    flat = [np.random.default_rng(k).gamma(4, 25, (24, 80, 40)) for k in range(3)]
    assert find_shift([profile(t) for t in flat], 12)[1] < 0.6


def test_nothing_to_look_at_gives_no_shift():
    assert find_shift([], 16) == (0, 0.0) and find_shift([np.ones((9, 3))], 0) == (0, 0.0)
    with pytest.raises(DataError, match="expected one number, above 16"):
        find_shift([np.ones((16, 3))], 16)
