"""Remake: after a merge as a full run has it, and only what hangs on the two root ids was made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxelmill.core.errors import DataError
from voxelmill.inference.section_linking import MergeTable, write_merge
from voxelmill.postprocess import graph, shapes, teasar
from voxelmill.serving import neurites, remake
from voxelmill.testing.bars import AFTER, BEFORE, SMALLEST, merge_parts, results


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.read_bytes()) for p in found}


def done(folder: Path, merge: Path) -> list[int]:
    p = neurites.Parameters.model_validate({"neurite_min_voxels": SMALLEST})
    return remake.remake(folder, merge, p, graph.Parameters()).tolist()


def test_only_what_hangs_on_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a full run has it, here where the two lie far from others; two tiles of eight and one skeleton of five."""
    found, wanted = results(tmp_path / "a", BEFORE), files(results(tmp_path / "b", AFTER))
    before = files(found)
    counted: dict[str, int] = {}

    def counts(module, name):
        work = getattr(module, name)

        def one(*args, **more):
            counted[name] = counted.get(name, 0) + 1
            return work(*args, **more)

        monkeypatch.setattr(module, name, one)

    counts(shapes, "shapes")
    counts(teasar, "skeleton")
    assert done(found, merge_parts(tmp_path / "new", AFTER)) == [1, 2]
    assert counted == {"shapes": 2, "skeleton": 1}
    after = files(found)
    of_volumes = {name for name in after if name.startswith("volumes/")}
    assert {n: after[n][1] for n in after if n not in of_volumes} == {n: wanted[n][1] for n in wanted if n not in of_volumes}
    same = {name for name in after if name in before and after[name] == before[name]}  # not even written again
    made = {name for name in after if name not in same and not name.startswith(("tables/", "graph/"))}
    assert {Path(name).name.split(":")[0].removesuffix(".swc") for name in made} == {"1"}
    assert {f"skeletons/{root}.swc" for root in (3, 4, 5)} | {"tables/merge/z0000016.parquet", *of_volumes} <= same
    assert not list(found.glob(".remake-*"))


def test_taken_back_it_is_as_before(tmp_path: Path):
    found = results(tmp_path / "a", BEFORE)
    before = files(found)
    done(found, merge_parts(tmp_path / "new", AFTER))
    assert done(found, merge_parts(tmp_path / "old", BEFORE)) == [1, 2]
    assert {name: data for name, (_, data) in files(found).items()} == {name: data for name, (_, data) in before.items()}
    assert done(found, tmp_path / "old") == []


def test_other_supervoxels_are_refused(tmp_path: Path):
    old = merge_parts(tmp_path / "old", BEFORE)
    new = merge_parts(tmp_path / "new", BEFORE)
    table = remake.part_of(new / "z0000000.parquet")
    write_merge(new / "z0000000.parquet", MergeTable(*(column[1:] for column in table)))
    with pytest.raises(DataError, match="other supervoxels than in"):
        remake.touched(old, new)
    (new / "z0000016.parquet").unlink()
    with pytest.raises(DataError, match="expected those of"):
        remake.touched(old, new)
