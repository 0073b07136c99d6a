"""Segment: ids, tables and labels do not depend on how sections and tiles are grouped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from voxelmill.core.volume import open_image
from voxelmill.inference.segment import load_tables
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_store, record_of, run_stage
from voxelmill.transform import contrast


def aligned(tmp_path: Path) -> Path:
    grey = contrast.enhance(neurites((8, 96, 96))[0])
    return make_store(tmp_path / "in.ome.zarr", grey, shard=(4, 96, 96))


def segment(folder: Path, store: Path, block: str) -> tuple:
    assert (
        run_stage(
            "inference.segment",
            folder,
            volume=store,
            block=block,
            output="s.ome.zarr",
            overlaps="o.npz",
            segmentation="classic",
        )
        == 0
    )
    return load_tables(folder / "o.npz")


def rows(tables) -> set:
    return {(*map(int, p), int(c), *map(int, s)) for p, c, s in zip(tables.pairs, tables.counts, tables.sizes)}


def test_blocks_agree(tmp_path: Path):
    store = aligned(tmp_path)
    whole, first, second = (segment(tmp_path / b, store, b) for b in ("0-1", "0-0", "1-1"))
    assert set(whole[0]) == set(first[0]) | set(second[0])
    assert rows(whole[1]) == rows(first[1]) | rows(second[1])
    labels = [
        open_image(tmp_path / b / "s.ome.zarr").read(slice(*part))
        for b, part in (("0-1", (0, 8)), ("0-0", (0, 4)), ("1-1", (4, 8)))
    ]
    assert np.array_equal(labels[0], np.concatenate(labels[1:]))


def test_overlaps_reach_into_the_next_slab(tmp_path: Path):
    """The last section of a block and the first of the next are linked by the first block."""
    store = aligned(tmp_path)
    _, sections, *_ = segment(tmp_path / "a", store, "0-0")
    labels = open_image(tmp_path / "a/s.ome.zarr").read(slice(0, 4))
    segment(tmp_path / "b", store, "1-1")
    below = open_image(tmp_path / "b/s.ome.zarr").read(slice(4, 5))[0]
    a, b = labels[3][50, 50], below[50, 50]
    wanted = int(((labels[3] == a) & (below == b)).sum())
    assert (int(a), int(b), wanted) in {row[:3] for row in rows(sections)}


def test_tiles_do_not_depend_on_shards(tmp_path: Path):
    """1100 px: two tiles and a seam; shards of 384 px or of the whole section give the same."""
    grey = contrast.enhance(neurites((2, 96, 1100), spacing=32)[0])
    found = []
    for shard in ((2, 96, 384), (2, 96, 1120)):
        store = make_store(tmp_path / f"{shard[2]}.ome.zarr", grey, shard=shard, chunk=(2, 96, 32))
        last = open_image(store).layout().grid[2] - 1
        tables = segment(tmp_path / str(shard[2]), store, f"0-{last}")
        found.append((open_image(tmp_path / str(shard[2]) / "s.ome.zarr").read(), tables))
    assert np.array_equal(found[0][0], found[1][0])
    assert rows(found[0][1][2]) == rows(found[1][1][2]) and len(found[0][1][2].counts) > 2
    assert rows(found[0][1][1]) == rows(found[1][1][1])


def test_an_empty_section_is_reported(tmp_path: Path):
    grey = contrast.enhance(neurites((4, 96, 96))[0])
    grey[2] = 0
    store = make_store(tmp_path / "in.ome.zarr", grey, shard=(4, 96, 96))
    segment(tmp_path, store, "0-0")
    assert record_of(tmp_path, "segment")["quality"]["empty_sections"] == [2]
    assert not open_image(tmp_path / "s.ome.zarr").read()[2].any()


def test_a_section_that_is_empty_in_part_is_none(tmp_path: Path):
    """Three columns of tiles; of section 1 the first is blank, of section 0 all are."""
    grey = np.tile(contrast.enhance(neurites((2, 96, 1050))[0]), (1, 1, 2))
    grey[0], grey[1, :, :1024] = 0, 0
    store = make_store(tmp_path / "in.ome.zarr", grey, shard=(2, 96, 1024), chunk=(2, 96, 128))
    segment(tmp_path, store, "0-2")
    assert record_of(tmp_path, "segment")["quality"]["empty_sections"] == [0]
