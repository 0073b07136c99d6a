"""Run a stage in this process, as its script would, and make small stores for it."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

from ..core import manifest
from ..core.space import Space
from ..core.stage import call
from ..core.volume import create_image, layout


def run_stage(dotted: str, folder: Path, **arguments: Any) -> int:
    """Exit code of `dotted` with `--name value` for each argument; lists become several words."""
    argv: list[str] = []
    for name, value in arguments.items():
        words = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else value]
        argv += [f"--{name}", *map(str, words)]
    folder.mkdir(parents=True, exist_ok=True)
    with chdir(folder):
        return call(dotted, argv)


def make_store(
    path: Path,
    values: np.ndarray,
    voxel_size: tuple[float, ...] = (30.0, 8.0, 8.0),
    shard: tuple[int, ...] = (4, 64, 64),
    chunk: tuple[int, ...] = (4, 32, 32),
    label: bool = False,
    origin: tuple[float, ...] | None = None,
) -> Path:
    """A finished store with its manifest, as a stage leaves it."""
    image = create_image(path, layout(values.shape, values.dtype, shard, chunk), Space.zyx(voxel_size, origin), label=label)
    image.write(tuple(slice(0, n) for n in values.shape), values)
    manifest.write(path)
    return path


def make_facts(path: Path, sections: int, value_range: tuple[float, float] = (0, 255), missing: tuple[int, ...] = ()) -> Path:
    """The facts that ingest leaves beside a volume."""
    rows = [{"section": z, "status": "missing" if z in missing else "ok", "mean": 0.0, "file": ""} for z in range(sections)]
    path.write_text(json.dumps({"value_range": value_range, "sections": rows}))
    return path


def record_of(folder: Path, stage: str) -> dict[str, Any]:
    """The one provenance record of a stage in a folder."""
    (found,) = folder.glob(f"{stage}.*provenance.json")
    return json.loads(found.read_text())


def last_shard(path: Path) -> str:
    """All shards of a store, written as a block."""
    from ..core.volume import open_image

    return f"0-{int(np.prod(open_image(path).layout().grid)) - 1}"
