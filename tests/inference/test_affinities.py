"""Affinities patch by patch, and the basins that are made of them."""

from __future__ import annotations

import numpy as np
from voxelmill.inference import affinities, affinity_basins
from voxelmill.inference.affinities import HALO, Grey, grey_of
from voxelmill.testing.em import neurites


def local(x: np.ndarray) -> np.ndarray:
    """A network that sees a little less than the halo: logits (9, z, y, x) of a block (1, z, y, x)."""
    out = np.zeros_like(x[0])
    for axis, reach in enumerate(HALO):
        for d in (-reach, reach):
            moved = np.roll(x[0], d, axis)  # what comes in from the other side is beyond the halo, or the volume's end
            cut = [slice(None)] * 3
            cut[axis] = slice(0, d) if d > 0 else slice(d, None)
            moved[tuple(cut)] = 0
            out += moved
    return np.repeat(out[None], 9, 0)


def test_patches_make_no_seams(monkeypatch):
    grey = np.random.default_rng(0).integers(1, 255, (14, 96, 120)).astype(np.uint8)
    normal = Grey(np.full(14, 120, np.float32), np.full(14, 60, np.float32))
    whole = tuple(slice(0, n) for n in grey.shape)
    found = []
    for patch in (256, 40):
        monkeypatch.setattr(affinities, "PATCH", patch)
        found.append(affinities.affinities(local, grey, whole, normal))
    assert np.array_equal(*found) and found[0].shape == (3, 14, 96, 120)
    assert len(np.unique(found[0])) > 100


def test_a_part_with_its_halo_is_the_part_of_the_whole():
    grey = np.random.default_rng(1).integers(1, 255, (30, 64, 80)).astype(np.uint8)
    normal = Grey(np.full(30, 120, np.float32), np.full(30, 60, np.float32))
    whole = affinities.affinities(local, grey, tuple(slice(0, n) for n in grey.shape), normal)
    part = (slice(10, 20), slice(20, 40), slice(40, 80))
    outer = affinities.reach(part, grey.shape)
    inner = tuple(slice(p.start - o.start, p.stop - o.start) for p, o in zip(part, outer))
    z = outer[0]
    found = affinities.affinities(local, grey[outer], inner, Grey(normal.mean[z], normal.spread[z]))
    assert np.array_equal(found, whole[(slice(None), *part)])


def test_what_is_normal_does_not_count_missing_data():
    sections = np.full((2, 10, 10), 100, np.uint8)
    sections[0, :5] = 0
    sections[1, :, ::2] = 120
    counts = np.stack([np.bincount(s.ravel(), minlength=256) for s in sections])
    mean, spread = grey_of(counts)
    assert mean.tolist() == [100, 110] and spread.tolist() == [0, 10]


def three_blobs() -> np.ndarray:
    """Affinities (3, z, y, x) high in three balls, one behind another."""
    z, y, x = np.mgrid[:24, :40, :60]
    inside = np.zeros(z.shape)
    for c in (10, 30, 50):
        inside += np.exp(-((z - 12) ** 2 + (y - 20) ** 2 + (x - c) ** 2) / 60)
    return np.repeat((255 * np.clip(inside, 0, 1)).astype(np.uint8)[None], 3, 0)


def test_each_blob_is_a_basin():
    found = affinity_basins.basins(three_blobs(), np.zeros((24, 40, 60), bool), False)
    centres = found[12, 20, [10, 30, 50]]
    assert len(set(centres.tolist())) == 3 and found.min() == 1
    assert np.isin(found[10:15, 18:23], centres).all()


def test_flat_basins_stay_in_their_section():
    found = affinity_basins.basins(three_blobs(), np.zeros((24, 40, 60), bool), True)
    sections = [set(np.unique(s).tolist()) for s in found]
    assert all(not a & b for k, a in enumerate(sections) for b in sections[k + 1 :])


def test_basins_end_where_the_affinities_are_lowest():
    """Beside a dim neurite: in the smoothed map alone the valley lies some pixels inside of it."""
    affinity = np.full((3, 1, 40, 60), 250, np.uint8)
    affinity[..., 22:] = np.clip(np.arange(100, 138) + 8 * np.maximum(np.arange(38) - 12, 0), 0, 240)
    affinity[2, ..., 22:24] = 60  # column 22 is membrane
    found = affinity_basins.basins(affinity, np.zeros((1, 40, 60), bool), True)[0]
    left, right = set(found[:, :22].ravel().tolist()), set(found[:, 23:].ravel().tolist())
    assert not left & right


def test_a_plateau_is_one_basin():
    """Numbers of equal height: without an order among them every voxel would be a summit."""
    found = affinity_basins.basins(np.full((3, 4, 8, 8), 3, np.uint8), np.zeros((4, 8, 8), bool), False)
    assert np.unique(found).tolist() == [1]


def test_nothing_where_there_is_no_data():
    sections = neurites((4, 64, 64))[0]
    sections[:, :, :20] = 0
    outside = affinity_basins.no_data(sections)
    assert outside[:, :, :20].all() and not outside[:, :, 20:].any()
    found = affinity_basins.basins(np.zeros((3, *sections.shape), np.uint8), outside, False)
    assert ((found == 0) == outside).all()
    assert not affinity_basins.basins(np.zeros((3, 1, 4, 4), np.uint8), np.ones((1, 4, 4), bool), False).any()


def test_a_lost_section_is_bridged_and_more_are_not():
    sections = neurites((20, 64, 64))[0]
    for z in (0, 4, 8, 9, 13, 14, 15):
        sections[z] = 0
    outside = affinity_basins.no_data(sections)
    assert np.flatnonzero(outside.all((1, 2))).tolist() == np.flatnonzero(outside.any((1, 2))).tolist() == [0, 13, 14, 15]
    assert not affinity_basins.no_data(neurites((1, 64, 64))[0]).any()


def test_the_network_sees_the_first_and_last_sections_as_in_a_mirror():
    seen = []

    def network(x: np.ndarray) -> np.ndarray:
        seen.append(x[0, :, 0, 0].tolist())
        return np.repeat(x, 9, 0)

    for depth, inner in ((1, slice(0, 1)), (20, slice(0, 10)), (20, slice(8, 12))):
        grey = np.repeat(np.arange(1, depth + 1, dtype=np.uint8), 64).reshape(depth, 8, 8)
        outer = affinities.reach((inner, slice(0, 8), slice(0, 8)), grey.shape)[0]
        part = Grey(np.zeros(depth, np.float32)[outer], np.ones(depth, np.float32)[outer])
        at = slice(inner.start - outer.start, inner.stop - outer.start)
        found = affinities.affinities(network, grey[outer], (at, slice(0, 8), slice(0, 8)), part)
        assert np.array_equal(found[0, :, 0, 0], np.rint(255 / (1 + np.exp(-np.arange(inner.start, inner.stop) - 1.0))))
    assert seen == [[1] * 7, [3, 2, 1, *range(1, 17)], [*range(3, 19)]]
