"""Workers of a task: in order, the same bytes, errors as they are, and none left behind; real processes throughout."""

from __future__ import annotations

import json
import os
import re
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


def test_workers_close_what_they_opened(tmp_path: Path) -> None:
    text = (
        "from functools import partial\nfrom tempfile import TemporaryDirectory\n"
        f"make = partial(TemporaryDirectory, dir={str(tmp_path)!r})\n"
        "print(len(list(pool.each(partial(pool.opened, 'place'), [make] * 9))))"
    )
    assert python(text).stdout == "9\n" and not list(tmp_path.iterdir())


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
    end = time.monotonic() + 30
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
    lists = {key: value if isinstance(value, list) else [value] for key, value in files.items()}
    words = [str(w) for key, values in lists.items() for w in (f"--{key}", *values)]
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


FIELDS = {  # what of the shared run a stage takes
    "copy_movie": ("source",),
    "read_detections": ("source",),
    "segment_cells": ("movie",),
    "track_cells": ("labels",),
    "extract_traces": ("movie", "tracked", "background"),
    "estimate_background": ("movie", "labels"),
    "crop_cells": ("movie", "tracked", "background"),
    "export_tracks": ("labels", "tracked"),
    "movie_figures": ("movie", "tracked", "traces"),
    "publish_fovs": ("stores",),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_view_side_by_side(name: str, stages: Path, movie_file: Path, tmp_path: Path) -> None:
    """The same bytes and figures as one after the other."""
    labels = movie_file.with_name("run.labels.npz")
    source = labels if name == "read_detections" else movie_file
    known = {"source": [source], "stores": [stages / what for what in ("movie", "labels", "tracked", "cells", "traces")]}
    given: dict[str, Any] = {what: known.get(what, [stages / what]) for what in FIELDS[name]}
    given |= {"facts": [stages / "movie.json"], "batch": ["0-1"], "output": ["out"]}
    made, figures = {}, {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        assert stage(name, folder, {"VOXELMILL_PROCESSES": str(workers)}, **given).wait(60) == 0
        made[workers] = files_of(folder / "out")
        (record,) = (json.loads(path.read_text()) for path in folder.glob("*.provenance.json"))
        figures[workers] = record["quality"], record["left_out"]
    assert made[1] == made[2] and len(made[1]) > 2
    assert figures[1] == figures[2]
    assert name == "export_tracks" or len(figures[1][0]["per_fov"]) == 2


def test_fields_of_view_always_go_to_the_workers() -> None:
    """`each_sound` keeps to this process what is no `partial` of a module's function."""
    texts = [path.read_text() for path in (BIN.parent / "python").rglob("*.py")]
    calls = [call for text in texts for call in re.findall(r"^ +each_fov\(.*", text, re.M)]
    calls = [call for call in calls if "fovs_in(traces)" not in call]  # fit_traces fits tables, field by field
    assert len(calls) == len(FIELDS) - 1  # export_tracks leaves nothing out
    assert [call for call in calls if ", partial(" not in call] == []


def test_layers_of_a_slab_side_by_side(tmp_path: Path) -> None:
    """Bytes, figures and lost chunks are those of one reader, also where a chunk lies in two layers."""
    raw, _ = neurites((28, 96, 96))
    source = make_store(tmp_path / "in.ome.zarr", raw, shard=(5, 32, 32), chunk=(5, 32, 32))
    (lost,) = source.glob("0/c/2/1/1")
    lost.unlink()
    grid = ["--shard=4,64,64", "--chunk=4,32,32", "--voxel_size=30,8,8", f"--input={source}"]
    lists = [f"--{name}_list={name}.csv" for name in ("block", "slab", "superblock", "read")]
    command = [sys.executable, BIN / "ingest.py", *grid, "--blocks=2", "--plan=plan.json", f"--source={source}", *lists]
    subprocess.run(command, cwd=tmp_path, check=True)
    made = {}
    for workers in (1, 3):
        folder, env = tmp_path / str(workers), {"VOXELMILL_PROCESSES": str(workers)}
        given = {"plan": tmp_path / "plan.json", "source": source, "block": "0-15", "output": "out", "figures": "out.json"}
        assert stage("read_slab", folder, env, **given).wait(60) == 0
        made[workers] = files_of(folder / "out"), json.loads((folder / "out.json").read_text())
    assert made[1] == made[3] and made[1][1]["lost"] == [[10, 32, 32]]
    assert [row["section"] for row in made[1][1]["sections"]] == list(range(16))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix != ".npz" else arrays(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
