"""Remake: after a merge as a full run has it, and only what hangs on the two root ids was made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voxelmill.core import ids
from voxelmill.core.errors import DataError
from voxelmill.inference.section_linking import MergeTable, write_merge
from voxelmill.postprocess import graph, shapes, teasar
from voxelmill.serving import neurites, remake
from voxelmill.testing.stages import make_store, run_stage

SHARD = (16, 64, 64)
BARS = {  # supervoxels by the section that they begin in; the first two are one bar in two halves, in two shards of eight
    int(ids.encode(2, 1)): np.s_[2:11, 30:50, 8:60],
    int(ids.encode(2, 2)): np.s_[2:11, 30:50, 60:120],
    int(ids.encode(3, 1)): np.s_[3:30, 90:110, 20:44],
    int(ids.encode(3, 2)): np.s_[3:30, 90:110, 80:104],
    int(ids.encode(20, 1)): np.s_[20:30, 20:40, 8:60],
}
A, B, C, D, E = BARS
BEFORE = {A: 1, B: 2, C: 3, D: 4, E: 5}
AFTER = BEFORE | {B: 1}


def pieces() -> np.ndarray:
    values = np.zeros((32, 128, 128), np.uint64)
    for name, where in BARS.items():
        values[where] = name
    return values


def merge_parts(folder: Path, roots: dict[int, int]) -> Path:
    folder.mkdir(parents=True)
    for first in (0, 16):
        names = np.array([n for n in BARS if ids.decode(n)[0] // 16 * 16 == first], np.uint64)
        values = np.array([roots[n] for n in names.tolist()], np.int64)
        write_merge(folder / f"z{first:07d}.parquet", MergeTable(names, values, np.ones(len(names), np.float32)))
    return folder


def results(folder: Path, roots: dict[int, int]) -> Path:
    """What a run publishes, of labels made by these root ids."""
    made, values = folder / "made", pieces()
    named = np.vectorize({**roots, 0: 0}.get, otypes=[np.uint32])(values)
    labels = make_store(made / "l.ome.zarr", named, (20.0, 10.0, 10.0), SHARD, label=True)
    make_store(folder / "volumes/supervoxels.ome.zarr", values, (20.0, 10.0, 10.0), SHARD, label=True)
    merge_parts(folder / "tables/merge", roots)
    rows = [(5, 40, 60, A, C), (6, 40, 60, B, C), (7, 45, 70, C, B), (8, 50, 80, D, A), (22, 30, 30, E, D)]
    z, y, x, pre, post = (np.array(c) for c in zip(*rows))
    columns = {"z": z, "y": y, "x": x, "sigma": np.ones(5, np.float32), "score": np.full(5, 0.5, np.float32)}
    for side, one in (("pre", pre), ("post", post)):
        columns |= {f"{side}_z": z, f"{side}_y": y, f"{side}_x": x, f"{side}_pt_supervoxel_id": one.astype(np.uint64)}
        columns[f"{side}_pt_root_id"] = np.array([roots[n] for n in one.tolist()], np.uint64)
    pq.write_table(pa.table(columns), made / "c.parquet")
    wiring = {"tables": folder / "tables/made", "graph": folder / "graph"}
    assert run_stage("postprocess.graph", made, candidates="c.parquet", labels=labels, **wiring) == 0
    tables = {name: f"{name}.parquet" for name in ("sizes", "fragments", "coarse")}
    assert run_stage("postprocess.shapes", made, labels=labels, block="0-7", **tables) == 0
    outputs = {"mesh_files": folder / "meshes", "skeleton_files": folder / "skeletons"}
    outputs |= {"rows": "rows.parquet", "largest": "largest.parquet", "neurite_min_voxels": 100}
    assert run_stage("serving.neurites", made, labels=labels, batch="0-of-1", **tables, **outputs) == 0
    given = {"rows": "rows.parquet", "largest": "largest.parquet", "tables": folder / "tables/made"}
    assert run_stage("serving.neurons", made, neurons=folder / "tables/neurons", **given) == 0
    for part in ("made", "neurons"):
        for path in (folder / "tables" / part).iterdir():
            path.rename(folder / "tables" / path.name)
        (folder / "tables" / part).rmdir()
    shutil.rmtree(made)
    return folder


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.read_bytes()) for p in found}


def done(folder: Path, merge: Path) -> list[int]:
    p = neurites.Parameters.model_validate({"neurite_min_voxels": 100})
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
