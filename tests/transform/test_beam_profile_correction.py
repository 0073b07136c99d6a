"""Beam profile: a known beam over agarose is taken out; what is dark stays dark."""

from __future__ import annotations

import numpy as np
from voxelmill.transform.beam_profile_correction import gain_of


def test_a_known_beam_is_taken_out() -> None:
    z = np.arange(50)
    beam = 1 / (1 + ((z - 22) / 15) ** 2)
    profile = np.where(z < 8, 0, 100 * beam) + 9
    gain, dark = gain_of(profile)
    assert abs(dark - 9) < 0.2
    even = (profile - dark) * gain
    assert np.std(even[10:]) < 0.02 * np.mean(even[10:])
    assert np.allclose(gain[:8], gain[0])  # no plane above the surface is raised by what it lacks
