"""Agglomerate: links that are large enough join; numbering does not depend on the order of blocks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from voxelmill.inference.segment import Tables
from voxelmill.testing.stages import run_stage


def tables(path: Path, *slabs: np.ndarray) -> Path:
    """The tables of a block of whole sections with given labels."""
    made = Tables()
    for slab in slabs:
        made.ids.append(np.unique(slab[slab > 0]).astype(np.uint64))
        for upper, lower in itertools.pairwise(slab):
            made.add_sections(upper, lower)
    made.save(path)
    return path


def sections() -> np.ndarray:
    """Three sections of two cells each; the right cell moves away by half between the last two."""
    out = np.zeros((3, 20, 40), np.uint64)
    out[0, :, :20], out[0, :, 20:] = 1, 2
    out[1, :, :20], out[1, :, 20:] = 3, 4
    out[2, :, :20], out[2, :10, 20:] = 5, 6
    return out


def test_links_need_their_pixels(tmp_path: Path):
    stack = sections()
    for least, groups in ((200, [{1, 3, 5}, {2, 4, 6}]), (300, [{1, 3, 5}, {2, 4}, {6}])):
        assert run_stage("inference.agglomerate", tmp_path, overlaps=[tables(tmp_path / "o.npz", stack)],
                         segments="s.parquet", min_overlap=least) == 0
        found = pq.read_table(tmp_path / "s.parquet").to_pydict()
        by_segment: dict[int, set] = {}
        for supervoxel, segment in zip(found["supervoxel"], found["segment"]):
            by_segment.setdefault(segment, set()).add(supervoxel)
        assert [by_segment[k] for k in sorted(by_segment)] == groups
        assert sorted(by_segment) == list(range(1, len(groups) + 1))


def test_the_order_of_blocks_does_not_matter(tmp_path: Path):
    stack = sections()
    parts = [tables(tmp_path / "a.npz", stack[:2]), tables(tmp_path / "b.npz", stack[1:])]
    for name, order in (("ab", parts), ("ba", parts[::-1])):
        assert run_stage("inference.agglomerate", tmp_path / name, overlaps=order, segments="s.parquet") == 0
    assert (tmp_path / "ab/s.parquet").read_bytes() == (tmp_path / "ba/s.parquet").read_bytes()


def test_nothing_in_nothing_out(tmp_path: Path):
    nothing = tables(tmp_path / "o.npz", np.zeros((2, 4, 4), np.uint64))
    assert run_stage("inference.agglomerate", tmp_path, overlaps=[nothing], segments="s.parquet") == 0
    assert pq.read_table(tmp_path / "s.parquet").num_rows == 0
