"""What a release has cost, from its records: tasks, core hours, hours on a GPU, memory, bytes, by stage and per Gvoxel."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from .regions import files_of, volume_of
from .store import Store, reading


def costs(store: Store, tag: str) -> dict[str, Any]:
    """Sums over the records of a release, and over those of each stage, most core hours first.

    `gpu_hours` are wall hours of tasks that ran on a GPU; `core_hours_per_gvoxel` counts voxels of the volume that was
    segmented, and is None where there is none."""
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((files_of(store, tag) / "provenance").glob("*.json")):
        if path.stat().st_size:  # records of a stub are empty
            with reading(path):
                record = json.loads(path.read_text())
                of[record["stage"]].append(record)
    with reading(files_of(store, tag) / "provenance"):
        stages = [{"stage": stage, **_sums(records)} for stage, records in of.items()]
        total = _sums([record for records in of.values() for record in records])
    image = volume_of(store, tag)
    voxels = image.shape[-3] * image.shape[-2] * image.shape[-1] if image else 0
    return {
        "tag": tag,
        **total,
        "voxels": voxels,
        "core_hours_per_gvoxel": total["core_hours"] / (voxels / 1e9) if voxels else None,
        "stages": sorted(stages, key=lambda row: -row["core_hours"]),
    }


def _sums(records: list[dict[str, Any]]) -> dict[str, Any]:
    on_gpu = [r for r in records if r.get("device", "cpu") != "cpu"]
    return {
        "tasks": len(records),
        "core_hours": sum(r["cpu_s"] for r in records) / 3600,
        "gpu_hours": sum(r["wall_s"] for r in on_gpu) / 3600,
        "wall_s": sum(r["wall_s"] for r in records),
        "longest_s": max((r["wall_s"] for r in records), default=0),
        "peak_memory_bytes": max((r["peak_memory_bytes"] for r in records), default=0),
        "bytes_in": sum(r["bytes_in"] for r in records),
        "bytes_out": sum(r["bytes_out"] for r in records),
    }
