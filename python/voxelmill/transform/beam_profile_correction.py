"""Beam profile: the light over depth, measured and taken out: what focus and detector leave, and what tissue takes.

Agarose scatters alike everywhere: its usual A-line, away from tissue, is the profile of the beam. It begins at the surface;
what is read above it, without light, is no part of it:

    corrected = (value - dark) * usual / (profile(z) - dark) + dark

Tissue then throws shadows on what lies below: see `attenuation.py`. Where too little agarose is in view, shadows come first:
tissue tells how much light it takes, and the beam is what is then left of its brightness over depth.
"""

from __future__ import annotations

import numpy as np

from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Strict
from ..core.stage import In, Out
from ..core.volume import Region
from . import attenuation
from .agarose import BOX, Agarose, agarose, overview
from .slice_notes import Notes, one_step
from .slice_statistics import levels_of, surface, usual_profile, without_light
from .slice_volume import LEAST, SliceVolume, open_slice

FAINTEST = 0.05  # of the brightest: where the profile falls below it, it is not followed
LEAST_TOLD = 0.3  # of the planes: agarose that is lost above that tells too little
LEAST_SHARE = 0.05  # of the columns: less of it, that is lost farther up than at the last plane, may be dim tissue
EVEN = 2.0  # planes: sigma over which light changes little


class Parameters(Strict):
    """Light over depth."""

    attenuation_max_gain: float = param(
        16.0, "Most by which tissue in the shadow of tissue is made brighter; 1: shadows stay", ge=1
    )


def run(p: Parameters, task: Task, *, volume: In, slice: str, output: Out, notes: Out | None = None) -> None:
    one_step(task, output, notes, lambda: correct(open_slice(volume), p))


def correct(volume: SliceVolume, p: Parameters) -> tuple[SliceVolume, Notes]:
    """The slice, as if light were the same at all depths."""
    dim = agarose(overview(volume)[0], volume.shape)
    found: Notes = {"agarose_share": dim.share, "agarose_planes": dim.planes}
    told = tells(dim)
    profile = levels_of(volume, dim.down).percentile(50) if told else usual_profile(volume)[0]
    gain, dark = gain_of(profile)
    below = int(surface(profile) or 0) + 2
    offset, factor = np.float32(dark), (gain if told else np.ones(len(gain))).astype(np.float32)[:, None, None]

    def even(values: np.ndarray, region: Region) -> np.ndarray:
        corrected = values - offset
        corrected *= factor[region[0]]
        corrected += offset
        np.maximum(corrected, LEAST, out=corrected)
        corrected[values == 0] = 0
        return corrected

    made, alpha, most = volume.mapped(even), 0.0, p.attenuation_max_gain
    if most > 1 or not told:
        every = attenuation.squares(made, dim.begins.mapped(np.logical_not))[below:] - dark
        tissue = attenuation.without_glare(every, attenuation.FEW)
        if told:
            planes = len(tissue) if dim.planes > volume.shape[0] - BOX else max(0, dim.planes - below)
            alpha = attenuation.alpha_of(tissue[:planes], most)
        else:
            planes = attenuation.TOP
            alpha = attenuation.alpha_of_tissue(tissue) if most > 1 else 0.0
            found["notes_beam"] = "too little agarose is seen beside the tissue: light over depth is that of tissue"
        alpha = attenuation.within_light(tissue, alpha, planes, most)
        factor[below:, 0, 0] *= attenuation.gain_below(attenuation.without_glare(every), alpha, planes, most)
    found |= {"profile": profile, "profile_gain": factor.ravel(), "beam_gain_most": float(factor.max())}
    found |= {"attenuation_alpha": alpha}
    return attenuation.compensated(made, alpha, dark, most) if alpha else made, found


def tells(dim: Agarose) -> bool:
    """Whether agarose is enough to tell the light over depth."""
    nz = dim.shape[0]
    return dim.planes > max(0, nz - BOX) or (dim.planes >= LEAST_TOLD * nz and dim.share >= LEAST_SHARE)


def gain_of(profile: np.ndarray) -> tuple[np.ndarray, float]:
    """(nz,) factors that make an agarose A-line even, and what is read without light.

    Above the surface, and where the profile is too faint, the factor is that of the nearest plane that tells."""
    from scipy.ndimage import gaussian_filter1d

    depth = surface(profile)
    first = 0 if depth is None else int(np.ceil(depth)) + 1
    dark = without_light(profile, depth)
    light = profile - dark
    tells = (np.arange(len(profile)) >= first) & (light > FAINTEST * light.max())
    if not tells.any():
        return np.ones(len(profile)), dark
    at = np.flatnonzero(tells)
    smooth = np.exp(gaussian_filter1d(np.log(light[at]), EVEN, mode="nearest"))
    return np.interp(np.arange(len(profile)), at, float(np.median(smooth)) / smooth), dark
