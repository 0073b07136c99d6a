"""`kill -9` at random moments of publishing and editing, and writers side by side: what must hold after, counted.

Tests run a few, `benchmarks/durability.py` as many as one likes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import index, releases
from ..catalog.store import Store, read_log
from ..proofreading.edits import Editor

PUBLISH = """
import sys
from pathlib import Path
from voxelmill.catalog import releases
from voxelmill.catalog.store import Store
releases.create(Store(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3])
"""
WRITE = """
import sys
from pathlib import Path
from voxelmill.catalog import index
from voxelmill.catalog.store import Store
from voxelmill.proofreading.edits import Conflict, Editor
store, root, count = Store(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
edits, done = Editor(store, "r0", index.load(store, "r0")), 0
own = [int(s) for s in edits.refresh().index.supervoxels[edits.state.index.supervoxel_root == root]]
while done < count:
    state = edits.refresh()
    how = {"by": f"w{root}", "base_version": state.version, "reason": "x", "key": f"{root}.{sys.argv[4]}.{done}"}
    try:
        apart = state.root(own[0]) != state.root(own[5])
        got = edits.merge(own[0], own[5], **how) if apart else edits.split(own[:3], **how)
    except Conflict:
        continue
    done += 1
    print(got["seq"], flush=True)
"""


def publishing(store: Store, results: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill as many makers of releases. Counts releases and pointers that are torn, and names the ids that the same tags
    have when they are made again: all one."""
    rng, torn, whole = np.random.default_rng(seed), 0, _seconds(store, results)
    for n in range(kills):
        run = subprocess.Popen(_maker(store, results, f"k{n}"), stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(0, 1.2 * whole)))
        run.kill()
        run.wait()
        tags = store.tags()
        torn += store.current() not in tags or any(releases.verify(store, tag)["damaged"] for tag in tags[-3:])
    made = [tag for tag in store.tags() if tag.startswith("k")]
    ids = {releases.create(store, results, f"k{n}")["id"] for n in range(kills)}
    torn += sum(bool(releases.verify(store, tag)["damaged"]) for tag in store.tags())
    left = len(list(store.root.glob("staging/*")))
    return {"kills": kills, "torn": torn, "ended_before": len(made), "ids": ids, "left": left}


def _maker(store: Store, results: Path, tag: str) -> list[str]:
    return [sys.executable, "-c", PUBLISH, str(store.root), str(results), tag]


def _seconds(store: Store, results: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(_maker(store, results, "whole"), check=True)
    return time.perf_counter() - begun


def editing(store: Store, kills: int, seed: int) -> dict[str, Any]:
    """Kill as many writers of edits of release r0. Counts edits that were acknowledged and are lost, and says whether a
    replay of the log holds every supervoxel."""
    rng, said = np.random.default_rng(seed), list[int]()
    index.load(store, "r0")
    for n in range(kills):
        run = _writer(store, n % 8 + 1, 10**6, f"k{n}")
        assert run.stdout
        said.append(int(run.stdout.readline()))
        time.sleep(float(rng.uniform(0, 0.1)))
        run.kill()
        said += [int(line) for line in run.stdout.read().split("\n")[:-1] if line.isdigit()]
        run.wait()
        run.stdout.close()
    there = {entry["seq"] for entry in read_log(store.root / "edits/r0/log.jsonl")}
    state = Editor(store, "r0", index.load(store, "r0")).refresh()
    return {"kills": kills, "edits": len(said), "lost": len(set(said) - there), "whole": bool((state.roots > 0).all())}


def writing(store: Store, writers: int, edits: int) -> dict[str, Any]:
    """As many writers of release r0 side by side, each as many edits. Counts what is lost or there twice, and whether the
    mapping that an editor followed all along is the replay of the log."""
    served = Editor(store, "r0", index.load(store, "r0"))
    before = served.refresh().version
    runs = [_writer(store, n + 1, edits, "w") for n in range(writers)]
    while any(run.poll() is None for run in runs) and served.refresh().version < before + writers * edits:
        time.sleep(0.05)
    said = sorted(int(line) for run in runs for line in run.communicate()[0].split())
    there = [entry["seq"] for entry in read_log(store.root / "edits/r0/log.jsonl")][before:]
    replay = Editor(store, "r0", index.load(store, "r0")).refresh().roots
    same = np.array_equal(served.refresh().roots, replay)
    return {"edits": len(said), "lost": len(set(said) - set(there)), "twice": len(said) - len(set(said)), "replayed": same}


def _writer(store: Store, root: int, edits: int, name: str) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITE, str(store.root), str(root), str(edits), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
