"""Beam profile: a known beam over agarose is taken out; what is dark stays dark."""

from __future__ import annotations

import numpy as np
from voxelmill.core.space import MM, Axis, Space
from voxelmill.transform.beam_profile_correction import Parameters, correct, gain_of
from voxelmill.transform.slice_volume import SliceVolume


def test_a_known_beam_is_taken_out() -> None:
    z = np.arange(50)
    beam = 1 / (1 + ((z - 22) / 15) ** 2)
    profile = np.where(z < 8, 0, 100 * beam) + 9
    gain, dark = gain_of(profile)
    assert abs(dark - 9) < 0.2
    even = (profile - dark) * gain
    assert np.std(even[10:]) < 0.02 * np.mean(even[10:])
    assert np.allclose(gain[:8], gain[0])  # no plane above the surface is raised by what it lacks


def test_the_share_of_agarose_is_that_of_the_columns_without_tissue() -> None:
    rng = np.random.default_rng(5)
    scatter = np.full((24, 128, 160), 0.1)
    scatter[:, 32:96, 40:120] = 1.0  # a quarter
    values = (scatter * rng.gamma(6, 1 / 6, scatter.shape)).astype(np.float32)
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3, (0,) * 3)
    _, found = correct(SliceVolume((24, 128, 160), space, lambda region: values[region]), Parameters())
    assert abs(found["agarose_share"] - 0.75) < 0.02
