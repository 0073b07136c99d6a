"""Five bars, two of them one neurite in two halves, as the stages of `connectome` leave them.

z 2..10   [ A ][ B ]   two shards      C and D beside them, E far below
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from ..core import ids
from ..inference.section_linking import MergeTable, write_merge
from ..serving import meshes
from ..transform import warp
from ..transform.transforms import save
from . import results as made_results
from .stages import make_store, run_stage

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
GREY = np.random.default_rng(1).integers(1, 256, (32, 128, 128), np.uint8)
SCORES = ("score", "evaluation", "truth_overlap", "truth_skeletons")
SMALLEST = 100  # voxels of a neurite that gets a mesh


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    made, values = folder / "made", pieces()
    flat = make_store(made / "l.ome.zarr", labels(roots), (20.0, 10.0, 10.0), SHARD, label=True)
    supervoxels = make_store(made / "s.ome.zarr", values, (20.0, 10.0, 10.0), SHARD, label=True)
    grey = make_store(made / "g.ome.zarr", GREY, (20.0, 10.0, 10.0), SHARD)
    for name, volume, more in (("supervoxels", supervoxels, {}), ("aligned", grey, {"labels": flat})):
        place = folder / f"volumes/{name}.ome.zarr"
        assert run_stage("serving.multiscale", made, volume=volume, **more, name=name, output=place) == 0
    merge_parts(folder / "tables/merge", roots)
    rows = [(5, 40, 60, A, C), (6, 40, 60, B, C), (7, 45, 70, C, B), (8, 50, 80, D, A), (22, 30, 30, E, D)]
    z, y, x, pre, post = (np.array(c) for c in zip(*rows))
    columns = {"z": z, "y": y, "x": x, "size": np.full(5, 6), "score": np.full(5, 0.5, np.float32)}
    for side, one in (("pre", pre), ("post", post)):
        columns |= {f"{side}_z": z, f"{side}_y": y, f"{side}_x": x, f"{side}_pt_supervoxel_id": one.astype(np.uint64)}
        columns[f"{side}_pt_root_id"] = np.array([roots[n] for n in one.tolist()], np.uint64)
    pq.write_table(pa.table(columns), made / "c.parquet")
    wiring = {"tables": folder / "tables/made", "graph": folder / "graph"}
    assert run_stage("postprocess.graph", made, candidates="c.parquet", labels=flat, **wiring) == 0
    tables = {name: f"{name}.parquet" for name in ("sizes", "fragments", "coarse")}
    assert run_stage("postprocess.shapes", made, labels=flat, block="0-7", **tables) == 0
    outputs: dict[str, object] = {"mesh_files": folder / "meshes", "skeleton_files": folder / "skeletons"}
    outputs |= {"rows": "rows.parquet", "largest": "largest.parquet", "neurite_min_voxels": SMALLEST}
    assert run_stage("serving.neurites", made, labels=flat, batch="0-of-1", **tables, **outputs) == 0
    (folder / "meshes/info").write_text(json.dumps(meshes.info("multilod")))
    given = {"rows": "rows.parquet", "largest": "largest.parquet", "tables": folder / "tables/made"}
    assert run_stage("serving.neurons", made, neurons=folder / "tables/neurons", **given) == 0
    for part in ("made", "neurons"):
        for path in (folder / "tables" / part).iterdir():
            path.rename(folder / "tables" / path.name)
        (folder / "tables" / part).rmdir()
    shutil.rmtree(made)
    return folder


def labels(roots: dict[int, int]) -> np.ndarray:
    return np.vectorize({**roots, 0: 0}.get, otypes=[np.uint32])(pieces())


def scored(folder: Path, roots: dict[int, int]) -> None:
    """Scores against AFTER, the two halves one, as `evaluate` publishes them."""
    made = folder / "made"
    made.mkdir()
    save(made / "t.npz", [warp.shift_transform(0, 0)] * 32)
    volumes = {"labels": labels(roots), "truth": labels(AFTER), "supervoxels": pieces()}
    stores = {n: make_store(made / f"{n}.ome.zarr", v, (20.0, 10.0, 10.0), SHARD, label=True) for n, v in volumes.items()}
    names = {"output": "score.json", "evaluation": "evaluation.json", "truth_overlap": "truth_overlap.parquet"}
    names["truth_skeletons"] = "truth_skeletons.parquet"
    outputs = {flag: folder / "tables" / name for flag, name in names.items()}
    assert run_stage("postprocess.evaluate", made, **stores, transforms=made / "t.npz", score_regions="1,1,2", **outputs) == 0
    shutil.rmtree(made)


def released(folder: Path, roots: dict[int, int]) -> Path:
    """`results` with records of the stages that made them and all else that a run leaves: fit for a release."""
    results(folder, roots)
    scored(folder, roots)
    run = made_results.Run(folder, "bars")
    source = {"name": "em.raw", "path": "em.raw", "digest": made_results.sha("bars"), "bytes": 1}
    volume, grey = (run.held(f"volumes/{name}.ome.zarr") for name in ("supervoxels", "aligned"))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    of = {top: [run.file(n) for n in names if n.startswith(f"{top}/")] for top in ("tables", "graph", "meshes", "skeletons")}
    merge = [one for one in of["tables"] if "/merge/" in one["published"]]
    neurons = [one for one in of["tables"] if "/neurons." in one["published"]]
    scores = [one for one in of["tables"] if Path(one["published"]).stem in SCORES]
    wiring = [one for one in of["tables"] if one not in (*merge, *neurons, *scores)] + of["graph"]
    run.record("ingest", [source], [grey])
    run.record("segment", [grey], [volume])
    run.record("agglomerate", [volume], merge)
    run.record("graph", [volume, *merge], wiring, params={})
    shapes = of["meshes"] + of["skeletons"]
    run.record("neurites", [volume, *merge], shapes, block="0-of-1", params={"neurite_min_voxels": SMALLEST})
    run.record("neurons", [*shapes, *wiring], neurons)
    run.record("evaluate", [volume, *merge], scores, quality={"voi_split": 0.5})
    run.record("figures", [grey], [run.text("figures/figure1_overview.png", "a picture")])
    run.record("report", run.records, [run.text("report.html", "<!doctype html><title>bars</title>")])
    run.end()
    return folder
