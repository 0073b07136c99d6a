"""Neurites raw -> labels by the stages as they run: scores at several thresholds, CPU seconds, memory; peers beside them.

    python benchmarks/neurites.py DATA [--sets fib25 gala vnc] [--part validation] [--segmentation learned] [--model DIR]
                                  [--size 128 256 384 768 --repeat 3] [--shown 15 20] [--out X.json]

DATA is the folder with `em/`. fib25 is the part of the shipped network's recipe that is named: it has not been learnt from.
gala and vnc the network has never seen. `held_back` is looked at once, when everything is chosen. VNC is scored section by
section. --size N ...: no scores, but the cost of N^3 voxels, FIB-25 continued by reflection, each in its own process, and
by how much a voxel costs more than at the first N; of `--repeat` times the least. --shown NM ...: FIB-25 shown with voxels of
so many nm, as it is and with `--model_mismatch resample`. Peers, where installed: waterz
(seeded watershed and mean affinity) on the same affinities; connected components by SciPy. --bounds: how far agglomeration
could come at most on these supervoxels, in this crop. --pairs 10: of the default threshold the pairs that add most to ARAND.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from voxelmill.core.graphs import components
from voxelmill.core.volume import open_image
from voxelmill.inference import affinities, agglomerate, segment, supervoxels
from voxelmill.postprocess.score import score_sections, score_volumes
from voxelmill.testing.stages import make_store, run_stage
from voxelmill.training.data import RECIPES, load_recipe
from voxelmill.transform import contrast, resampling

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
SHARD = (32, 1024, 1024)
PLAIN = 0.01  # mean affinity below which two parts of a neurite touch across a membrane that is plain to see


def volumes(args: argparse.Namespace):
    """Name, raw (z, y, x), truth, voxel size in nm, whether truth is per section."""
    for e in load_recipe(RECIPES / "neurites.json", args.data).examples(args.part):
        if e.set in args.sets:
            yield e.set, e.image, e.labels, e.voxel_size, False
    for name, file, key, size in (
        ("gala", "gala_flyem_train", "labels", (10, 10, 10)),
        ("vnc", "vnc_stack1_z00-04", "labels2d", (45, 4.6, 4.6)),
    ):
        if name in args.sets and args.part == "validation":
            with np.load(args.data / "em" / f"{file}.npz") as stored:
                yield name, stored["raw"], stored[key].astype(np.int32), size, name == "vnc"


def ours(
    folder: Path,
    raw: np.ndarray,
    size: tuple[float, ...],
    model: Path | None,
    method: str = "learned",
    scored: bool = True,
    mismatch: str = "warn",
) -> dict:
    """Labels per threshold, and what they cost; the peak is that of one process that does all, without labels."""
    grey = contrast.enhance(raw)
    store = make_store(folder / "aligned.ome.zarr", grey, tuple(map(float, size)), shard=SHARD, chunk=(32, 128, 128))
    lay = open_image(store).layout()
    block = f"0-{int(np.prod(lay.grid)) - 1}"
    more = {"segmentation": method, "model_mismatch": mismatch, **({"model": model} if model else {})}
    begun = time.process_time()
    assert (
        run_stage("inference.segment", folder, volume=store, block=block, output="s.ome.zarr", overlaps="o.npz", **more) == 0
    )
    cut = time.process_time()
    graph = agglomerate.Graph([folder / "o.npz"])
    names = graph.nodes.ids
    forest = graph.forest(min(THRESHOLDS))
    joined = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    labels = open_image(folder / "s.ome.zarr").read() if scored else np.zeros(0, np.uint64)
    index = np.searchsorted(names, labels)
    out, how = {}, agglomerate.how_of(agglomerate.Forest() if method == "forest" else agglomerate.Learned())
    for threshold in THRESHOLDS:
        again = time.process_time()
        root = graph.cut(threshold, forest, how)
        recut = time.process_time() - again
        if not scored:
            continue
        out[threshold] = np.where(labels > 0, root[np.minimum(index, len(root) - 1)] + 1, 0)
    cost = {
        "supervoxels": len(names),
        "edges": graph.rows,
        "segment_mvox_per_cpu_s": round(raw.size / 1e6 / (cut - begun), 3),
        "agglomerate_cpu_s": round(joined - cut, 2),
        "raw_to_labels_mvox_per_cpu_s": round(raw.size / 1e6 / (joined - begun), 3),
        "recut_medges_per_s": round(graph.rows / 1e6 / max(recut, 1e-6), 1),
        "peak_gb": round(peak / 1e6, 2),
    }
    return {"labels": out, "cost": cost, "store": store, "supervoxels": labels, "graph": graph}


def by_waterz(store: Path, model: Path | None) -> tuple[dict[float, np.ndarray], float]:
    """Watershed and mean affinity of waterz on our affinities of a whole volume."""
    import waterz

    source = open_image(store)
    whole = tuple(slice(0, n) for n in source.shape)
    counts = np.stack([np.bincount(section.ravel(), minlength=256) for section in source.read()])
    near, _ = supervoxels.look(supervoxels.network(model or segment.MODEL), source, whole, 0, affinities.grey_of(counts))
    near = near.astype(np.float32) / 255
    if supervoxels.is_flat(source):
        near[0] = 0
    begun = time.process_time()
    scores = [round(1 - t, 3) for t in sorted(THRESHOLDS, reverse=True)]
    found = waterz.agglomerate(near, scores, scoring_function="OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>")
    return {round(1 - s, 3): labels.astype(np.int64) for s, labels in zip(scores, found)}, time.process_time() - begun


def bounds(truth: np.ndarray, supervoxels: np.ndarray, graph: agglomerate.Graph | None = None) -> dict[str, np.ndarray]:
    """Labels that are about the best that can be had in a crop (z, y, x), where neurites may be joined only outside it.

    `truth`: the truth, parts that do not touch apart. `supervoxels`: each given to the neurite that most of it is, parts
    that do not touch apart. `no membrane`, with a graph: nor those that touch across a plain membrane alone (PLAIN)."""
    import cc3d

    first, own = np.unique(supervoxels, return_inverse=True)
    names, true = np.unique(truth, return_inverse=True)
    own, true = own.reshape(truth.shape), np.where(truth > 0, true.reshape(truth.shape) + 1, 0)
    many = len(names) + 1
    known = (truth > 0) & (supervoxels > 0)
    pair, count = np.unique(own[known].astype(np.int64) * many + true[known], return_counts=True)
    most = np.zeros(own.max() + 1, np.int64)
    order = np.argsort(count, kind="stable")  # the last one written stays
    most[pair[order] // many] = pair[order] % many
    apart = {"truth": true, "supervoxels": np.where(supervoxels > 0, most[own], 0)}
    if graph is not None:
        ends = [np.zeros((2, 0), np.int64)]
        for edges in graph.pieces():
            u, v = edges.pairs.astype(np.int64).T + int(first[0] == 0)
            ends.append(np.stack([u, v])[:, (most[u] == most[v]) & (edges.total >= PLAIN * 255 * edges.faces)])
        apart["no membrane"] = np.where(supervoxels > 0, components(len(most), *np.concatenate(ends, 1))[own] + 1, 0)
    return {
        name: cc3d.connected_components(x.astype(np.uint32), connectivity=6).astype(np.int64) for name, x in apart.items()
    }


def worst(truth: np.ndarray, labels: np.ndarray, most: int) -> list[dict]:
    """The pairs that add most to ARAND: two segments of one true neurite (split), or two neurites in one segment (merge)."""
    known = truth > 0
    (true, of_true), (seen, of_seen) = (np.unique(x[known], return_inverse=True) for x in (truth, labels))
    pair, count = np.unique(of_true.astype(np.int64) * len(seen) + of_seen, return_counts=True)
    t, s, count = pair // len(seen), pair % len(seen), count.astype(float)
    whole = (np.bincount(t, count) ** 2).sum() + (np.bincount(s, count) ** 2).sum()
    found = []
    for kind, by, other, names, others in (("split", t, s, true, seen), ("merge", s, t, seen, true)):
        for group in range(by.max() + 1):
            here = np.flatnonzero(by == group)
            here = here[np.argsort(-count[here], kind="stable")][:most]
            for n, one in enumerate(here):
                for two in here[n + 1 :]:
                    adds = round(2 * count[one] * count[two] / whole, 4)
                    of, voxels = [int(others[other[k]]) for k in (one, two)], [int(count[k]) for k in (one, two)]
                    found.append({"adds": adds, kind: int(names[group]), "of": of, "voxels": voxels})
    return sorted(found, key=lambda row: -row["adds"])[:most]


def rows(
    truth: np.ndarray, labels: dict[float, np.ndarray] | dict[str, np.ndarray], flat: bool
) -> dict[str, dict[str, float]]:
    score = score_sections if flat else score_volumes
    found = {}
    for threshold, one in labels.items():
        result, inner = (score(truth, one, border=b) for b in (0, 2))
        found[str(threshold)] = {k: round(result[k], 3) for k in ("voi_split", "voi_merge", "voi", "arand")}
        found[str(threshold)] |= {f"{k}_b2": round(inner[k], 3) for k in ("voi", "arand")}
    return found


def cost_of(args: argparse.Namespace, size: int) -> dict:
    """Cost of size^3 voxels, FIB-25 continued by reflection."""
    raw = next(volumes(argparse.Namespace(**{**vars(args), "sets": ["fib25"]})))[1]
    raw = np.pad(raw, [(0, max(0, size - n)) for n in raw.shape], mode="symmetric")[(slice(size),) * 3]
    with tempfile.TemporaryDirectory() as folder:
        return ours(Path(folder), raw, (10, 10, 10), args.model, args.segmentation, False)["cost"]


def costs(args: argparse.Namespace) -> dict:
    """`cost_of` each size, the cheapest of `--repeat` processes, and how much more a voxel costs than at the first."""
    figures: dict = {}
    more = ["--segmentation", args.segmentation, *(["--model", str(args.model)] if args.model else [])]
    for size in args.size:
        command = [sys.executable, __file__, str(args.data), "--size", str(size), *more]
        runs = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(args.repeat)]
        figures[f"{size}^3"] = max(runs, key=lambda run: run["raw_to_labels_mvox_per_cpu_s"])
        speeds = [run["raw_to_labels_mvox_per_cpu_s"] for run in figures.values()]
        figures[f"{size}^3"]["cost_of_a_voxel_more_than_first_percent"] = round(100 * (speeds[0] / speeds[-1] - 1), 1)
        print(f"{size}^3", json.dumps(figures[f"{size}^3"]), file=sys.stderr, flush=True)
    return figures


def shown(args: argparse.Namespace) -> dict:
    """FIB-25 (isotropic) averaged to larger voxels: scores at the default threshold, by what is done about their size."""
    _, raw, truth, size, _ = next(volumes(argparse.Namespace(**{**vars(args), "sets": ["fib25"]})))
    figures: dict = {}
    for nm in args.shown:
        cells = [int(n * size[0] / nm) for n in raw.shape]
        averages = [resampling.weights(n, m, nm / size[0]) for n, m in zip(raw.shape, cells)]
        large = np.rint(resampling.along_axes(raw.astype(np.float32), averages)).astype(np.uint8)
        middles = [((np.arange(n) + 0.5) * nm / size[0]).astype(int) for n in large.shape]
        for how in ("warn", "resample"):
            with tempfile.TemporaryDirectory() as folder:
                made = ours(Path(folder), large, (nm, nm, nm), args.model, args.segmentation, mismatch=how)["labels"]
            figures[f"{nm:g} nm, {how}"] = rows(truth[np.ix_(*middles)], {t: made[t] for t in (0.1, 0.2, 0.3)}, False)
            print(f"{nm:g} nm, {how}", json.dumps(figures[f"{nm:g} nm, {how}"]), file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="*", default=["fib25", "gala", "vnc"])
    parser.add_argument("--part", default="validation", choices=("train", "validation", "held_back"))
    parser.add_argument("--segmentation", default="learned", choices=("learned", "forest"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", type=int, nargs="*", default=[])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--shown", type=float, nargs="*", default=[], metavar="NM")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--bounds", action="store_true")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    figures: dict = {}
    if len(args.size) == 1:
        figures = cost_of(args, args.size[0])
    elif args.size:
        figures = costs(args)
    elif args.shown:
        figures = shown(args)
    else:
        for name, raw, truth, size, flat in volumes(args):
            with tempfile.TemporaryDirectory() as folder:
                made = ours(Path(folder), raw, size, args.model, args.segmentation)
                figures[name] = {"ours": rows(truth, made["labels"], flat), "cost": made["cost"]}
                if args.bounds and not flat:
                    figures[name]["bounds"] = rows(truth, bounds(truth, made["supervoxels"], made["graph"]), flat)
                    print(name, "at most", json.dumps(figures[name]["bounds"]))
                if args.pairs:
                    figures[name]["pairs"] = worst(truth, made["labels"][0.2], args.pairs)
                    print(name, *map(json.dumps, figures[name]["pairs"]), sep="\n  ")
                if args.peers:
                    try:
                        peer, seconds = by_waterz(made["store"], args.model)
                        figures[name]["waterz"] = rows(truth, peer, flat)
                        figures[name]["waterz_mvox_per_cpu_s"] = round(raw.size / 1e6 / seconds, 2)
                    except ImportError:
                        print("waterz is not here: no peer", file=sys.stderr)
            curve = figures[name]["ours"]
            print(name, json.dumps(figures[name]["cost"]), *(f"\n  {t} {r}" for t, r in curve.items()), flush=True)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures if args.size or args.shown else {n: f.get("waterz") for n, f in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
