"""Register pairwise: the transform of a pair, as other tools read it, and its metrics."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.volume import open_image
from voxelmill.testing.slices import THICK, registered
from voxelmill.transform import register_pairwise
from voxelmill.transform.pairs import read_metrics


def test_itk_reads_the_transform():
    sitk = pytest.importorskip("SimpleITK")
    made, source, stores = registered()
    pair = read_metrics(source / "0-1.json")
    transform = sitk.ReadTransform(str(source / "0-1.tfm"))
    a, b = (np.array(open_image(stores[s]).origin[1:]) / 1e4 for s in (0, 1))  # px
    for p in ((20.0, 30.0), (150.0, 90.0)):  # (dim 1, dim 2); ITK has x = dim 2 first
        x, y, _ = transform.TransformPoint((p[1], p[0], 0.0))
        on_stage = np.array([p]) + a + made.stage[0]
        truth = made.from_block(1, made.to_block(0, on_stage))[0] - made.stage[0] - b
        assert np.hypot(*(truth - (y, x))) < 0.3
    assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5


def test_the_pair_lies_where_it_was_cut():
    """Truth: of a point of the first slice, where it lies in the second; and how deep the second begins."""
    made, source, _ = registered()
    for a, b in zip(made.kept[:-1], made.kept[1:]):
        pair = read_metrics(source / f"{a}-{b}.json")
        assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5
        assert (source / f"{a}-{b}.tfm").read_text().startswith("#Insight Transform File V1.0")
        assert len((source / f"{a}-{b}.txt").read_text().split()) == 2
        assert (
            abs(pair.rotation_deg - (made.rotations[b] - made.rotations[a])) < 0.15
            or abs(pair.rotation_deg + (made.rotations[b] - made.rotations[a])) < 0.15
        )


@pytest.mark.parametrize("searched", [80, 384])
def test_large_slices_are_compared_smaller(monkeypatch, searched):
    """Depth on means of 3 x 3 px; slices read in tiles."""
    made, _, stores = registered()
    monkeypatch.setattr(register_pairwise, "SEARCHED", searched)
    monkeypatch.setattr(register_pairwise, "TILE", 100)
    p = register_pairwise.Parameters(registration_slicing_interval_mm=THICK)
    pair, matrix = register_pairwise.registered(p, (open_image(stores[1]), open_image(stores[2])), (1, 2))
    assert pair.status == "ok" and abs(pair.fixed_z - pair.expected_z) < 0.5
    assert abs(abs(pair.rotation_deg) - abs(made.rotations[2] - made.rotations[1])) < 0.15
