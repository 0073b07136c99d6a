"""Agglomerate: links that are large enough join; numbering does not depend on the order of blocks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from voxelmill.inference import agglomerate, section_linking, supervoxels
from voxelmill.inference.region_graph import Edges, Nodes
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


def components(folder: Path, **given) -> dict[int, int]:
    """Supervoxel -> component of a run of the stage."""
    assert (
        run_stage(
            "inference.agglomerate",
            folder,
            block="0-0",
            components="c.parquet",
            border="b.npz",
            segmentation="classic",
            **given,
        )
        == 0
    )
    found = section_linking.StoredComponents(folder / "c.parquet").within([(0, 2**63)])
    return dict(zip(found.supervoxel.tolist(), found.component.tolist()))


def test_links_need_their_pixels(tmp_path: Path):
    made = tables(tmp_path / "o.npz", sections())
    assert components(tmp_path, overlaps=[made], min_overlap=200) == {1: 0, 3: 0, 5: 0, 2: 1, 4: 1, 6: 1}
    assert components(tmp_path, overlaps=[made], min_overlap=300) == {1: 0, 3: 0, 5: 0, 2: 1, 4: 1, 6: 2}


def test_the_order_of_blocks_does_not_matter(tmp_path: Path):
    stack = sections()
    parts = [tables(tmp_path / "a.npz", stack[:2]), tables(tmp_path / "b.npz", stack[1:])]
    for name, order in (("ab", parts), ("ba", parts[::-1])):
        components(tmp_path / name, overlaps=order)
    assert (tmp_path / "ab/c.parquet").read_bytes() == (tmp_path / "ba/c.parquet").read_bytes()


def test_nothing_in_nothing_out(tmp_path: Path):
    assert components(tmp_path, overlaps=[tables(tmp_path / "o.npz", np.zeros((2, 4, 4), np.uint64))]) == {}


def test_what_is_large_is_a_matter_of_nanometres_and_what_is_kept_cuts_as_the_run_does(tmp_path: Path, monkeypatch):
    """Two of 30,000 voxels with a mean affinity of .25, and one that lies inside the second."""
    monkeypatch.chdir(tmp_path)
    ids = np.array([1, 2, 3], np.uint64)
    nodes = Nodes(ids, np.array([30_000, 30_000, 400]), np.zeros(3, np.int32), np.array([True, True, False]))
    edges = Edges(np.array([[1, 2], [2, 3]], np.uint64), np.array([64 * 90, 10 * 90]), np.array([90, 90]))
    words = {"block": "all", "components": "c.parquet", "border": "b.npz", "forest": "f.npz"}
    for voxel, more, wanted in (
        (0.0, {}, [0, 1, 1]),  # as of 10 nm
        (1000.0, {}, [0, 1, 1]),
        (8.0, {}, [0, 0, 0]),
        (1000.0, {"large_margin": 0}, [0, 0, 0]),
        (1000.0, {"large_segment": 0.05}, [0, 0, 0]),
        (1000.0, {"join_enclosed": False}, [0, 1, 2]),
        (1000.0, {"segmentation": "forest"}, [0, 0, 0]),
    ):
        supervoxels.save(tmp_path / "o.npz", supervoxels.Graph(slice(0, 4), [], [nodes], [edges], {}, {}, voxel))
        assert run_stage("inference.agglomerate", tmp_path, overlaps=[tmp_path / "o.npz"], **words, **more) == 0
        found = section_linking.StoredComponents(tmp_path / "c.parquet").within([(0, 9)])
        assert found.component.tolist() == wanted, (voxel, more)
        kept = dict(agglomerate.curve_of([tmp_path / "o.npz"], tmp_path / "f.npz")[1])
        assert np.unique(kept[0.2], return_inverse=True)[1].tolist() == wanted
