"""Levels: a superblock's part of every lower level is whole shards; how far up superblocks go."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core import blocks, levels
from voxelmill.core.volume import Layout, layout

sizes = st.tuples(st.integers(1, 60), st.integers(1, 300), st.integers(1, 300))
chunks = st.tuples(st.integers(1, 5), *[st.integers(5, 40)] * 2)
times = st.tuples(*[st.integers(1, 3)] * 3)
voxels = st.sampled_from([(8.0, 8.0, 8.0), (30.0, 4.0, 4.0), (5.0, 12.0, 4.0)])


def test_factors_halve_what_is_finest():
    assert levels.factors((100, 1000, 1000), (40.0, 4.0, 4.0), 6) == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16)]
    assert levels.factors((500, 500, 500), (8.0, 8.0, 8.0), 3) == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sizes, chunks, times, voxels, st.booleans())
def test_no_shard_of_a_lower_level_lies_in_two_superblocks(shape, chunk, times, scale, sharded):
    shard = tuple(c * n for c, n in zip(chunk, times))
    lay = layout(shape, "uint8", shard, chunk)
    lower, grid = levels.superblocks(lay, scale)
    down = levels.factors(shape, scale, levels.MOST_LEVELS)
    first = lay if sharded else Layout(lay.shape, lay.dtype, lay.chunk, lay.chunk)
    for step, level in list(zip(down, levels.layouts(first, down)))[: lower + 1]:
        written = np.zeros(level.shape, np.uint8)
        for n in range(int(np.prod(grid.grid))):
            for region in levels.tiles(levels.part_of(level, blocks.region(grid, n), step), level.shard):
                written[region] += 1
                assert all(
                    r.start % s == 0 and r.stop == min(r.start + s, e) for r, s, e in zip(region, level.shard, level.shape)
                )
        assert (written == 1).all()


def test_superblocks_and_what_is_left_are_small():
    """At the default shard: one superblock and the level above it, in voxels."""
    for edge, lower in ((10_000, 2), (100_000, 4)):
        lay = layout((edge,) * 3, "uint8", (32, 1024, 1024), (32, 128, 128))
        k, grid = levels.superblocks(lay, (8.0, 8.0, 8.0))
        assert k == lower
        assert float(np.prod(grid.shard, dtype=float)) + float(edge / 2**k) ** 3 < 1e-1 * float(edge) ** 3
