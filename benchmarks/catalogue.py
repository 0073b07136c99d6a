"""Catalogue and server: scrub, flips found, rollback, diff at 10 M supervoxels, queries at 1 M synapses.

    python benchmarks/catalogue.py [--supervoxels 1e7] [--synapses 1e6] [--flips 200] [--only queries]

Peers in the same run: sha256 of hashlib for the scrub, DuckDB for the diff, SQLite for partners.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from voxelmill.catalog import archive, differences, index, objects, releases
from voxelmill.catalog.store import Store
from voxelmill.testing import results, served


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def scrub(folder: Path) -> None:
    """One object of 512 MB, and many small ones."""
    import hashlib

    rng = np.random.default_rng(1)
    source = folder / "large"
    source.write_bytes(rng.bytes(512 << 20))
    store = Store(folder / "scrub", make=True)
    archive.add(store, [source])
    wall, cpu = timed(lambda: archive.verify(store))
    peer, _ = timed(lambda: hashlib.file_digest(source.open("rb"), "sha256"))
    print(f"scrub: {0.537 / wall:.2f} GB/s, {cpu:.2f} CPU s; sha256 alone {0.537 / peer:.2f} GB/s; ratio {peer / wall:.1f}")
    source.unlink()


def flips(folder: Path, count: int) -> None:
    store = Store(folder / "flips", make=True)
    releases.create(store, results.make(folder / "made"), "r1")
    held = list(releases.manifest_of(store, "r1")["files"].items())
    rng, found = np.random.default_rng(2), 0
    for _ in range(count):
        name, (size, _, blake3) = held[rng.integers(len(held))]
        path = objects.path_of(store, blake3)
        data = path.read_bytes()
        at, bit = int(rng.integers(size)), int(rng.integers(8))
        path.chmod(0o644)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        named = {file["path"] for one in archive.verify(store)["damaged"] for file in one["files"]}
        found += name in named
        path.write_bytes(data)
        path.chmod(0o444)
    print(f"one-bit flips found and named: {found} of {count}")


def rollback(folder: Path) -> None:
    store = Store(folder / "rollback", make=True)
    first = results.make(folder / "first")
    for n in range(20):
        releases.create(store, first, f"r{n}")
    walls = [timed(lambda n=n: releases.rollback(store, f"r{n}", "measured"))[0] for n in range(18, 0, -1)]
    print(f"rollback: median {1e3 * float(np.median(walls)):.0f} ms, slowest {1e3 * max(walls):.0f} ms")


def difference(count: int) -> None:
    """Two merge tables, one in a hundred supervoxels moved."""
    import duckdb
    import pyarrow as pa

    rng = np.random.default_rng(3)
    old = {
        "supervoxel": np.arange(1, count + 1, dtype=np.uint64),
        "root_id": rng.integers(1, count // 10, count).astype(np.uint64),
    }
    new = {**old, "root_id": old["root_id"].copy()}
    at = rng.integers(0, count, count // 100)
    new["root_id"][at] = rng.integers(1, count // 10, len(at))
    wall, cpu = timed(lambda: differences.neurites(old, new))
    con = duckdb.connect()
    for name, columns in (("a", old), ("b", new)):
        con.register(name, pa.table(columns))
    query = """SELECT count(*) FROM (SELECT a.root_id FROM a JOIN b USING (supervoxel) GROUP BY a.root_id
               HAVING count(DISTINCT b.root_id) > 1)"""
    peer, _ = timed(lambda: con.execute(query).fetchall())
    print(f"diff at {count:.0e} supervoxels: {wall:.2f} s ({cpu:.2f} CPU s); DuckDB, splits only {peer:.2f} s")


def graph(folder: Path, count: int) -> tuple[Store, np.ndarray]:
    """A release whose query index is one of so many synapses between 20,000 neurites."""
    store = Store(folder / "queries", make=True)
    releases.create(store, results.make(folder / "graph"), "r1")
    rng, n = np.random.default_rng(4), 20_000
    share = rng.lognormal(0, 1, n)  # hubs speak and listen a hundred times as much as most
    pre, post = (rng.choice(n, count, p=share / share.sum()) + 1 for _ in range(2))
    both, weight = np.unique(np.stack([pre, post], axis=1), axis=0, return_counts=True)
    edges = {"pre_root_id": both[:, 0].astype(np.uint64), "post_root_id": both[:, 1].astype(np.uint64), "weight": weight}
    synapses = {
        "id": np.arange(1, count + 1, dtype=np.uint64),
        "pre_pt_root_id": pre.astype(np.uint64),
        "post_pt_root_id": post.astype(np.uint64),
        "score": np.ones(count),
        **{f"{axis}_nm": rng.random(count) * 1e5 for axis in "zyx"},
    }
    merge = index.load(store, "r1")
    made = index.arrays(
        {"supervoxel": np.array(merge.supervoxels), "root_id": np.array(merge.supervoxel_root)}, edges, synapses
    )
    target = index.folder_of(store, "r1")
    shutil.rmtree(target)
    index.write(made, target)
    con = sqlite3.connect(folder / "peer.sqlite")
    con.execute("CREATE TABLE edges (pre INTEGER, post INTEGER, weight INTEGER)")
    con.executemany("INSERT INTO edges VALUES (?, ?, ?)", np.column_stack([both, weight]).tolist())
    con.execute("CREATE INDEX pre ON edges (pre)")
    con.commit()
    con.close()
    return store, both


def queries(store: Store, edges: np.ndarray, folder: Path) -> None:
    """By one client and by four, of one worker and of two; CPU of the server beside them, as clients share the machine."""
    rng = np.random.default_rng(5)
    some = edges[rng.integers(0, len(edges), 400)].tolist()
    at = rng.random((400, 3)) * np.array(results.SHAPE) * 8
    base = "/api/releases/r1"
    kinds = {
        "partners": [f"{base}/neurites/{a}/partners" for a, _ in some],
        "2 hops": [f"{base}/neurites/{a}/two_hops" for a, _ in some],
        "pair": [f"{base}/neurites/{a}/synapses?partner={b}" for a, b in some],
        "point": [f"{base}/segments?z={z:.1f}&y={y:.1f}&x={x:.1f}" for z, y, x in at],
    }
    for workers in (1, 2):
        with served.serving(store.root, workers) as server:
            server.load([paths[0] for paths in kinds.values()], 4 * workers, 8)  # indices are opened
            for (kind, paths), clients in itertools.product(kinds.items(), (1, 4)):
                cpu = server.cpu()
                took = server.load(paths, clients, 800)
                p50, p95 = 1e3 * np.percentile(took, [50, 95])
                print(
                    f"{kind}, {workers} workers, {clients} clients: {took.size / took.sum(axis=1).max():.0f} requests/s, "
                    f"p50 {p50:.1f}, p95 {p95:.1f} ms; CPU {1e3 * (server.cpu() - cpu) / took.size:.2f} ms a request"
                )
    con = sqlite3.connect(folder / "peer.sqlite")
    query = "SELECT post, weight FROM edges WHERE pre = ? ORDER BY weight DESC LIMIT 100"
    took = np.array([timed(lambda a=a: con.execute(query, (a,)).fetchall())[0] for a, _ in some])
    print(f"partners, SQLite without a server: p95 {1e3 * np.percentile(took, 95):.1f} ms")


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--supervoxels", type=float, default=1e7)
    given.add_argument("--synapses", type=float, default=1e6)
    given.add_argument("--flips", type=int, default=200)
    given.add_argument("--only", choices=["scrub", "flips", "rollback", "diff", "queries"], help="one of them")
    args = given.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        todo: dict[str, Callable[[], None]] = {
            "scrub": lambda: scrub(folder),
            "flips": lambda: flips(folder, args.flips),
            "rollback": lambda: rollback(folder),
            "diff": lambda: difference(int(args.supervoxels)),
            "queries": lambda: queries(*graph(folder, int(args.synapses)), folder),
        }
        print(f"load {os.getloadavg()[0]:.1f}")
        for one in [args.only] if args.only else todo:
            todo[one]()


if __name__ == "__main__":
    main()
