"""Workers of a task: in order, the same bytes, errors as they are, and none left behind; real processes throughout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxelmill.core import pool
from voxelmill.testing.em import neurites
from voxelmill.testing.stages import make_facts, make_store

BIN = Path(__file__).parents[2] / "bin"


def python(text: str, processes: int = 3) -> subprocess.CompletedProcess[str]:
    """What a program says that has workers from its start."""
    head = "import os, time\nfrom voxelmill.core import pool\nwith pool.workers():\n"
    body = "\n".join("    " + line for line in text.splitlines())
    env = {**os.environ, "VOXELMILL_PROCESSES": str(processes)}
    return subprocess.run([sys.executable, "-c", head + body], env=env, capture_output=True, text=True, timeout=60)


def test_without_workers_it_is_map() -> None:
    assert list(pool.each(abs, [-1, 2, -3])) == [1, 2, 3]


def test_results_come_in_order() -> None:
    text = "from time import sleep\nprint(list(pool.each(abs, range(-20, 0))), *pool.each(sleep, [0.2, 0]))"
    assert python(text).stdout == f"{list(range(20, 0, -1))} None None\n"


def test_an_error_is_the_worker_s_own() -> None:
    text = (
        "from voxelmill.core.volume import open_array\nfrom pathlib import Path\n"
        "try:\n    list(pool.each(open_array, [Path('nowhere')]))\nexcept OSError as e:\n    print(type(e).__name__, e)"
    )
    assert python(text).stdout.startswith("StorageError nowhere: no Zarr array here")


def test_a_worker_that_is_ended_means_lack_of_memory() -> None:
    text = "try:\n    list(pool.each(os._exit, [9]))\nexcept MemoryError as e:\n    print(e)"
    assert python(text).stdout == "a worker process was ended from outside\n"


def test_workers_end_with_their_task() -> None:
    text = "print(*pool._pools[0]._processes, flush=True)\ntime.sleep(60)"
    head = "import time\nfrom voxelmill.core import pool\nwith pool.workers():\n    "
    task = subprocess.Popen(
        [sys.executable, "-c", head + text.replace("\n", "\n    ")],
        env={**os.environ, "VOXELMILL_PROCESSES": "2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert task.stdout is not None
    workers = [int(n) for n in task.stdout.readline().split()]
    assert len(workers) == 2 and all(Path(f"/proc/{n}").exists() for n in workers)
    task.send_signal(signal.SIGKILL)
    task.wait()
    end = time.monotonic() + 5
    while any(alive(n) for n in workers):
        assert time.monotonic() < end, "workers outlive their task"
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A volume of 28 sections in twelve shards."""
    folder = tmp_path_factory.mktemp("volume")
    raw, _ = neurites((28, 140, 140))
    return {
        "volume": make_store(folder / "in.ome.zarr", raw, shard=(10, 96, 96), chunk=(10, 32, 32)),
        "facts": make_facts(folder / "facts.json", 28),
    }


def stage(name: str, folder: Path, env: dict[str, str], **files: Any) -> subprocess.Popen[bytes]:
    """A stage's script, as the engine starts it."""
    folder.mkdir()
    words = [str(w) for key, value in files.items() for w in (f"--{key}", value)]
    return subprocess.Popen([sys.executable, BIN / f"{name}.py", *words], cwd=folder, env={**os.environ, **env})


@pytest.mark.parametrize("name", ["preprocess", "align_pairs", "segment", "pyramid"])
def test_the_same_bytes_with_workers(name: str, volume: dict[str, Any], tmp_path: Path) -> None:
    files = {"volume": volume["volume"], "block": "0-11", "output": "out"}
    files |= {"facts": volume["facts"]} if name in ("preprocess", "align_pairs") else {}
    files |= {"overlaps": "overlaps.npz"} if name == "segment" else {"block": "0-0"} if name == "pyramid" else {}
    made = {}
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        assert stage(name, folder, {"VOXELMILL_PROCESSES": str(workers)}, **files).wait(60) == 0
        (record,) = (json.loads(path.read_text()) for path in folder.glob("*.provenance.json"))
        assert record["cpu_s"] > 0
        made[workers] = {
            str(path.relative_to(folder)): path.read_bytes() if path.suffix != ".npz" else arrays(path)
            for path in folder.rglob("*")
            if path.is_file() and "provenance" not in path.name
        }
    assert made[1] == made[3] and made[1]


def arrays(path: Path) -> bytes:
    with np.load(path) as parts:
        return b"".join(parts[name].tobytes() for name in sorted(parts))


def test_opencv_keeps_to_its_threads(tmp_path: Path) -> None:
    """Of real processes: OMP_NUM_THREADS does not bind OpenCV's pool, so the engine names OPENCV_FOR_THREADS_NUM, too."""
    raw = np.tile(neurites((8, 128, 128))[0], (1, 6, 6))
    files = {
        "volume": make_store(tmp_path / "in.ome.zarr", raw, shard=(8, 768, 768), chunk=(8, 128, 128)),
        "facts": make_facts(tmp_path / "facts.json", 8),
        "block": "0-0",
        "output": "out.ome.zarr",
    }
    most = {}
    for threads in (1, 6):
        env = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": str(threads)}
        task, most[threads] = stage("preprocess", tmp_path / str(threads), env, **files), 0
        while task.poll() is None:
            try:
                status = Path(f"/proc/{task.pid}/status").read_text()
            except OSError:
                break
            most[threads] = max([most[threads], *(int(s.split()[1]) for s in status.splitlines() if "Threads" in s)])
            time.sleep(0.002)
        assert task.wait(60) == 0
    assert most[6] - most[1] == 5, most


@pytest.mark.parametrize("name", ["segment_cells", "track_cells", "extract_traces", "estimate_background", "crop_cells"])
def test_fields_of_view_side_by_side(name: str, stages: Path, tmp_path: Path) -> None:
    """The same bytes and figures as one after the other."""
    taken = {"segment_cells": ("movie",), "track_cells": ("labels",), "estimate_background": ("movie", "labels")}.get(
        name, ("movie", "tracked", "background")
    )
    given = {what: stages / what for what in taken} | {"facts": stages / "movie.json", "batch": "0-1", "output": "out"}
    made, figures = {}, {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        assert stage(name, folder, {"VOXELMILL_PROCESSES": str(workers)}, **given).wait(60) == 0
        made[workers] = {
            str(path.relative_to(folder)): path.read_bytes() if path.suffix != ".npz" else arrays(path)
            for path in (folder / "out").rglob("*")
            if path.is_file()
        }
        (record,) = (json.loads(path.read_text()) for path in folder.glob("*.provenance.json"))
        figures[workers] = record["quality"], record["left_out"]
    assert made[1] == made[2] and len(made[1]) > 2
    assert figures[1] == figures[2] and len(figures[1][0]["per_fov"]) == 2
