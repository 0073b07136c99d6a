"""What releases have cost, from the records of their tasks as the catalogue holds them: by release, and by stage.

A release took all tasks that went into it; those that it shares with an earlier one were run once, and are paid once (`slo`).
"""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import lineage
from .regions import volume_of
from .store import Store


class Task(NamedTuple):
    """A task's record, as far as it costs; what it does not say is None."""

    id: str
    stage: str
    cpu_s: float | None
    wall_s: float | None
    started: str | None
    ended: str | None
    bytes_in: int | None
    bytes_out: int | None
    device: str | None
    memory: int | None


def tasks_of(con: sqlite3.Connection, tag: str) -> list[Task]:
    """All that went into a release, by their ids."""
    columns = ", ".join(f"t.{name}" for name in Task._fields)
    rows = con.execute(f"SELECT {columns} FROM held h JOIN tasks t ON t.id = h.task WHERE h.tag = ? ORDER BY t.id", (tag,))
    return [Task(*row) for row in rows]


def sums(tasks: Sequence[Task]) -> dict[str, Any]:
    """`gpu_hours` are wall hours of tasks that ran on a GPU."""
    return {
        "tasks": len(tasks),
        "core_hours": sum(t.cpu_s or 0 for t in tasks) / 3600,
        "gpu_hours": sum(t.wall_s or 0 for t in tasks if (t.device or "cpu") != "cpu") / 3600,
        "wall_s": sum(t.wall_s or 0 for t in tasks),
        "longest_s": max((t.wall_s or 0 for t in tasks), default=0),
        "peak_memory_bytes": max((t.memory or 0 for t in tasks), default=0),
        "bytes_in": sum(t.bytes_in or 0 for t in tasks),
        "bytes_out": sum(t.bytes_out or 0 for t in tasks),
    }


def by_stage(tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """Sums of each stage, most core hours first."""
    of: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        of[task.stage].append(task)
    rows = {stage: sums(some) for stage, some in of.items()}
    return dict(sorted(rows.items(), key=lambda row: -row[1]["core_hours"]))


def voxels_of(store: Store, tag: str) -> int:
    """Of the volume that was segmented, or the first there is; 0 where there is none."""
    image = volume_of(store, tag)
    return math.prod(image.shape) if image is not None else 0


def per_gvoxel(value: float, voxels: int) -> float | None:
    return value / (voxels / 1e9) if voxels else None


def costs(store: Store, tag: str) -> dict[str, Any]:
    """Of all tasks that went into a release, and of those of each stage."""
    with lineage.current(store) as con:
        tasks = tasks_of(con, tag)
    total, voxels = sums(tasks), voxels_of(store, tag)
    return {
        "tag": tag,
        **total,
        "voxels": voxels,
        "core_hours_per_gvoxel": per_gvoxel(total["core_hours"], voxels),
        "stages": [{"stage": stage, **row} for stage, row in by_stage(tasks).items()],
    }
