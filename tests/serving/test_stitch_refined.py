"""What refinement of tiles found, as JSON."""

from __future__ import annotations

import json

import numpy as np
from voxelmill.testing.stitched import positions, stitched


def test_refinement_is_written_as_json() -> None:
    data = json.loads((stitched() / "refinement.json").read_text())
    assert len(data["tiles"]) == 4 and len(data["seams"]) >= 4
    assert np.allclose([t["position_px"] for t in data["tiles"]], positions(stitched() / "refined_tiles.csv"), atol=1e-3)
    assert all(abs(v - 1) < 0.1 for v in data["dilation"].values())
