"""Made results of a `connectome` run, small and complete: stores with manifests, tables, records from source to report.

    source (16, 32, 32) --ingest--> raw --segment.0-3 (model)--> supervoxels, merge table --graph--> edges, nodes --report-->

Supervoxels are cubes of 4 voxels, rods of them along x the neurites, synapses between neighbouring rods.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..core import ids, manifest, runs
from ..core.space import Space
from ..core.volume import create_image, layout
from ..inference.seeded_watershed import tiles
from ..postprocess import score_regions
from ..postprocess.score import score_volumes
from . import forms as shapes
from .stages import make_store, run_stage

SHAPE, SHARD, CHUNK, CUBE = (16, 32, 32), (8, 16, 32), (8, 16, 16), 4
MODEL = hashlib.sha256(b"a model").hexdigest()
Partition = Callable[[np.ndarray], np.ndarray]


def rods(cubes: np.ndarray) -> np.ndarray:
    """Neurite of each cube (z, y, x numbers): all of a row along x."""
    return 1 + cubes[:, 0] * (SHAPE[1] // CUBE) + cubes[:, 1]


def broken(cubes: np.ndarray) -> np.ndarray:
    """As `rods`, but those of the first two layers in pieces of two cubes: splits in one region."""
    return rods(cubes) + np.where(cubes[:, 0] < 2, 1000 * (cubes[:, 2] // 2), 0)


def make(
    folder: Path,
    run: str = "made_run",
    partition: Partition = rods,
    model: str = MODEL,
    figures: dict[str, Any] | None = None,
    source: bytes = b"",
    forms: bool = False,
) -> Path:
    """Write results; the same arguments give the same bytes, so the same release.

    Args:
        partition: numbers of cubes (n, 3) -> neurite of each.
        model: sha256 of the model that the segmentation ran with.
        figures: what the scores say, instead of or beside `voi_split` and `voi_merge` against `rods`.
        source: bytes of the source file; random ones of a fixed seed by default.
        forms: with meshes and skeletons."""
    folder.mkdir(parents=True)
    made = Run(folder, run)
    raw = source or np.random.default_rng(7).integers(0, 255, SHAPE, np.uint8).tobytes()
    given = {"name": "em.raw", "path": "em.raw", "digest": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    volume = np.frombuffer(raw[: int(np.prod(SHAPE))].ljust(int(np.prod(SHAPE)), b"\0"), np.uint8).reshape(SHAPE)
    image = made.store("volumes/raw.ome.zarr", volume)
    ingested = made.record("ingest", [given], [image])
    cubes, supervoxels = _supervoxels()
    labels = made.store("volumes/supervoxels.ome.zarr", supervoxels)
    root, number = partition(cubes), np.unique(supervoxels)
    order = np.argsort(_names(cubes))
    merge = made.table(
        "tables/merge/z0000000.parquet",
        {"supervoxel": number, "root_id": root[order].astype(np.uint64), "score": np.ones(len(number), np.float32)},
    )
    parts = []
    for n in range(4):
        part = {"name": "supervoxels", "path": f"work/{n}", "digest": sha(f"{run}{n}{model}{labels['digest']}"), "bytes": 10}
        parts.append(part)
        made.record("segment", [image], [part], block=f"{n}-{n}", models=[{"name": "net", "sha256": model}])
    joined = made.record("join", parts, [labels], block="supervoxels")
    merged = made.record("export_labels", [labels], [merge], block="0-3")
    synapses, edges, nodes = _tables(made, cubes, root)
    graph = made.record("graph", [merge, synapses], [edges, nodes])
    found = made.record("synapses", [labels, merge], [synapses], block="0-3")
    score, evaluation = _scores(cubes, root)
    tables = {"score": score | (figures or {}), "evaluation": evaluation}
    scored = made.record("evaluate", [merge], [made.text(f"tables/{n}.json", json.dumps(one)) for n, one in tables.items()])
    if forms:
        made.record("neurons", [labels, merge], shapes.write(made, root, cubes, CUBE * 8.0))
    page = made.text("report.html", "<!doctype html><title>made</title><p>made results")
    made.record("report", [*[ingested, joined, merged, graph, found, scored], *made.records, edges], [page])
    made.end()
    return folder


def stacked(folder: Path) -> Path:
    """Results of a `reconstruct` run, of its last stages: a volume of two slices with two levels, as it is published, by two
    tasks, and its table."""
    folder.mkdir(parents=True)
    made = Run(folder, "stacked_run")
    slices = [{"name": f"slice_{n}", "path": f"slice_{n}", "digest": sha(f"slice {n}"), "bytes": 10} for n in range(2)]
    values = np.random.default_rng(4).uniform(0.2, 1, SHAPE).astype(np.float32)
    (folder / "stack").mkdir()
    with TemporaryDirectory(dir=folder) as scratch:
        given = {"volume": make_store(Path(scratch, "in.ome.zarr"), values, (1e4,) * 3, SHARD, CHUNK), "name": "slices"}
        assert run_stage("serving.publish_volume", Path(scratch), **given, pyramid_n_levels=2, output="slices.ome.zarr") == 0
        store = Path(scratch, "slices.ome.zarr")
        for path in (store, manifest.path_of(store)):
            path.rename(folder / "stack" / path.name)
    volume = made.held("stack/slices.ome.zarr")
    parts = [{"name": "slices", "path": f"work/{n}", "digest": sha(f"part {n}"), "bytes": 10} for n in range(2)]
    for n, block in enumerate(("0-1", "2-3")):
        made.record("stack", [slices[n]], [parts[n]], block=block)
    made.record("publish_volume", parts, [volume])
    made.record("plan_stack", slices, [made.text("stack/z_matches.csv", "slice,z\n0,0\n1,8\n")])
    made.end("reconstruct")
    return folder


def moving(folder: Path) -> Path:
    """Results of a `timelapse` run, of its last stage: traces of three cells in two fields of view, five frames each."""
    folder.mkdir(parents=True)
    made = Run(folder, "moving_run")
    movie = {"name": "movie.nd2", "path": "movie.nd2", "digest": sha("a movie"), "bytes": 10}
    for fov in ("fov_000", "fov_001"):
        rows = [f"{c},{f},{'nan' if f == 3 else 10 * c + f + 0.5}" for f in range(9) for c in (1, 2, 3) if c <= f < c + 5]
        text = "\n".join(["cell,frame,area", *rows]) + "\n"
        made.record("extract_traces", [movie], [made.text(f"{fov}/movie_{fov}_traces.csv", text)], block=fov)
    made.end("timelapse")
    return folder


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _names(cubes: np.ndarray) -> np.ndarray:
    """Ids of cubes: numbered within the tile of the section that they begin in."""
    where = tiles(SHAPE)
    per = int(np.prod([n // CUBE for n in SHAPE[1:]]))
    number = np.array([where.number(int(z) * CUBE, 0, 0) for z in cubes[:, 0]])
    local = 1 + (cubes[:, 1] * (SHAPE[2] // CUBE) + cubes[:, 2]) % per
    return ids.encode(number, local)


def _supervoxels() -> tuple[np.ndarray, np.ndarray]:
    cubes = np.stack(
        np.unravel_index(np.arange(int(np.prod([n // CUBE for n in SHAPE]))), [n // CUBE for n in SHAPE]), axis=1
    )
    coarse = _names(cubes).reshape([n // CUBE for n in SHAPE])
    return cubes, coarse.repeat(CUBE, 0).repeat(CUBE, 1).repeat(CUBE, 2)


def _tables(made: Run, cubes: np.ndarray, root: np.ndarray) -> tuple[dict, dict, dict]:
    """A synapse where two rods of a layer touch, at every second cube."""
    of = {tuple(c): int(r) for c, r in zip(cubes.tolist(), root.tolist(), strict=True)}
    pairs = [((z, y, x), (z, y + 1, x)) for z, y, x in of if x % 2 == 0 and (z, y + 1, x) in of]
    pre, post = (np.array([of[p[k]] for p in pairs], np.uint64) for k in (0, 1))
    centre = np.array([[(a + b) / 2 * CUBE + 1.5 for a, b in zip(p, q, strict=True)] for p, q in pairs])
    rows: dict[str, np.ndarray] = {
        "id": np.arange(1, len(pairs) + 1, dtype=np.uint64),
        "pre_pt_root_id": pre,
        "post_pt_root_id": post,
        "score": np.full(len(pairs), 0.5, np.float32),
        **{a: centre[:, k].round().astype(np.int64) for k, a in enumerate("zyx")},
        **{f"{a}_nm": centre[:, k] * 8 for k, a in enumerate("zyx")},
    }
    both, weight = np.unique(np.stack([pre, post], axis=1), axis=0, return_counts=True)
    edges = {"pre_root_id": both[:, 0], "post_root_id": both[:, 1], "weight": weight.astype(np.int64)}
    roots = np.unique(root).astype(np.uint64)
    nodes = {"root_id": roots, "pagerank": np.full(len(roots), 1 / len(roots))}
    return (
        made.table("tables/synapses.parquet", rows),
        made.table("tables/edges.parquet", edges),
        made.table("tables/nodes.parquet", nodes),
    )


def _scores(cubes: np.ndarray, root: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `evaluate` has them, with `rods` for the truth; a region is a layer of cubes."""
    shape = tuple(n // CUBE for n in SHAPE)
    truth, found = (of.reshape(shape).repeat(CUBE, 0).repeat(CUBE, 1).repeat(CUBE, 2) for of in (rods(cubes), root))
    boxes = score_regions.boxes(SHAPE, (shape[0], 1, 1))
    parts = score_regions.count(truth, found, tuple(slice(0, n) for n in SHAPE), boxes)
    whole = score_volumes(truth, found)
    score = {name: whole[name] for name in ("voi_split", "voi_merge", "arand")}
    return score, {"default": score, "regions": {n: score_regions.figures(parts[n], box) for n, box in boxes.items()}}


class Run:
    """The records of a run, and what it publishes."""

    def __init__(self, folder: Path, run: str):
        self.folder, self.run = folder, run
        self.records: list[dict[str, Any]] = []
        self.published: list[dict[str, Any]] = []

    def store(self, path: str, values: np.ndarray) -> dict[str, Any]:
        root = self.folder / path
        lay = layout(values.shape, values.dtype, SHARD, CHUNK)
        create_image(root, lay, Space.zyx((8.0, 8.0, 8.0))).write(tuple(slice(0, n) for n in values.shape), values)
        manifest.write(root)
        return self.held(path)

    def held(self, path: str) -> dict[str, Any]:
        root = self.folder / path
        held = manifest.read(root) or {}
        return {
            "name": root.name,
            "path": str(root),
            "digest": held["digest"],
            "published": path,
            "bytes": sum(size for size, _ in held["files"].values()),
        }

    def table(self, path: str, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), self.folder / path)
        return self.file(path)

    def text(self, path: str, text: str) -> dict[str, Any]:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)
        return self.file(path)

    def file(self, path: str) -> dict[str, Any]:
        at = self.folder / path
        return {
            "name": at.name,
            "path": str(at),
            "digest": manifest.digest_file(at),
            "bytes": at.stat().st_size,
            "published": path,
        }

    def record(
        self, stage: str, inputs: Sequence[dict], outputs: Sequence[dict], block: str = "", **more: Any
    ) -> dict[str, Any]:
        """Write a record; as an input of the report."""
        params = {"strict": False}
        text = json.dumps(params, sort_keys=True)
        name = ".".join(filter(None, [stage, block, "provenance.json"]))
        n = len(self.records)
        found = {
            "format": 2,
            "run_id": self.run,
            "task_hash": sha(f"{self.run}{name}")[:32],
            "stage": stage,
            "block": block,
            "inputs": [{k: v for k, v in i.items() if k != "published"} for i in inputs],
            "outputs": list(outputs),
            "params": params,
            "params_hash": sha(text),
            "code_version": "0",
            "code_hash": sha("code"),
            "stage_code": sha(stage)[:16],
            "commit": None,
            "environment_hash": sha("env"),
            "python": "3",
            "models": [],
            "device": "cpu",
            "host": "made",
            "start": f"2026-01-01T00:00:{n % 60:02d}.000Z",
            "end": f"2026-01-01T00:00:{n % 60:02d}.500Z",
            "wall_s": 0.5,
            "cpu_s": 0.4,
            "startup_cpu_s": 0.1,
            "peak_memory_bytes": 1000,
            "bytes_in": 1,
            "bytes_out": 1,
            "left_out": {},
            "quality": {},
            **more,
        }
        self.published += [
            {
                "path": o["published"],
                "kind": runs.kind_of(o["published"]),
                "digest": o["digest"],
                "bytes": o["bytes"],
                "stage": stage,
                "record": f"provenance/{name}",
            }
            for o in outputs
            if "published" in o
        ]
        made = self.text(f"provenance/{name}", json.dumps(found, indent=1, sort_keys=True))
        item = {k: v for k, v in made.items() if k != "published"}
        self.records.append(item)
        return item

    def end(self, workflow: str = "connectome") -> None:
        rows = sorted(self.published, key=lambda row: row["path"])
        (self.folder / "published.json").write_text(json.dumps({"format": 1, "run_id": self.run, "files": rows}, indent=1))
        with sqlite3.connect(self.folder / "runs.sqlite") as con:
            con.execute("CREATE TABLE runs (run_id TEXT, workflow TEXT)")
            con.execute("INSERT INTO runs VALUES (?, ?)", (self.run, workflow))
