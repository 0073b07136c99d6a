"""A region is moved the same however its sections lie apart, and no more of the source is read than it needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core.volume import Image, open_image
from voxelmill.testing.stages import make_store
from voxelmill.transform import warp
from voxelmill.transform.rendering import render_region, runs

REGION = (slice(2, 8), slice(64, 128), slice(64, 128))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    values = np.random.default_rng(1).integers(0, 255, (8, 512, 512), np.uint8)
    return open_image(make_store(tmp_path_factory.mktemp("rendering") / "in.ome.zarr", values))


@pytest.mark.parametrize("shift", [0, 3, 150, 10_000])
def test_sections_far_apart_are_not_read_together(image: Image, shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One section lies elsewhere, or beyond the volume: then its window is empty and stands at no place at all."""
    moves = [warp.shift_transform(0.5, -0.5)] * 6
    moves[3] = warp.shift_transform(-shift, shift / 2)
    most: list[int] = []
    read = Image.read
    monkeypatch.setattr(Image, "read", lambda self, at: most.append(read(self, at).size) or read(self, at))
    found = render_region(image, moves, REGION)
    assert max(most) <= 6 * 2 * (64 + 8) ** 2
    part = (64, 128, 64, 128)
    for n, move in enumerate(moves):
        np.testing.assert_array_equal(found[n], warp.render(read(image, n + 2), move, part))


windows = st.one_of(
    st.just((0, 0, 0, 0)),
    st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(1, 90)] * 2).map(lambda v: (v[0], v[0] + v[2], v[1], v[1] + v[3])),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(windows, max_size=12))
def test_runs_hold_every_window_and_little_more(given: list[warp.Region]) -> None:
    found = list(runs(given))
    most = 2 * max(((w[1] - w[0]) * (w[3] - w[2]) for w in given), default=0)
    for n, window in enumerate(given):
        around = [w for run, w in found if run.start <= n < run.stop]
        if window[1] > window[0]:
            (w,) = around
            assert w[0] <= window[0] and window[1] <= w[1] and w[2] <= window[2] and window[3] <= w[3]
    assert all(0 < (w[1] - w[0]) * (w[3] - w[2]) <= most for _, w in found)
