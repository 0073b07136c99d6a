"""The section graph on made stacks: jitter is undone, slants are kept, bad sections are found and bridged."""

import cv2
import numpy as np
import pytest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.transform import section_graph, warp
from voxelmill.transform.section_graph import align_stack, bridges, solve
from voxelmill.transform.warp import SectionTransform, render, rigid_matrix, shift_transform


def texture(shape=(128, 128), seed=0, sigma=2.5):
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), sigma)
    return 128 + 40 * image / image.std()


def stack(n=24, own=0.4, seed=0):
    """Sections that share most of their structure, each with some of its own, uint8."""
    base = texture(seed=seed)
    return [(base + own * (texture(seed=seed + 1 + z) - 128)).clip(0, 255).astype(np.uint8) for z in range(n)]


def moved(sections, shifts):
    return [render(s, shift_transform(*v), interpolation="cubic") for s, v in zip(sections, shifts)]


def aligned(sections, **options):
    return align_stack(sections.__getitem__, len(sections), **options)


def off_jitter(found, before, jitter):
    """(jitter + correction of the jittered stack) - correction of the original, slice to slice, rms px."""
    rest = jitter + np.stack([found.dy - before.dy, found.dx - before.dx], 1)
    return np.sqrt((np.diff(rest, axis=0) ** 2).mean(0))


@pytest.mark.parametrize("level", ["translation", "rigid"])
def test_jitter_is_undone(level):
    sections, jitter = stack(), warp.simulate_jitter(24, 1.0, 7)
    found = aligned(moved(sections, jitter), level=level)
    assert (off_jitter(found, aligned(sections, level=level), jitter) < 0.06).all()
    assert found.status == ["ok"] * 24 and np.nanmax(found.residual_px) < 0.3
    row = found.rows()[3]
    assert list(row) == ["section", "dy", "dx", "rotation_deg", "residual_px", "status"]


def test_the_sign_is_that_of_the_content():
    sections = stack(12)
    sections[5] = render(sections[5], shift_transform(4, -3))
    found = aligned(sections)
    others = np.delete(np.stack([found.dy, found.dx], 1), 5, axis=0)
    np.testing.assert_allclose((found.dy[5], found.dx[5]) - others.mean(0), (-4, 3), atol=0.3)
    np.testing.assert_allclose(others - others.mean(0), 0, atol=0.3)


def test_turned_sections_are_turned_back():
    sections, centre = stack(12), (63.5, 63.5)
    turns = np.random.default_rng(3).normal(0, 2, 12)
    turned = [render(s, SectionTransform(rigid_matrix(0, 0, t, centre))) for s, t in zip(sections, turns)]
    rest = turns + aligned(turned, drift_sections=0).rotation_deg
    assert rest.std() < 0.2 and turns.std() > 1.5


def test_an_elastic_stack_is_undone():
    rng, sections = np.random.default_rng(0), stack(8, own=0.2)
    fields = [
        np.stack([cv2.GaussianBlur(rng.standard_normal((9, 9)).astype(np.float32), (0, 0), 2) * 8 for _ in (0, 1)])
        for _ in sections
    ]
    bent = [SectionTransform(np.eye(2, 3), f, 16) for f in fields]
    found = aligned([render(s, b) for s, b in zip(sections, bent)], level="elastic", drift_sections=0)
    y, x = np.mgrid[30:100:10, 30:100:10].astype(float)
    seen = [b.positions(*found.transform(z).positions(y, x)) for z, b in enumerate(bent)]
    before = [b.positions(y, x) for b in bent]
    assert np.std(seen, axis=0).mean() < 0.35 * np.std(before, axis=0).mean()


# --- slants ---------------------------------------------------------------------------------------


def neurites(n, slope, size=128, seed=5):
    """Bright discs that all move by `slope` px (y, x) a section, the picture repeating at its rim."""
    rng = np.random.default_rng(seed)
    field = np.zeros((size, size), np.float32)
    for y, x in rng.integers(0, size, (40, 2)):
        cv2.circle(field, (int(x), int(y)), int(rng.integers(3, 7)), 1.0, -1)
    wave = [np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]]
    spectrum = np.fft.fft2(cv2.GaussianBlur(field, (0, 0), 1.2, borderType=cv2.BORDER_REFLECT))
    return [
        np.fft.ifft2(spectrum * np.exp(-2j * np.pi * z * (slope[0] * wave[0] + slope[1] * wave[1]))).real for z in range(n)
    ]


@pytest.mark.parametrize("n, jitter_px", [(12, 0.0), (40, 0.0), (24, 1.0), (40, 1.0)])
@pytest.mark.parametrize("background", [0.0, 0.5], ids=["all slants", "static background"])
def test_a_slanted_neurite_keeps_its_slant(n, jitter_px, background):
    slope = (0.6, -0.8)
    static = texture(seed=9, sigma=1.5) - 128
    sections = [(60 + 120 * d + background * static).clip(0, 255).astype(np.uint8) for d in neurites(n, slope)]
    jitter = warp.simulate_jitter(n, jitter_px, 11)
    found = aligned(moved(sections, jitter))
    z = np.arange(n)
    total = np.stack([found.dy, found.dx], 1) + jitter
    left = [np.polyfit(z, total[:, k] + slope[k] * z, 1)[0] for k in (0, 1)]
    np.testing.assert_allclose(left, slope, atol=0.12)
    if jitter_px:  # and the jitter is gone all the same
        assert np.diff(total, axis=0).std() < 0.35 * np.diff(jitter, axis=0).std()


def test_without_the_trend_the_slant_is_lost():
    sections = [(60 + 120 * d).clip(0, 255).astype(np.uint8) for d in neurites(24, (0.6, -0.8))]
    found = aligned(sections, drift_sections=0)
    assert np.polyfit(np.arange(24), found.dy, 1)[0] == pytest.approx(-0.6, abs=0.1)


def test_giving_the_trend_back_leaves_little_of_white_jitter():
    for n, most in ((5, 1e-12), (20, 0.06), (40, 0.05), (150, 0.025)):
        steps = [
            np.diff(section_graph._trend(warp.simulate_jitter(n, 1, s), np.ones(n, bool), 10), axis=0) for s in range(20)
        ]
        assert np.sqrt(np.mean(np.square(steps))) < most


# --- bad sections ---------------------------------------------------------------------------------


def damaged(section, seed=0):
    """A band lost, heavy noise, a dark blob: the corruption of the geometry benchmark."""
    n, out = section.shape[0], section.astype(float)
    out[n // 3 : n // 3 + n // 5] = 250
    out += np.random.default_rng(seed).normal(0, 50, out.shape)
    y, x = np.mgrid[:n, :n]
    out[((y - 0.7 * n) ** 2 + (x - 0.3 * n) ** 2) < (n / 8) ** 2] = 5
    return out.clip(0, 255).astype(np.uint8)


def test_bad_sections_are_found_and_bridged():
    jitter = warp.simulate_jitter(24, 1.0, 7)
    clean = moved(stack(), jitter)
    sections = list(clean)
    sections[6] = np.zeros_like(clean[6])
    sections[12] = damaged(clean[12])
    sections[18] = (texture(seed=99)).clip(0, 255).astype(np.uint8)
    found, whole = aligned(sections), aligned(clean)
    expected = ["ok"] * 24
    expected[6], expected[12], expected[18] = "blank", "corrupt", "corrupt"
    assert found.status == expected and found.damage[6] == 1 and np.isnan(found.residual_px[6])
    good = [z for z in range(24) if expected[z] == "ok"]
    np.testing.assert_allclose(found.dy[good] - whole.dy[good], 0, atol=0.25)
    for z in (6, 12, 18):  # between its neighbours, up to the trend that is given back
        assert found.dy[z] == pytest.approx((found.dy[z - 1] + found.dy[z + 1]) / 2, abs=0.1)


def test_a_run_longer_than_the_neighbourhood_is_bridged():
    sections = [render(s, shift_transform(*v)) for s, v in zip(stack(14), [(0, 0)] * 7 + [(9, -6)] * 7)]
    for z in (5, 6, 7, 8):
        sections[z] = np.zeros_like(sections[z])
    pairs = section_graph.estimate_pairs(sections.__getitem__, section_graph.neighbour_pairs(14, 2))
    assert bridges(pairs, 14) == [(4, 9)]
    assert "unlinked" in solve(pairs, 14).status
    found = aligned(sections, drift_sections=0)
    assert found.status == ["ok"] * 5 + ["blank"] * 4 + ["ok"] * 5
    assert found.dy[9] - found.dy[4] == pytest.approx(-9, abs=0.25)
    assert found.dx[9] - found.dx[4] == pytest.approx(6, abs=0.25)
    np.testing.assert_allclose(np.diff(found.dy[4:10]), -9 / 5, atol=0.06)


def test_a_corrupt_section_is_no_reference(monkeypatch):
    """Without detection the neighbours of an unlike section would not be tied to each other by it either."""
    sections = stack(10)
    sections[4] = damaged(sections[4])
    assert aligned(sections).status[4] == "corrupt"
    monkeypatch.setattr(section_graph, "DAMAGED", 0.0)
    assert aligned(sections).status[4] == "ok"


def test_a_loss_of_sections_is_not_taken_for_corruption():
    found = aligned(stack(8, seed=0) + stack(8, seed=500))
    assert found.status == ["ok"] * 8 + ["unlinked"] + ["ok"] * 7


def test_clean_stacks_have_no_bad_sections():
    for own in (0.2, 0.8):
        assert aligned(stack(16, own=own)).status == ["ok"] * 16


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
def test_short_stacks(n):
    found = aligned(stack(n))
    assert found.status == ["ok"] * n and np.abs(found.dy).max() < 0.5
    assert aligned([np.zeros((64, 64), np.uint8)] * n).status == (["blank"] * n if n > 1 else ["ok"])


def test_pairs_of_another_stack_are_refused():
    sections = stack(4)
    pairs = section_graph.estimate_pairs(sections.__getitem__, [(0, 1), (1, 3)])
    with pytest.raises(DataError, match="sections 0 to 2"):
        solve(pairs, 3)
    with pytest.raises(ParameterError, match="expected"):
        solve(pairs, 4, drift_sections=-1)
