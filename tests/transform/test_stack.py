"""Stack: profiles on data where registration is good; blocks agree."""

from __future__ import annotations

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.testing.oct_score import volume_score
from voxelmill.testing.slices import registered, stacked

PROFILES = {
    "aggressive": {
        "skip_warning_transforms": False, "skip_error_transforms": False, "transform_confidence_low": 0,
        "transform_confidence_high": 0.3,
    },
    "conservative": {"apply_rotation_only": True},
    "minimal": {"apply_pairwise_transforms": False},
}  # fmt: skip


def test_profiles_where_registration_is_good(tmp_path):
    made, source, stores = registered()
    scores = {}
    for name, flags in PROFILES.items():
        scores[name] = volume_score(made, open_image(stacked(tmp_path / name, stores, source, **flags)).read())
    off = {name: score["plane_shift_rms_px"] for name, score in scores.items()}
    alike = {name: score["correlation"] for name, score in scores.items()}
    assert off["aggressive"] < 0.25 and off["minimal"] > 0.5, off  # what the stage did not know of stays
    assert alike["aggressive"] > alike["conservative"] >= alike["minimal"], alike


def test_blocks_agree_with_the_whole(tmp_path):
    _, source, stores = registered()
    whole = open_image(stacked(tmp_path / "w", stores, source)).read()
    part = open_image(stacked(tmp_path / "p", stores, source, block="0-1"))
    assert np.array_equal(part.read(np.s_[:16, :128]), whole[:16, :128])
