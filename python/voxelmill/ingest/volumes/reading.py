"""What the tasks that read a volume have in common: the plan, the reading, the facts.

    ingest -- plan.json --+-- read_slab 0-8  --+-- join_slabs -- raw.ome.zarr, raw.source.json
                          +-- read_slab 9-17 --+

A slab is whole rows of shards, so that a section is read by one task and its figures need no merging.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ...core import blocks
from ...core.errors import DataError
from ...core.volume import Image, Layout, Region
from .formats import IMAGE, LABEL, local, open_source
from .listing import Listing
from .source import Source


class Plan(BaseModel, frozen=True):
    """What is read, from where, and how it is stored: all that a task must know to read its part."""

    role: str  # raw or truth
    source: str  # as the user gave it
    key: str
    channel: int
    kind: str
    source_shape: tuple[int, ...]
    source_dtype: str
    corner: tuple[int, ...]  # (z, y, x) of the part that is read
    layout: Layout
    voxel_size: tuple[float, ...]
    voxel_size_from: str
    rescaled_from: tuple[float, float] | None
    missing: list[int]  # sections of the source that are not there
    names: list[str]  # files of the source's sections, where each is a file
    reads: list[str]  # slabs, one a task
    listing: Listing | None  # None: not local

    @classmethod
    def load(cls, path: Path) -> Plan:
        return cls.model_validate_json(path.read_text())

    @property
    def labels(self) -> bool:
        return self.role == "truth"

    def where(self, path: Path | None) -> Path | None:
        """The source's own path; None for a service."""
        return path or local(self.source)

    def open(self, path: Path | None) -> Source:
        """The source as it was when planned. Raises DataError where it is another."""
        at = self.where(path)
        if at and self.kind == "tiff folder":  # without a look at every header
            from .tiff import folder

            return folder(at, self.names, self.source_shape[1:], self.source_dtype)
        volume = open_source(self.source, self.key, self.channel, path, LABEL if self.labels else IMAGE)
        if (tuple(volume.shape), volume.dtype.name) != (self.source_shape, self.source_dtype):
            raise DataError(
                f"{self.source}: {volume.shape} {volume.dtype}, and {self.source_shape} {self.source_dtype} "
                "when this run began; let it rest, and run again with -resume"
            )
        return volume


def pieces(lay: Layout, block: str, itemsize: int, most: float = 256e6) -> Iterator[Region]:
    """The regions of a slab to read one after the other: what fits in memory of layers of shards, rows, shards."""
    (_, height, width), (deep, high, _) = lay.shape, lay.shard
    wanted = ((deep, height, width), (deep, high, width))
    size = next((s for s in wanted if float(np.prod([float(n) for n in s])) * itemsize <= most), lay.shard)
    coarse = Layout(lay.shape, lay.dtype, lay.chunk, size)
    at, layer = sections_of(lay, block), int(np.prod(coarse.grid[1:]))
    for n in range(at.start // deep * layer, -(-at.stop // deep) * layer):
        yield blocks.region(coarse, n)


def sections_of(lay: Layout, block: str) -> slice:
    """The sections of a slab."""
    first, last = blocks.parse(block, int(np.prod(lay.grid)))
    return slice(blocks.region(lay, first)[0].start, blocks.region(lay, last)[0].stop)


def moved(region: Region, corner: tuple[int, ...]) -> Region:
    """The region of the source behind a region of the store."""
    return tuple(slice(s.start + c, s.stop + c) for s, c in zip(region, corner))


def read_slab(plan: Plan, volume: Source, block: str, image: Image) -> list[dict[str, Any]]:
    """Read a slab into the store.

    Returns one row a section: number, lowest and highest value, mean, whether the source has it.
    Raises DataError for labels below 0."""
    at = sections_of(plan.layout, block)
    low, high = np.full(at.stop - at.start, np.inf), np.full(at.stop - at.start, -np.inf)
    total, number = np.zeros_like(low), np.zeros_like(low)
    missing = np.isin(np.arange(at.start, at.stop) + plan.corner[0], plan.missing)
    for region in pieces(plan.layout, block, volume.dtype.itemsize):
        values = volume.read(moved(region, plan.corner))
        if plan.labels and values.dtype.kind == "i" and int(values.min()) < 0:
            raise DataError(f"{plan.source}: negative ids; expected 0 for background and positive ids")
        z, flat = slice(region[0].start - at.start, region[0].stop - at.start), values.reshape(len(values), -1)
        low[z], high[z] = np.minimum(low[z], flat.min(1)), np.maximum(high[z], flat.max(1))
        total[z] += flat.sum(1, dtype=np.float64)
        number[z] += flat.shape[1]
        window = plan.rescaled_from
        stored = values.astype(plan.layout.dtype) if window is None else rescaled(values, window)
        stored[missing[z]] = 0
        image.write(region, stored)
    return [
        {
            "section": at.start + n,
            "low": float(low[n]),
            "high": float(high[n]),
            "mean": float(total[n] / number[n]),
            "missing": bool(missing[n]),
        }
        for n in range(len(low))
    ]


def rescaled(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Linear map of `window` to 0-255, rounded."""
    low, high = window
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return np.clip(np.rint((exact - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def facts_of(plan: Plan, rows: list[dict[str, Any]], digest: str | None) -> dict[str, Any]:
    """The facts of a volume from the rows of all its sections, in order.

    A section is `ok`, `blank` (one value only) or `missing` (not in the source)."""
    if [r["section"] for r in rows] != list(range(plan.layout.shape[0])):
        raise DataError(f"{plan.source}: figures of {len(rows)} sections; expected each of {plan.layout.shape[0]} once")
    usable = [r for r in rows if r["high"] > r["low"]] or rows
    names = plan.names[plan.corner[0] :] or [""] * len(rows)
    sections = [
        {
            "section": r["section"],
            "status": "missing" if r["missing"] else "blank" if r["low"] == r["high"] else "ok",
            "mean": r["mean"],
            "file": name,
        }
        for r, name in zip(rows, names)
    ]
    return {
        "source": plan.source,
        "kind": plan.kind,
        "digest": digest,
        "source_shape": plan.source_shape,
        "corner_zyx": plan.corner,
        "shape": plan.layout.shape,
        "dtype": plan.layout.dtype,
        "voxel_size": plan.voxel_size,
        "voxel_size_from": plan.voxel_size_from,
        "value_range": [min(r["low"] for r in usable), max(r["high"] for r in usable)],
        "rescaled_from": plan.rescaled_from,
        "sections": sections,
    }


def finish(plan: Plan, rows: list[dict[str, Any]], digest: str | None, strict: bool, path: Path) -> dict[str, list[int]]:
    """Write the facts; the sections that are missing or blank, as quality figures.

    Raises DataError for such sections of an image under `strict`."""
    facts = facts_of(plan, rows, digest)
    bad = {status: [s["section"] for s in facts["sections"] if s["status"] == status] for status in ("missing", "blank")}
    listed = sorted(bad["missing"] + bad["blank"])
    if listed and not plan.labels:
        print(f"WARNING [ingest] {plan.source}: sections missing or blank: {listed}")
        if strict:
            raise DataError(f"{plan.source}: sections missing or blank: {listed}; --strict false bridges them")
    path.write_text(json.dumps(facts, indent=1, allow_nan=False))
    return {f"sections_{status}": found for status, found in bad.items()}
