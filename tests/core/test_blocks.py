"""Blocks: every shard once, for any number of tasks; joined, the same bytes as from one task."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorstore as ts
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from voxelmill.core import blocks, manifest
from voxelmill.core.errors import DataError, ParameterError
from voxelmill.core.volume import Layout, create_image, layout, open_image

small = st.integers(1, 40)
triples = st.tuples(small, small, small)
layouts = st.builds(
    lambda shape, chunk, times: layout(shape, "uint8", tuple(c * n for c, n in zip(chunk, times)), chunk),
    triples,
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
)
steady = settings(max_examples=60, deadline=None, derandomize=True)


@steady
@given(layouts, st.integers(0, 50), st.floats(1, 1e5))
def test_every_shard_lies_in_one_block_and_every_voxel_in_one_region(lay, tasks, voxels):
    count = math.prod(lay.grid)
    plan = blocks.plan(lay, tasks, voxels)
    spans = [blocks.parse(block, count) for block in plan]
    assert [n for first, last in spans for n in range(first, last + 1)] == list(range(count))
    assert len(plan) <= count and (not tasks or len(plan) == min(tasks, count))
    lengths = [last - first + 1 for first, last in spans]
    assert max(lengths) - min(lengths) <= 1
    seen = np.zeros(lay.shape, np.uint8)
    for block in plan:
        for region in blocks.regions(lay, block):
            seen[region] += 1
            assert all(s.start % n == 0 for s, n in zip(region, lay.shard))
    assert (seen == 1).all()


@steady
@given(layouts, st.integers(1, 50))
def test_units_stay_together(lay, tasks):
    row = math.prod(lay.grid[1:])
    for block in blocks.plan(lay, tasks, unit=row):
        first, last = blocks.parse(block, math.prod(lay.grid))
        assert first % row == 0 and (last + 1) % row == 0


@steady
@given(triples, st.tuples(*[st.integers(0, 9)] * 3), st.data())
def test_a_halo_is_cut_at_the_faces_and_found_again(shape, halo, data):
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, shape))
    outer, inner = blocks.widen(region, halo, shape)
    volume = np.arange(math.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(volume[outer][inner], volume[region])
    for r, o, h, n in zip(region, outer, halo, shape):
        assert o.start == max(0, r.start - h) and o.stop == min(n, r.stop + h)


@pytest.mark.parametrize("block", ["", "3", "a-b", "2-1", "0-9", "-1-3", "1-2-3"])
def test_blocks_that_are_none(block):
    with pytest.raises(ParameterError, match="--block"):
        blocks.parse(block, 9)


LAY = layout((10, 70, 50), "uint16", (4, 32, 32), (4, 16, 16))
EM = np.random.default_rng(5).integers(0, 9, LAY.shape, np.uint16)
EM[:4, :32] = 0  # two shards of nothing but background


def write_blocks(folder, tasks: int, lay: Layout = LAY):
    """Each task in a store of its own, then joined."""
    stores = []
    for block in blocks.plan(lay, tasks):
        store = folder / block / "em.ome.zarr"
        image = create_image(store, lay, (30, 4, 5))
        for region in blocks.regions(lay, block):
            image.write(region, EM[region])
        manifest.write(store)
        stores.append(store)
    target = folder / "joined.ome.zarr"
    known = blocks.join(stores, target)
    return stores, target, known


def test_joined_blocks_are_the_bytes_of_one_block(tmp_path):
    made = {}
    for tasks in (1, 2, 7, 18):
        folder = tmp_path / str(tasks)
        folder.mkdir()
        stores, target, known = write_blocks(folder, tasks)
        assert len(stores) == tasks
        made[tasks] = manifest.make(target)
        assert known == made[tasks]["files"]
        blocks.require(LAY, target / "0")
    assert all(m == made[1] for m in made.values()) and len(made[1]["files"]) == 2 + math.prod(LAY.grid)
    np.testing.assert_array_equal(open_image(target).read(), EM)
    np.testing.assert_array_equal(zarr.open_array(str(target / "0"))[:], EM)
    np.testing.assert_array_equal(ts.open({"driver": "zarr3", "kvstore": f"file://{target}/0/"}).result().read().result(), EM)


def test_joining_copies_nothing(tmp_path):
    stores, target, _ = write_blocks(tmp_path, 3)
    assert (stores[0] / "0/c/0/0/0").stat().st_ino == (target / "0/c/0/0/0").stat().st_ino


def test_blocks_that_do_not_belong_together(tmp_path):
    stores, _, _ = write_blocks(tmp_path, 3)
    other = tmp_path / "other/em.ome.zarr"
    create_image(other, layout(LAY.shape, "uint8", (4, 32, 32), (4, 16, 16)), (30, 4, 5))
    manifest.write(other)
    with pytest.raises(DataError, match="differs from the same file of another block"):
        blocks.join([stores[0], other], tmp_path / "a")
    (stores[0] / "0/c/0/0/1").unlink()
    with pytest.raises(DataError, match=r"0/c/0/0/1: missing, though the manifest lists it"):
        blocks.join(stores, tmp_path / "b")


def test_a_block_that_never_came_is_missed(tmp_path):
    stores, _, _ = write_blocks(tmp_path, 3)
    blocks.join(stores[:2], tmp_path / "part")
    with pytest.raises(DataError, match="shard missing; it would read as zeros"):
        blocks.require(LAY, tmp_path / "part/0")


@pytest.mark.parametrize("sections, tasks", [(100, 100), (1000, 256), (4096, 256), (40_960, 2560)])
def test_blocks_of_a_large_volume_grow(sections: int, tasks: int):
    """One section of 64 x 64 voxels is a shard and the block asked for; sixteen are the most."""
    lay = Layout((sections, 64, 64), "uint8", (1, 64, 64), (1, 64, 64))
    assert len(blocks.plan(lay, voxels=4096)) == tasks


def test_batches_are_whole_blocks_of_about_a_size():
    lay = Layout((320, 64, 64), "uint8", (4, 64, 64), (4, 64, 64))  # 80 shards of 16,384 voxels
    plan = blocks.plan(lay, 20)  # 20 blocks of four
    assert blocks.batches(plan, lay, 1e12) == ["0-79"] * 20
    assert blocks.batches(plan, lay, 1) == plan
    some = blocks.batches(plan, lay, 16384 * 10)
    spans = [blocks.parse(b, 80) for b in dict.fromkeys(some)]
    assert spans[0][0] == 0 and spans[-1][1] == 79
    assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(spans))
    for block, batch in zip(plan, some):
        (first, last), (begin, end) = blocks.parse(block, 80), blocks.parse(batch, 80)
        assert begin <= first <= last <= end
    assert max(last - first + 1 for first, last in spans) <= 12
