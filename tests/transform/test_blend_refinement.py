"""Blend refinement: slices that the plan has a little off are laid on each other; what is too far is left."""

from __future__ import annotations

import json

import numpy as np
import pytest
from voxelmill.testing.slices import registered, stacked
from voxelmill.transform.warp import apply, centre_of


def shifts(folder) -> np.ndarray:
    """(slices, 2) px in the middle of the canvas, of the first slice 0."""
    plan = json.loads((folder / "plan.json").read_text())
    middle = np.array(centre_of(plan["shape"][1:]))
    found = np.array([apply(np.array(s["matrix"]), middle) for s in plan["slices"]])
    return found - found[0]


@pytest.mark.parametrize(("most", "finds"), [(0, False), (10, True), (0.01, False)])
def test_what_pairs_left_is_found(tmp_path, most, finds):
    """Pairs are not applied, so that all that the stage does not know of is left."""
    _, source, stores = registered()
    flags = {"apply_pairwise_transforms": False, "block": "0-0"}
    stacked(tmp_path / "still", stores, source, **flags)
    stacked(tmp_path / "full", stores, source, block="0-0")
    stacked(tmp_path / "refined", stores, source, blend_refinement_px=most, **flags)
    still, full, refined = (shifts(tmp_path / name) for name in ("still", "full", "refined"))
    assert (np.abs(refined - full).max() < 0.5 * np.abs(still - full).max()) == finds
    assert finds or np.array_equal(still, refined)
