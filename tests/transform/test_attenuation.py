"""Attenuation: shadows of a made block, whose light is known, are taken out."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.space import MM, Axis, Space
from voxelmill.testing.oct import phantom
from voxelmill.testing.slices import texture
from voxelmill.transform import attenuation
from voxelmill.transform.attenuation import (
    TOP,
    alpha_of,
    alpha_of_tissue,
    compensated,
    gain_below,
    squares,
    taken_by_plane,
    within_light,
    without_glare,
)
from voxelmill.transform.beam_profile_correction import Parameters, correct
from voxelmill.transform.slice_volume import SliceVolume

SHAPE = (40, 96, 80)
SCATTER = texture(SHAPE, seed=3, grain=3.0)
LIGHT = np.exp(-0.1 * (np.cumsum(SCATTER, 0) - SCATTER))
DARK = 0.05


def volume(values: np.ndarray) -> SliceVolume:
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3, (0, 0, 0))
    return SliceVolume(values.shape, space, lambda region: values[region])


SEEN = (SCATTER * LIGHT + DARK).astype(np.float32)
EVERYWHERE = tuple(slice(0, n) for n in SHAPE)


def test_shadows_are_taken_out():
    alpha = alpha_of(squares(volume(SEEN), np.ones(SHAPE[1:], bool)) - DARK, 16)
    assert abs(alpha - 0.1) < 0.01
    made = compensated(volume(SEEN), alpha, DARK, 16).read(EVERYWHERE) - DARK
    off = lambda values: float(np.std(values[30:] / SCATTER[30:] / np.mean(values[30:] / SCATTER[30:])))  # noqa: E731
    assert off(made) < 0.1 < 0.9 < made[30:].mean() / SCATTER[30:].mean() < 1.1
    assert (SEEN[30:] - DARK).mean() / SCATTER[30:].mean() < 0.3


def test_gain_is_bounded_and_what_was_not_acquired_stays():
    seen = SEEN.copy()
    seen[:, :10] = 0
    made = compensated(volume(seen), 0.1, DARK, 2).read(EVERYWHERE)
    assert (made[:, :10] == 0).all() and np.nanmax((made - DARK)[:, 10:] / (seen - DARK)[:, 10:]) < 2.001


def test_scattered_voxels_that_were_not_acquired_do_not_hide_shadows():
    """Columns that lack more, or a plane of a square, tell nothing."""
    seen = SEEN.copy()
    seen[np.random.default_rng(4).random(SHAPE) < 0.01] = 0
    tissue = squares(volume(seen), np.ones(SHAPE[1:], bool))
    assert tissue.shape[1] == 120 and abs(alpha_of(tissue - DARK, 16) - 0.1) < 0.01
    seen[10:20, :8, :8] = seen[20, :8, 8:13] = 0
    assert squares(volume(seen), np.ones(SHAPE[1:], bool)).shape[1] == 118


def test_scattered_voxels_of_a_deep_slice_do_not_hide_shadows():
    """It is read in parts of planes, of which the last may be thin: a column is judged whole."""
    seen = np.concatenate([SEEN, SEEN])[:72]
    seen[np.random.default_rng(4).random(seen.shape) < 0.01] = 0
    assert squares(volume(seen), np.ones(SHAPE[1:], bool)).shape[1] > 100


def test_glare_tells_nothing_of_shadows():
    tissue = squares(volume(SEEN), np.ones(SHAPE[1:], bool)) - DARK
    bright = np.concatenate([tissue, np.full((SHAPE[0], 2), 200 * tissue.max())], 1)
    assert (without_glare(bright) == tissue).all() and (without_glare(tissue) == tissue).all()
    assert without_glare(bright, 0.01) is bright  # so many may be tissue
    assert without_glare(tissue[:, :0]).shape == (40, 0) and (without_glare(-bright) == -bright).all()


def test_regions_agree_with_the_whole():
    """A region is made of what lies above and beside it, whoever asks for it."""
    one = compensated(volume(SEEN), 0.1, DARK, 16)
    part = (slice(16, 30), slice(32, 64), slice(10, 80))
    assert np.abs(one.read(part) - one.read(EVERYWHERE)[part]).max() < 1e-5


def test_what_agarose_does_not_tell_of_the_beam_tissue_does():
    """alpha from the planes in which the beam is known; below, each plane has a tenth less light, and tissue says so."""
    beam = np.where(np.arange(SHAPE[0]) < 20, 1.0, 0.9 ** (np.arange(SHAPE[0]) - 19.0))
    tissue = squares(volume((SEEN - DARK) * beam[:, None, None].astype(np.float32)), np.ones(SHAPE[1:], bool))
    alpha = alpha_of(tissue[:20], 16)
    assert abs(alpha - 0.1) < 0.02
    light = gain_below(tissue, alpha, 20, 16) * beam
    assert light.std() / light.mean() < 0.1 < beam.std() / beam.mean()
    assert (gain_below(tissue[:, :4], alpha, 20, 16) == 1).all()  # too little to tell


def test_tissue_alone_tells_its_shadows_whatever_the_beam():
    """What takes light is above, never below: that tells, and the beam is what is left."""
    block = phantom((40, 240, 240), seed=1)[:, 72:168, 72:168]  # tissue throughout
    beam = np.exp(-(((np.arange(40) - 15) / 15) ** 2) / 2)[:, None, None]
    shadows = np.exp(-0.045 * (np.cumsum(block, 0) - block))
    seen, still = (of_squares(values) for values in (block * shadows * beam, block * beam))
    assert abs(taken_by_plane(seen) / (0.045 * block.mean()) - 1) < 0.25
    assert taken_by_plane(still) < 0.01
    light = gain_below(seen, alpha_of_tissue(seen), TOP, 16) * beam.ravel()
    assert light[TOP:].std() / light[TOP:].mean() < 0.2 < beam.std() / beam.mean()


def test_no_column_loses_more_than_all_of_its_light():
    """What was found too high is lowered to what light allows, under a beam that tissue must tell, too; else it is left."""
    block = phantom((40, 240, 240), seed=1)[:, 72:168, 72:168]
    beam = np.exp(-(((np.arange(40) - 15) / 15) ** 2) / 2)[:, None, None]
    shadows = np.exp(-0.06 * (np.cumsum(block, 0) - block))
    for seen, told in ((of_squares(block * shadows), 40), (of_squares(block * shadows * beam / beam[0]), TOP)):
        assert abs(within_light(seen, 0.12, told, 16) / 0.06 - 1) < 0.2
        assert within_light(seen, 0.04, told, 16) == 0.04
        assert within_light(seen, 0.0, told, 16) == 0


@pytest.mark.parametrize("k", [0.1, 0.15])
def test_where_hardly_any_light_is_left_a_right_shadow_stays(k: float):
    """Planes take much of it, the last ones have next to none: neither sums of planes nor raised noise say more was lost."""
    block = phantom((40, 240, 240), seed=1)[:, 72:168, 72:168]
    beam = (1 / (1 + ((np.arange(40) - 15) / 18) ** 2))[:, None, None]
    shadows = np.exp(-k * (np.cumsum(block, 0) - block))
    for seen, told in ((of_squares(block * shadows), 40), (of_squares(block * shadows * beam / beam[0]), TOP)):
        assert within_light(seen, 0.9 * k, told, 16) == 0.9 * k


def test_a_shadow_found_too_deep_is_lowered_where_slices_are_corrected(monkeypatch: pytest.MonkeyPatch):
    """Tissue throughout, and twice what up and down tell."""
    block = phantom((40, 240, 240), seed=1)[:, 72:168, 72:168]
    seen = (block * np.exp(-0.06 * (np.cumsum(block, 0) - block))).astype(np.float32)
    one = SliceVolume((40, 96, 96), volume(SEEN).space, lambda region: seen[region])
    monkeypatch.setattr(attenuation, "alpha_of_tissue", lambda tissue: 2 * alpha_of_tissue(tissue))
    _, found = correct(one, Parameters())
    assert "notes_beam" in found and 0.035 < found["attenuation_alpha"] < 0.075


def test_what_cannot_be_told_from_chance_is_no_shadow():
    few = np.random.default_rng(3).gamma(20, 1 / 20, (40, 200))
    assert taken_by_plane(few) == taken_by_plane(few[:, :4]) == taken_by_plane(few[:4]) == alpha_of_tissue(few[:0]) == 0


def test_noise_below_all_light_is_no_tissue():
    """It is made no brighter than the faintest that tells, and says nothing of shadows."""
    rng = np.random.default_rng(2)
    block = phantom((60, 240, 240), seed=1)[:, 72:168, 72:168]
    light = np.exp(-0.045 * (np.cumsum(block, 0) - block) - np.arange(60)[:, None, None] / 60)
    seen = of_squares(block * light) + rng.normal(0, 0.003, (60, 144))
    seen[45:] = rng.normal(0, 0.003, (15, 144))
    alpha = alpha_of_tissue(seen)
    assert abs(alpha / 0.045 - 1) < 0.25
    gain = gain_below(seen, alpha, TOP, 16)
    assert 1 < gain.max() < 20 and (gain[45:] == gain[44]).all()


def of_squares(values: np.ndarray) -> np.ndarray:
    n, ny, nx = values.shape
    return values.reshape(n, ny // 8, 8, nx // 8, 8).mean((2, 4)).reshape(n, -1)


def test_a_rim_narrower_than_a_square_is_no_tissue():
    """The last shard of a slice may be a few px wide."""
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3, (0, 0, 0))
    wide = SliceVolume((2, 16, 259), space, lambda region: np.ones([r.stop - r.start for r in region], np.float32))
    assert squares(wide, np.ones((16, 259), bool)).shape == (2, 2 * 32)


def test_tissue_that_is_not_darker_below_is_left_alone():
    assert alpha_of(np.full((40, 100), -1.0) * np.arange(1, 41)[::-1, None], 16) == 0  # darker than without light
    assert alpha_of(np.ones((40, 100)), 16) == 0
    assert alpha_of(np.ones((40, 4)), 16) == 0  # too little to tell
