"""Focal curvature: the sag of made tiles is found and taken out, nothing comes round from the bottom."""

from __future__ import annotations

import numpy as np
from voxelmill.testing.oct import Acquisition
from voxelmill.transform.fix_focal_curvature import depth_of_surface, raised


def test_the_surface_is_found() -> None:
    made = Acquisition(slices=1, grid=(1, 1), surface=9.0)
    depth = depth_of_surface(next(iter(tiles(made))))
    assert abs(np.nanmedian(depth) - 9) < 0.7


def tiles(made: Acquisition):
    nz, n1, n2 = made.tile
    z = np.arange(nz, dtype=np.float32)[:, None, None]
    yield np.broadcast_to(1000 / (1 + np.exp(-4 * (z - made.surface))) + 5, (nz, n1, n2)).astype(np.float32)


def test_lines_move_up_by_fractions_and_end_in_0() -> None:
    tile = np.broadcast_to(np.arange(1, 9, dtype=np.float32)[:, None, None], (8, 1, 3))
    out = raised(tile, np.array([[0.0, 1.5, 3.0]]))
    assert np.allclose(out[:, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8])
    assert np.allclose(out[:, 0, 1], [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 0, 0])
    assert np.allclose(out[:, 0, 2], [4, 5, 6, 7, 8, 0, 0, 0])
