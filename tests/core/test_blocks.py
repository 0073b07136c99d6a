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
from voxelmill.core.space import Space
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
        image = create_image(store, lay, Space.zyx((30, 4, 5)))
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
    create_image(other, layout(LAY.shape, "uint8", (4, 32, 32), (4, 16, 16)), Space.zyx((30, 4, 5)))
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


@steady
@given(layouts, st.integers(0, 40), st.floats(1, 1e5))
def test_every_shard_lies_in_one_box(lay, tasks, voxels):
    plan = blocks.boxes(lay, tasks, voxels)
    assert len(plan) <= len(blocks.plan(lay, tasks, voxels)) and len(set(plan)) == len(plan)
    seen = np.zeros(lay.shape, np.uint8)
    for box in plan:
        seen[blocks.outline(lay, box)] += 1
        inside = np.zeros(lay.shape, np.uint8)
        for region in blocks.regions(lay, box):
            inside[region] += 1
            assert all(s.start % n == 0 for s, n in zip(region, lay.shard))
        assert (inside[blocks.outline(lay, box)] == 1).all() and inside.sum() == inside[blocks.outline(lay, box)].size
    assert (seen == 1).all()
    for axis in range(3):  # no box is more than one shard longer than another
        lengths = [len(blocks.sides(lay, box)[axis]) for box in plan]
        assert max(lengths) - min(lengths) <= 1


@steady
@given(layouts, st.integers(1, 40), st.integers(1, 5))
def test_neighbours_that_a_border_parts_meet_on_one_face(lay, tasks, reach):
    plan = blocks.boxes(lay, tasks)
    owner = np.empty(lay.shape, np.int64)
    for n, box in enumerate(plan):
        owner[blocks.outline(lay, box)] = n
    met = [np.zeros(lay.shape, np.uint8) for _ in range(3)]  # along each axis: voxel and the next one on a face
    for face in blocks.faces(lay, plan):
        axis, region = face.axis, face.region
        one, other = (
            tuple(slice(s.start + d, s.stop - 1 + d) if k == axis else s for k, s in enumerate(region)) for d in (0, 1)
        )
        met[axis][one] += 1
        assert set(owner[one].flat) == {plan.index(face.before)} and set(owner[other].flat) == {plan.index(face.after)}
        around = face.around(reach, lay.shape)
        for k, (s, r) in enumerate(zip(around, region)):
            deep = reach if k == axis else 0
            assert s == r or (s.start == max(0, r.start + 1 - deep) and s.stop == min(lay.shape[k], r.stop - 1 + deep))
    for axis in range(3):
        apart = np.diff(owner, axis=axis, append=np.take(owner, [-1], axis)) != 0
        np.testing.assert_array_equal(met[axis], apart)


def test_boxes_are_near_cubes():
    lay = layout((512, 512, 512), "uint8", (32, 64, 64), (32, 64, 64))
    assert blocks.boxes(lay, 8) == [f"{z}x{y}x{x}" for z in ("0-7", "8-15") for y in ("0-3", "4-7") for x in ("0-3", "4-7")]
    assert blocks.boxes(layout((20, 512, 512), "uint8", (20, 64, 64), (20, 64, 64)), 4)[0] == "0-0x0-3x0-3"


@pytest.mark.parametrize("box", ["0-1x0-1", "0-0x0-0x0-9", "0-0xax0-0", "0-0x0-0x0-0x0-0", "1-0x0-0x0-0"])
def test_boxes_that_are_none(box):
    with pytest.raises(ParameterError, match="--block"):
        list(blocks.regions(LAY, box))


def test_boxes_joined_are_the_bytes_of_one_block(tmp_path):
    made = {}
    for tasks in (1, 4, 18):
        stores = []
        for box in blocks.boxes(LAY, tasks):
            store = tmp_path / f"{tasks}.{box}" / "em.ome.zarr"
            image = create_image(store, LAY, Space.zyx((30, 4, 5)))
            for region in blocks.regions(LAY, box):
                image.write(region, EM[region])
            manifest.write(store)
            stores.append(store)
        made[tasks] = blocks.join(stores, tmp_path / f"joined{tasks}.ome.zarr")
    assert made[1] == made[4] == made[18]
