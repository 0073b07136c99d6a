"""Results of pairs: packed as plain arrays, they come back."""

import cv2
import numpy as np
from voxelmill.transform.pair_results import pack, unpack
from voxelmill.transform.registration import estimate_pair
from voxelmill.transform.warp import render, shift_transform


def test_packed_pairs_come_back(tmp_path):
    raw = cv2.GaussianBlur(np.random.default_rng(0).random((200, 160)).astype(np.float32), (0, 0), 2.5)
    pairs = [
        estimate_pair(raw, render(raw, shift_transform(1, 2)), level="elastic", numbers=(3, 4)),
        estimate_pair(raw, np.zeros_like(raw), level="elastic", numbers=(4, 6)),
    ]
    np.savez(tmp_path / "pairs.npz", **pack(pairs))
    with np.load(tmp_path / "pairs.npz") as arrays:
        back = unpack(arrays)
    assert back[1].field is None and back[1].blank == (False, True) and back[0].shape == raw.shape
    for a, b in zip(pairs, back):
        assert (a.fixed, a.moving, a.level, a.correlation) == (b.fixed, b.moving, b.level, b.correlation)
        np.testing.assert_array_equal(a.matrix, b.matrix)
    np.testing.assert_array_equal(pairs[0].field, back[0].field)
    assert unpack(pack([])) == []
