"""Create release: results of a run become a release of a catalogue, as by `voxelmill release create`."""

from __future__ import annotations

import json
from pathlib import Path

from ..core import manifest
from ..core.params import Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from . import releases
from .store import Store


class Parameters(Params):
    """Release."""

    tag: str = param("", "Name of the release; a name is used once")


def run(p: Parameters, task: Task, *, store: Path, results: Path, policy: In | None = None, release: Out) -> None:
    """`store` is written into, and `results` is read file by file: neither is an input by its digest.

    Done again it ends where it would have: the same results under the same tag are the same release."""
    made = releases.create(Store(store, make=True), results, p.tag, policy)
    published = results / "published.json"
    task.used(published, manifest.digest_file(published))
    task.report(files=made["files"], bytes=made["bytes"], gates_passed=len(made["gates"]))
    release.write_text(json.dumps({k: made[k] for k in ("tag", "id", "workflow", "run_id", "figures", "gates")}, indent=1))
