"""What the joins on tables cost a row: CPU seconds and peak memory, which records of small runs cannot show.

    python benchmarks/tables.py [--rows 1e6 4e6] [--cases agglomerate cut link borders] [--folder DIR] [--room EDGES]

Memory is that of the whole process (most held at once, with the pages of mapped files) and, of this, what no file backs
(looked at every 20 ms): the first can be taken back by the system at any time where files back it, the second cannot.

With --room, `agglomerate` works on so few edges at once: what memory does with a graph that is so many times larger than the
room for it is seen on a small one.

`agglomerate` joins a region graph, a row an edge, from its file on (`learned`), `cut` cuts it anew. Of `classic`, `link`
joins the supervoxels of a batch (three overlaps each), `borders` what lies between batches. The figures stand as constants
in python/voxelmill/scaling.py. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from voxelmill.inference import agglomerate as stage
from voxelmill.inference import pending, region_graph, section_linking, supervoxels
from voxelmill.testing.engine import ALLOCATION


def agglomerate(rows: int, folder: Path, layers: int = 8) -> float:
    """CPU seconds to join a graph with that many edges: supervoxels on a lattice, each touching its seven next ones.

    layers: of supervoxels in the file of a block. A graph that is in the folder already is taken."""
    side = round((rows / 7) ** (1 / 3))
    rng = np.random.default_rng(0)
    place = folder / f"graph{rows}"
    place.mkdir(exist_ok=True)
    paths = [place / f"{z}.npz" for z in range(0, side, layers)]
    if not all(path.exists() for path in paths):
        for k, path in enumerate(paths):
            save_block(path, side, k * layers, min((k + 1) * layers, side), rng)
    os.chdir(place)  # where tables on disk are
    begun = time.process_time()
    given = [place / name for name in ("components.parquet", "border.npz", "merge", "forest.npz")]
    Watch.begin()
    stage.learned(stage.Learned(), SimpleNamespace(report=dict), paths, *given)
    return time.process_time() - begun


def cut(rows: int, folder: Path) -> float:
    """CPU seconds to cut that graph anew, mean over the thresholds of a curve."""
    place = folder / f"graph{rows}"
    if not (place / "forest.npz").exists():
        agglomerate(rows, folder)
    os.chdir(place)
    paths = sorted(place.glob("[0-9]*.npz"), key=lambda path: int(path.stem))
    _, cuts = stage.curve_of(paths, place / "forest.npz")
    begun = time.process_time()
    Watch.begin()
    return sum(1 for _ in cuts) and (time.process_time() - begun) / len(stage.CURVE)


class Watch:
    """Most memory that was held from a moment on."""

    anonymous = 0

    @classmethod
    def begin(cls) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        cls.anonymous = 0

    @classmethod
    def look(cls) -> None:
        while True:
            cls.anonymous = max(cls.anonymous, held("RssAnon"))
            time.sleep(0.02)


def held(name: str) -> int:
    """Bytes, as the system has them of this process."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def save_block(path: Path, side: int, start: int, stop: int, rng: np.random.Generator) -> None:
    """Layers of the lattice; a border between blocks is a plane of one face a supervoxel."""
    z, y, x = (n.ravel().astype(np.uint64) for n in np.mgrid[start:stop, :side, :side])
    ids = (z * np.uint64(side) + y) * np.uint64(side) + x + np.uint64(1)
    pairs = []
    for dz, dy, dx in list(np.ndindex(2, 2, 2))[1:]:
        inside = (z + dz < stop) & (y + dy < side) & (x + dx < side)
        pairs.append(np.stack([ids[inside], ids[inside] + np.uint64((dz * side + dy) * side + dx)], 1))
    both = np.concatenate(pairs)
    faces = rng.integers(1, 200, len(both))
    edges = region_graph.added(*both.T, (faces * 255 * rng.beta(0.5, 0.5, len(both))).astype(np.int64), faces)
    nodes = region_graph.Nodes(
        ids, rng.integers(50, 2000, len(ids)), np.zeros(len(ids), np.int32), rng.random(len(ids)) < 0.1
    )
    planes = ids.reshape(stop - start, side, side)
    first = supervoxels.Plane(planes[0], (255 * rng.beta(0.5, 0.5, (side, side))).astype(np.uint8))
    supervoxels.save(path, supervoxels.Graph(slice(start, stop), [], [nodes], [edges], {(0, 0): first}, {(0, 0): planes[-1]}))


def link(rows: int, folder: Path) -> float:
    """CPU seconds to link that many supervoxels in 32 sections."""
    rng, section = np.random.default_rng(0), rows // 32
    ids = np.arange(1, rows + 1, dtype=np.uint64)
    upper = np.repeat(ids[:-section], 3)
    lower = np.minimum(upper + np.uint64(section) + rng.integers(0, 3, len(upper)).astype(np.uint64), np.uint64(rows))
    table = section_linking.Overlaps(
        np.stack([upper, lower], 1), rng.integers(100, 1000, len(upper)), rng.integers(1000, 2000, (len(upper), 2))
    )
    begun = time.process_time()
    section_linking.link(ids, table, first_ends=section + 1)
    return time.process_time() - begun


def borders(rows: int, folder: Path) -> float:
    """CPU seconds to join ten batches with that many supervoxels in their first sections; 70 % go on."""
    rng, batches = np.random.default_rng(0), 10
    each, made = rows // batches, []
    for k in range(batches):
        ids = np.arange(k * 10**10, k * 10**10 + each, dtype=np.uint64)
        on = (ids + np.uint64(10**10))[rng.random(each) < 0.7] if k < batches - 1 else ids[:0]
        made.append(
            section_linking.Border(
                4 * each,
                ids,
                np.sort(rng.integers(0, 4 * each, each)),
                on,
                rng.integers(0, 4 * each, len(on)),
                np.ones(len(on), np.float32),
            )
        )
    begun = time.process_time()
    section_linking.join_borders(made)
    return time.process_time() - begun


CASES = {"agglomerate": agglomerate, "cut": cut, "link": link, "borders": borders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 4e6])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--folder", type=Path, help="keep the made graphs here")
    parser.add_argument("--room", type=int, default=pending.ROOM)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        threading.Thread(target=Watch.look, daemon=True).start()
        shrink(args.room)
        seconds = CASES[args.cases[0]](int(args.rows[0]), args.folder)
        print(json.dumps([seconds, held("VmHWM"), Watch.anonymous]))
        return
    print(f"{'':11} {'rows':>13} {'us a row':>9} {'bytes a row':>12} {'MB':>6} {'MB of no file':>14}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for case in args.cases:
            _, least, _ = one(case, 1000, folder, args.room)
            for rows in args.rows:
                seconds, peak, own = one(case, int(rows), folder, args.room)
                each = f"{1e6 * seconds / rows:9.2f} {(peak - least) / rows:12.0f}"
                print(f"{case:11} {rows:13,.0f} {each} {peak / 1e6:6.0f} {own / 1e6:14.0f}", flush=True)


def shrink(room: int) -> None:
    """Room for so many edges, and pieces of half as many."""
    supervoxels.pieces = partial(supervoxels.pieces, most=room // 2)
    pending.ROOM = room


def one(case: str, rows: int, folder: Path, room: int) -> tuple[float, int, int]:
    """CPU seconds, most bytes held, most that no file backs."""
    given = ["--one", "--cases", case, "--rows", str(rows), "--folder", str(folder), "--room", str(room)]
    env = os.environ | ALLOCATION
    return tuple(
        json.loads(subprocess.run([sys.executable, __file__, *given], env=env, stdout=subprocess.PIPE, check=True).stdout)
    )


if __name__ == "__main__":
    main()
