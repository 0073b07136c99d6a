"""Remake: after a merge as a full run has it, and only what hangs on the two root ids was made again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from voxelmill import cli
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
from voxelmill.core import runs
from voxelmill.core.errors import DataError
from voxelmill.inference.section_linking import MergeTable, write_merge
from voxelmill.postprocess import graph, shapes, teasar
from voxelmill.serving import meshes, neurites, remake
from voxelmill.testing.bars import AFTER, BEFORE, SMALLEST, B, merge_parts, released, results


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
    assert made == set(runs.files_of_neurite(1)) - {"meshes/1:0"}
    assert {f"skeletons/{root}.swc" for root in (3, 4, 5)} | {"tables/merge/z0000016.parquet", *of_volumes} <= same
    assert not list(found.glob(".remake-*"))


def test_legacy_meshes_stay_legacy(tmp_path: Path):
    """Of a run that made such, with or without a record that says so."""
    found = results(tmp_path / "a", BEFORE)
    for path in found.glob("meshes/*"):
        path.unlink()
    (found / "meshes/info").write_text(json.dumps(meshes.info("legacy")))
    for root in (1, 2):
        (found / f"meshes/{root}:0").write_text('{"fragments": []}')
        (found / f"meshes/{root}:0:0_0_0").write_bytes(bytes(4))
    done(found, merge_parts(tmp_path / "new", AFTER))
    made = {path.name for path in found.glob("meshes/*")}
    assert made == {"info", "1:0", *json.loads((found / "meshes/1:0").read_text())["fragments"]} and len(made) > 3


@pytest.mark.parametrize("moved", [0, 4, 12, 16])
def test_killed_it_makes_all_of_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int):
    """The merge table changes last, so the next call finds what is still to do."""
    found, wanted = results(tmp_path / "a", BEFORE), files(results(tmp_path / "b", AFTER))
    new, replace, left = merge_parts(tmp_path / "new", AFTER), os.replace, iter(range(moved))

    def killed(source, target):
        next(left)  # StopIteration when the time has come
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(StopIteration):
        done(found, new)
    monkeypatch.undo()
    assert done(found, new) == [1, 2]
    after = files(found)
    assert {n: d for n, (_, d) in after.items() if "volumes/" not in n} == {
        n: d for n, (_, d) in wanted.items() if "volumes/" not in n
    }


def test_killed_and_taken_back_it_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The table has not changed then, but files have."""
    found, replace, left = results(tmp_path / "a", BEFORE), os.replace, iter(range(12))
    before = {name: data for name, (_, data) in files(found).items()}
    new = merge_parts(tmp_path / "new", AFTER)

    def killed(source, target):
        next(left)
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(StopIteration):
        done(found, new)
    monkeypatch.undo()
    assert {name: data for name, (_, data) in files(found).items()} != before
    assert done(found, merge_parts(tmp_path / "old", BEFORE)) == [1, 2]
    assert {name: data for name, (_, data) in files(found).items()} == before


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


def table(path: Path, *rows: tuple[int, int]) -> Path:
    path.write_text("supervoxel,root_id\n" + "".join(f"{a},{b}\n" for a, b in rows))
    return path


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture):
    """One row in a CSV: tables and graph as of a full run, and what is there fits for a release."""
    found, wanted = released(tmp_path / "a", BEFORE), files(results(tmp_path / "b", AFTER))
    assert cli.main(["remake", str(found), "--merge", str(table(tmp_path / "new.csv", (B, 1)))]) == 0
    said = capsys.readouterr().out
    assert "2 root ids changed: 1, 2" in said and "taken away" not in said
    after = files(found)
    of_run = (
        "volumes/",
        "figures/",
        "provenance/",
        "runs.sqlite",
        "published.json",
        "report.html",
        "tables/score",
        "tables/evaluation",
        "tables/truth",
    )
    assert {n: after[n][1] for n in after if not n.startswith(of_run)} == {
        n: data for n, (_, data) in wanted.items() if not n.startswith("volumes/")
    }
    released(tmp_path / "c", AFTER)
    for name in ("score", "evaluation"):  # as of a full run
        now, full = (json.loads((of / f"tables/{name}.json").read_text()) for of in (found, tmp_path / "c"))
        assert now == full
    shown = releases.create(Store(tmp_path / "store", make=True), found, "v1")["figures"]
    assert shown["score.splits"] == 0 and not any(name.startswith("evaluate.") for name in shown)
    record = json.loads((found / "provenance/remake.0.provenance.json").read_text())
    assert record["quality"]["neurites_touched"] == 2 and "skeletons/1.swc" in {o["published"] for o in record["outputs"]}
    assert cli.main(["remake", str(found), "--merge", str(table(tmp_path / "new.csv", (B, 1)))]) == 0
    assert "nothing was made again" in capsys.readouterr().out and not list(found.glob("provenance/remake.1*"))


def test_scores_go_where_they_cannot_follow(tmp_path: Path, capsys: pytest.CaptureFixture):
    found = released(tmp_path / "a", BEFORE)
    (found / "tables/truth_overlap.parquet").unlink()
    assert cli.main(["remake", str(found), "--merge", str(table(tmp_path / "new.csv", (B, 1)))]) == 0
    assert "taken away, as they were of the neurites before: tables/" in capsys.readouterr().out
    assert not (found / "tables/score.json").exists() and not (found / "tables/evaluation.json").exists()


def test_tables_that_do_not_fit_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture):
    found = released(tmp_path / "a", BEFORE)
    before, path = files(found), tmp_path / "new.csv"
    for rows, why in (
        ([(7, 1)], "7 is no supervoxel of"),
        ([(B, 1), (B, 3)], f"supervoxel {B} is there twice"),
        ([(B, 0)], "0 is background"),
        ([(B, -1)], "whole numbers in supervoxel, root_id"),
        ([], "no rows"),
    ):
        assert cli.main(["remake", str(found), "--merge", str(table(path, *rows))]) == 65
        assert why in capsys.readouterr().err
    assert files(found) == before
    assert cli.main(["remake", str(tmp_path), "--merge", str(path)]) == 74
