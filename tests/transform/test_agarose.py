"""Agarose is told from dim tissue where there is little of it and its outline moves with depth."""

from __future__ import annotations

import numpy as np
import pytest
from voxelmill.core.space import MM, Axis, Space
from voxelmill.transform.agarose import Agarose, Columns, agarose, overview
from voxelmill.transform.beam_profile_correction import Parameters as BeamProfile
from voxelmill.transform.beam_profile_correction import correct, tells
from voxelmill.transform.normalize import Parameters, normalize
from voxelmill.transform.slice_statistics import levels_of
from voxelmill.transform.slice_volume import SliceVolume

NZ, NY, NX = 48, 118, 120
LEVEL = 60 * np.exp(-np.arange(NZ) / 60)  # of agarose, by plane


def made(strip: int, looks: float = 6) -> tuple[SliceVolume, np.ndarray]:
    """A slice with agarose in its first `strip` columns, half as many below, and where it is."""
    rng = np.random.default_rng(5)
    widths = strip - strip / 2 * np.arange(NZ) / NZ
    there = np.arange(NX) < widths[:, None, None] + np.zeros((NZ, NY, 1))
    tissue = 10 * rng.lognormal(-0.1, 0.45, (NY // 2, NX // 2)).repeat(2, 0).repeat(2, 1)
    scatter = np.where(there, 1.0, tissue)
    values = LEVEL[:, None, None] * scatter * rng.gamma(looks, 1 / looks, there.shape) + 9
    values = values.astype(np.float32)
    space = Space.of([Axis(name, "space", MM) for name in "zyx"], (0.01,) * 3)
    return SliceVolume((NZ, NY, NX), space, lambda region: values[region].copy()), there


@pytest.mark.parametrize("looks", [6, 1])
@pytest.mark.parametrize("strip", [60, 12])
def test_columns_end_where_tissue_begins(strip: int, looks: float) -> None:
    volume, there = made(strip, looks)
    down = agarose(overview(volume)[0], volume.shape).down[0:NY, 0:NX]
    assert down.any() and (down <= there.sum(0) + 4).all()  # to a box
    z = np.arange(NZ)[:, None, None]
    assert ((z < down) & ~there).sum() < 0.02 * (z < down).sum()
    profile = levels_of(volume, down).percentile(50) - 9
    ratio = profile / LEVEL
    assert ratio.std() / ratio.mean() < (0.05 if looks == 6 else 0.12)


def test_agarose_is_not_followed_into_tissue() -> None:
    """A corner of it that tissue closes halfway down: followed as far as it is seen, not into what lies below."""
    volume, _ = made(0)
    rng = np.random.default_rng(5)
    values = volume.read(tuple(slice(0, n) for n in volume.shape))
    for z in range(NZ):
        side = max(0, 32 - z)
        values[z, :side, :side] = LEVEL[z] * rng.gamma(6, 1 / 6, (side, side)) + 9
    corner = SliceVolume(volume.shape, volume.space, lambda region: values[region].copy())
    found = agarose(overview(corner)[0], volume.shape)
    assert 8 <= found.planes <= 28


def test_tissue_alone_has_none() -> None:
    """Not its dimmest part either; tissue itself tells of light over depth, for want of better."""
    volume, _ = made(0)
    even, found = correct(volume, BeamProfile(attenuation_max_gain=1))
    assert "too little agarose" in found["notes_beam"]
    levels = np.median(even.read(tuple(slice(0, n) for n in volume.shape)) - 9, axis=(1, 2))
    assert levels.std() / levels.mean() < 0.05 < np.std(LEVEL) / np.mean(LEVEL)
    assert agarose(overview(volume)[0], volume.shape).share == 0


def test_dim_tissue_is_not_cut_off() -> None:
    volume, there = made(12)
    clean, _ = normalize(volume, Parameters())
    seen = clean.read(tuple(slice(0, n) for n in volume.shape))
    below = seen[np.broadcast_to(~there, seen.shape)]
    assert (below < 0.001).mean() < 0.01
    levels = np.array([np.median(plane[~at]) for plane, at in zip(seen, there, strict=True)])
    assert levels.std() / levels.mean() < 0.03


@pytest.mark.parametrize("planes", [1, 3, 7])
def test_a_slice_of_few_planes_without_agarose_says_so(planes: int) -> None:
    volume, _ = made(0)
    few = SliceVolume((planes, NY, NX), volume.space, volume.read)
    even, found = correct(few, BeamProfile())
    assert "too little agarose" in found["notes_beam"]
    assert np.isfinite(even.read((slice(0, planes), slice(0, NY), slice(0, NX)))).all()


@pytest.mark.parametrize(
    ("boxes", "planes", "enough"), [(4, 20, False), (10, 20, True), (10, 8, False), (4, 40, True), (0, 0, False)]
)
def test_a_little_agarose_is_believed_where_it_is_seen_throughout(boxes: int, planes: int, enough: bool) -> None:
    """Of 100 columns of boxes, 40 planes deep: less may be dim tissue."""
    begins = np.arange(100).reshape(10, 10) < boxes
    found = Agarose(Columns(begins, 4), Columns(np.where(begins, planes, 0).astype(np.int32), 4), (40, 40, 40))
    assert tells(found) is enough


@pytest.mark.parametrize(("strip", "share"), [(0, 0.0), (60, 0.43)])
@pytest.mark.parametrize(("side", "times"), [(12, 10), (12, 60), (60, 60)])
def test_glare_makes_no_agarose_of_tissue(strip: int, share: float, side: int, times: float) -> None:
    """Of 1 % of the columns, or of a quarter, as a saturated tile; beside agarose or where there is none."""
    volume, _ = made(strip)
    values = volume.read(tuple(slice(0, n) for n in volume.shape))
    values[:, -side:, -side:] = 10 * times * LEVEL[:, None, None]
    glaring = SliceVolume(volume.shape, volume.space, lambda region: values[region].copy())
    assert abs(agarose(overview(glaring)[0], volume.shape).share - share) < 0.05


def test_grey_values_squashed_by_glare_are_said() -> None:
    volume, _ = made(12)
    values = volume.read(tuple(slice(0, n) for n in volume.shape))
    values[:, :20, 60:80] *= 600
    _, found = normalize(SliceVolume(volume.shape, volume.space, lambda region: values[region].copy()), Parameters())
    assert "lower --clip_percentile_upper" in found["notes_glare"] and "notes_glare" not in normalize(volume, Parameters())[1]
