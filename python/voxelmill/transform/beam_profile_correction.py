"""Beam profile: the light over depth that focus and detector leave, measured in agarose and taken out.

Agarose scatters alike everywhere: its mean A-line is the profile of the beam. It begins at the surface; what is read
above it, without light, is no part of it:

    corrected = (value - dark) * usual / (profile(z) - dark) + dark
"""

from __future__ import annotations

import numpy as np

from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import Region
from .slice_notes import Notes, one_step
from .slice_statistics import Clipped, agarose, levels_of, mean_profile, mean_projection, surface, without_light
from .slice_volume import LEAST, SliceVolume, open_slice

FEWEST = 0.005  # of the columns that must be agarose
FAINTEST = 0.05  # of the brightest: where the profile falls below it, it is not followed


class Parameters(Clipped, Strict):
    """Beam profile."""


def run(p: Parameters, task: Task, *, volume: In, slice: str, output: Out, notes: Out | None = None) -> None:
    one_step(task, output, notes, lambda: correct(open_slice(volume), p))


def correct(volume: SliceVolume, p: Clipped) -> tuple[SliceVolume, Notes]:
    """The slice, as if the beam were the same at all depths."""
    mask = agarose(mean_projection(volume))
    share = float(mask.mean())
    found: Notes = {"agarose_share": share}
    if share < FEWEST:
        return volume, found | {"notes_beam": f"{share:.1%} of the columns are agarose: beam profile left as it is"}
    most = float(levels_of(volume).percentile(p.clip_percentile_upper, whole=True)[0])
    profile = mean_profile(volume, mask, most)
    gain, dark = gain_of(profile)
    found |= {"profile": profile, "profile_gain": gain.astype(np.float32), "beam_gain_most": float(gain.max())}
    factor, offset = gain.astype(np.float32)[:, None, None], np.float32(dark)

    def even(values: np.ndarray, region: Region) -> np.ndarray:
        corrected = (values - offset) * factor[region[0]] + offset
        return np.where(values == 0, np.float32(0), np.maximum(corrected, LEAST))

    return volume.mapped(even), found


def gain_of(profile: np.ndarray) -> tuple[np.ndarray, float]:
    """(nz,) factors that make an agarose A-line even, and what is read without light.

    Above the surface, and where the profile is too faint, the factor is that of the nearest plane that tells."""
    depth = surface(profile)
    first = 0 if depth is None else int(np.ceil(depth)) + 1
    dark = without_light(profile, depth)
    light = profile - dark
    tells = (np.arange(len(profile)) >= first) & (light > FAINTEST * light.max())
    if not tells.any():
        return np.ones(len(profile)), dark
    at = np.flatnonzero(tells)
    return np.interp(np.arange(len(profile)), at, float(np.median(light[at])) / light[at]), dark
