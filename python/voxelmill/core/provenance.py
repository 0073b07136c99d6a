"""What a task did, as a record beside its output. The catalogue is built from these alone."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import resource
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic import BaseModel

from .. import __version__
from . import manifest, pool
from .errors import DataError, out_of_memory
from .files import below
from .params import canonical

PUBLISHED = "published"  # a task's folder for what comes to --outdir, by the same path (conf/modules.config)

if TYPE_CHECKING:
    from . import models

T = TypeVar("T")
R = TypeVar("R")


class LeftOut(Exception):
    """Ends a task that leaves out all that it works on."""


class Task:
    """One run of a stage: progress, quality figures, and the provenance record."""

    def __init__(self, stage: str, params: BaseModel, block: str = "", code: str = ""):
        self.stage, self.params, self.block, self.code = stage, params, block, code
        self.quality: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        self.models: list[dict[str, Any]] = []
        self.device = "cpu"
        self._carried: dict[str, dict[str, list]] = {}
        self._used: list[dict[str, Any]] = []
        self._started, self._cpu = time.time(), _cpu_seconds()

    def report(self, **figures: Any) -> None:
        """Record quality figures of this task."""
        self.quality.update(figures)

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Pass items on; a line on stderr at most every ten seconds and at the end."""
        total = len(items) if total is None and hasattr(items, "__len__") else total  # type: ignore[arg-type]
        shown = begun = time.monotonic()
        done = 0
        for item in items:
            yield item
            done += 1
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                print(f"[{self.stage}] {what}: {done} of {total or '?'}", file=sys.stderr, flush=True)
        print(f"[{self.stage}] {what}: {done} done in {time.monotonic() - begun:.1f} s", file=sys.stderr)

    def each(self, work: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
        """What `work` makes of each item, in order, with progress; by the task's workers, if it has any (`core/pool.py`)."""
        return self.progress(pool.each(work, items), what, len(items))

    def do(self, work: Callable[[T], None], items: Sequence[T], what: str) -> None:
        """As `each`, where nothing comes back."""
        for _ in self.each(work, items, what):
            pass

    def model(self, folder: Path, use_gpu: bool = False) -> models.Model:
        """A trained model, for this task; the record says which, of what digest, and what runs it.

        Raises DataError where the weights are not those of its card."""
        from . import models

        found = models.load(folder, use_gpu)
        self.models.append(found.described())
        return found

    def arrays(self, use_gpu: bool) -> Any:
        """The array module that this task works on (`core/device.py`): the record says which, the log that it is no GPU."""
        from .device import choose

        xp, self.device = choose(use_gpu)
        if use_gpu and self.device == "cpu":
            print(f"[{self.stage}] CuPy finds no GPU: on the CPU", file=sys.stderr)
        return xp

    def quarantine(self, items: Iterable[str], why: str) -> None:
        """Leave items (slices, sections, tiles, fields of view) out, by name: record, report and closing lines say so.

        Raises DataError under `--strict`."""
        items, reason = list(items), " ".join(why.split())
        self.left_out |= dict.fromkeys(items, reason)
        if getattr(self.params, "strict", False):
            named = ", ".join(items)
            raise DataError(f"{named}: {reason.removeprefix(f'{named}: ')}; --strict false leaves such items out")

    def leave_out(self, why: str, name: str = "") -> NoReturn:
        """Leave out all that this task works on (`name`; its block): it ends well, without outputs, its record says why.

        The outputs of its module must be optional. Raises DataError under `--strict`."""
        name = name or self.block or self.stage
        self.quarantine([name], why)
        raise LeftOut(f"{name} left out: {' '.join(why.split())}")

    def each_sound(
        self,
        work: Callable[[T], R],
        items: Sequence[T],
        what: str,
        *,
        name: Callable[[T], str] = str,
        undo: Callable[[T], object] = lambda _: None,
    ) -> Iterator[tuple[T, R]]:
        """Each item with what `work` makes of it. One that raises DataError is quarantined and harms no other.

        Args:
            work: a `partial` of a module's function is done by the task's workers, if it has any; anything else here.
            name: what an item is called in the record.
            undo: takes back what was written of it.
        """
        each = pool.each if isinstance(work, partial) else map
        outcomes = self.progress(each(partial(_tried, work), items), what, len(items))
        for item, (made, error) in zip(items, outcomes, strict=True):
            if error is not None:
                undo(item)
                if getattr(self.params, "strict", False):
                    raise error
                self.quarantine([name(item)], str(error))
            else:
                yield item, made

    def carry(self, store: Path, files: dict[str, list]) -> None:
        """Digests already known for files of an output store (hard links of checked shards)."""
        self._carried.setdefault(store.name.removesuffix(".partial"), {}).update(files)

    def carried(self, store: Path) -> dict[str, list]:
        return self._carried.get(store.name, {})

    def used(self, path: Path, digest: str) -> None:
        """An input that is not declared `In`, since its digest costs a pass over it and is known from elsewhere."""
        self._used += describe(path, digest=digest)

    def fetched(self, address: str, digest: str, size: int) -> None:
        """An input that is no file here: what was read of it (`size` bytes once decoded), and its digest."""
        name = address.rstrip("/").rpartition("/")[2]
        self._used.append({"name": name, "path": address, "digest": digest, "bytes": size})

    def write_record(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> Path:
        """Write `<stage>[.<block>].provenance.json` in the working folder; inputs and outputs as `describe` has them.

        The run and the task named in it made this output; a later run may take it over with `-resume`."""
        name = ".".join(filter(None, [self.stage, self.block, "provenance.json"]))
        Path(name).write_text(json.dumps(self.record(inputs, outputs), indent=1, sort_keys=True, default=_plain))
        return Path(name)

    def record(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """What `write_record` writes."""
        cpu = _cpu_seconds() - self._cpu
        text = canonical(self.params)
        read = [*self._used, *inputs]
        return {
            "format": 2,
            "run_id": os.environ.get("VOXELMILL_RUN", ""),
            "task_hash": task_hash(),
            "stage": self.stage,
            "block": self.block,
            "inputs": read,
            "outputs": outputs,
            "params": json.loads(text),
            "params_hash": hashlib.sha256(text.encode()).hexdigest(),
            "code_version": __version__,
            "code_hash": code_hash(),
            "stage_code": self.code,
            "commit": commit(),
            "environment_hash": environment_hash(),
            "python": platform.python_version(),
            "model_hash": "+".join(model["sha256"] for model in self.models) or None,
            "models": self.models,
            "device": self.device,
            "host": socket.gethostname(),
            "start": _iso(self._started),
            "end": _iso(time.time()),
            "wall_s": round(time.time() - self._started, 3),
            "cpu_s": round(cpu, 3),
            "startup_cpu_s": round(self._cpu, 3),
            "peak_memory_bytes": _peak_memory(),
            "bytes_in": _bytes(read),
            "bytes_out": _bytes(outputs),
            "left_out": self.left_out,
            "quality": self.quality,
        }


def _tried(work: Callable[[T], Any], item: T) -> tuple[Any, DataError | None]:
    """What `work` makes of an item, or why it can make nothing of it."""
    try:
        return work(item), None
    except DataError as error:
        if out_of_memory(error):  # said here: an error from a worker comes without its cause
            raise MemoryError(str(error)) from error
        return None, error


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _peak_memory() -> int:
    """Of this process and of all its workers, each taken for the largest: bytes, at most."""
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1024 * (own + (pool.wanted() if pool.wanted() > 1 else 0) * worker)


def _iso(t: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t % 1 * 1000):03d}Z"


def _plain(value: Any) -> Any:
    """numpy scalars and arrays, paths: as JSON has them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def task_hash() -> str:
    """Nextflow's hash of this task, from its work folder `.../ab/cdef...`; empty outside of one."""
    folder = Path(os.environ.get("NXF_TASK_WORKDIR") or Path.cwd())
    found = folder.parent.name + folder.name
    return found if len(found) == 32 and set(found) <= set("0123456789abcdef") else ""


def describe(path: Path, name: str = "", digest: str = "") -> list[dict[str, Any]]:
    """An input or output, a file or a store: name, path, digest, bytes; where it is published, if it is.

    Tables in a store follow it: they go on by themselves, too."""
    place = path.parts[1:] if path.parts[0] == PUBLISHED else ()
    name, listed = name or path.name, manifest.read(path) if path.is_dir() else None
    files: dict[str, list] = listed["files"] if listed else {}
    item = {
        "name": name,
        "path": str(path.resolve()),
        "digest": digest or (listed["digest"] if listed else manifest.digest_of(path)),
        "bytes": sum(size for size, _ in files.values()) if listed else _size(path),
        **({PUBLISHED: "/".join(place)} if place else {}),
    }
    tables = [(file, *entry) for file, entry in files.items() if file.endswith((".csv", ".parquet"))]
    return [item] + [
        {"name": f"{name}/{file}", "path": f"{item['path']}/{file}", "digest": digest, "bytes": size, "in": name}
        for file, size, digest in tables
    ]


def describe_files(folder: Path) -> list[dict[str, Any]]:
    """What lies in a folder, file by file, as `describe` has it; a store with a manifest beside it counts as one."""

    def walk(at: Path) -> Iterator[Path]:
        listed = sorted(at.iterdir())
        stores = [path for path in listed if path.is_dir() and manifest.path_of(path) in listed]
        known = {manifest.path_of(path) for path in stores}
        for path in listed:
            if path in stores or (not path.is_dir() and path not in known):
                yield path
            elif path not in known:
                yield from walk(path)

    return [item for path in walk(folder) for item in describe(path, str(path.relative_to(folder.parent)))]


def _bytes(items: list[dict[str, Any]]) -> int:
    return sum(item["bytes"] for item in items if "in" not in item)


def _size(path: Path) -> int:
    """Of a file, or of all files in a folder without a manifest."""
    if not path.is_dir():
        return path.stat().st_size
    return sum((path / name).stat().st_size for name in below(path))


@functools.cache
def code_hash() -> str:
    """sha256 over the package's own source: what ran, whether or not it was committed."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for name in below(root):
        if name.endswith(".py"):
            digest.update(name.encode() + b"\0" + Path(root, name).read_bytes())
    return digest.hexdigest()


@functools.cache
def commit() -> str | None:
    """The git commit of the checkout, where there is one; read from its files, since images have no git."""
    if os.environ.get("VOXELMILL_COMMIT"):
        return os.environ["VOXELMILL_COMMIT"]
    git = Path(__file__).parents[3] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


@functools.cache
def environment_hash() -> str:
    """sha256 over the names and versions of all installed distributions (from their folders' names)."""
    names = sorted(p.name for p in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    return hashlib.sha256("\n".join([platform.python_version(), *names]).encode()).hexdigest()
