"""What the tasks that read a volume have in common: the plan, the reading, the facts.

    ingest -- plan.json --+-- read_slab 0-8  --+-- join_slabs -- raw.ome.zarr, raw.source.json
                          +-- read_slab 9-17 --+

A slab is whole rows of shards, so that a section is read by one task and its figures need no merging.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ...core import blocks, pool
from ...core.errors import DataError
from ...core.provenance import Task
from ...core.space import Space
from ...core.volume import Image, Layout, Region
from .chunks import Lost
from .formats import local, open_source
from .listing import Listing
from .source import Source

OUTSIDE = 1e-3  # share of a section's values at either end that its window leaves out, hot pixels among them


class Plan(BaseModel, frozen=True):
    """What is read, from where, and how it is stored: all that a task must know to read its part."""

    role: str  # raw or truth
    source: str  # as the user gave it
    key: str
    channel: int
    kind: str
    source_shape: tuple[int, ...]
    source_dtype: str
    corner: tuple[int, ...]  # (z, y, x) of the part that is read, in voxels of the array; may lie outside it (truth)
    layout: Layout
    space: Space  # where the voxels of the part lie
    voxel_size_from: str
    rescaled_from: tuple[float, float] | None
    clipped: tuple[float, float] | None = None  # shares of voxels below and above it
    missing: list[int]  # sections of the source that are not there
    names: list[str]  # files of the source's sections, where each is a file
    remarks: list[str] = []  # what is doubtful about the source
    reads: list[str]  # slabs, one a task
    listing: Listing | None  # None: not local

    @classmethod
    def load(cls, path: Path) -> Plan:
        return cls.model_validate_json(path.read_text())

    @property
    def labels(self) -> bool:
        return self.role == "truth"

    @property
    def is_file(self) -> bool:
        """Whether the source is a file or folder, that has a digest of its own."""
        return local(self.source) is not None

    def where(self, path: Path | None) -> Path | None:
        """The source's own path; None for a service."""
        return path or local(self.source)

    def open(self, path: Path | None) -> Source:
        """The source as it was when planned. Raises DataError where it is another."""
        at = self.where(path)
        if at and self.kind == "tiff folder":  # without a look at every header
            from .sections import folder

            return folder(at, self.names, self.source_shape[1:], self.source_dtype, self.labels)
        volume = open_source(self.source, self.key, self.channel, path, self.labels)
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
    return tuple(slice(s.start + c, s.stop + c) for s, c in zip(region, corner, strict=True))


def laid(volume: Source, region: Region) -> np.ndarray:
    """A region of the source's array; 0 where it reaches beyond it (labels laid over a larger image)."""
    inside = tuple(slice(min(max(s.start, 0), n), max(min(s.stop, n), 0)) for s, n in zip(region, volume.shape, strict=True))
    if inside == region:
        return volume.read(region)
    values = np.zeros([s.stop - s.start for s in region], volume.dtype)
    if all(s.stop > s.start for s in inside):
        at = tuple(slice(i.start - r.start, i.stop - r.start) for i, r in zip(inside, region, strict=True))
        values[at] = volume.read(inside)
    return values


class Slab(BaseModel, frozen=True):
    """What was read: a row for each section, first voxels (z, y, x) of the chunks that were lost, why all is blank."""

    sections: list[dict[str, Any]]
    lost: list[list[int]] = []
    why_blank: str = ""

    @classmethod
    def joined(cls, parts: list[Slab]) -> Slab:
        rows = sorted((row for part in parts for row in part.sections), key=lambda row: row["section"])
        lost = sorted({tuple(voxel) for part in parts for voxel in part.lost})
        return cls(
            sections=rows, lost=[list(v) for v in lost], why_blank=next((p.why_blank for p in parts if p.why_blank), "")
        )


def read_slab(plan: Plan, source: Path | None, block: str, image: Image, task: Task) -> Slab:
    """Read a slab into the store, a layer of shards at a time, side by side by the task's workers.

    A row tells a section's number, lowest and highest value, mean, whether the source has it; of 16 bits the window of
    grey values without the outermost OUTSIDE on either side, and what all are multiples of; of a service the digest of
    what was read.
    Raises DataError for labels below 0."""
    at, volume = sections_of(plan.layout, block), opened(plan, source)
    work = partial(read_layer, plan.model_copy(update={"listing": None}), source, image)  # the list goes to no worker
    layers = layers_of(plan.layout, block)
    found = map(work, layers) if volume.forward else task.each(work, layers, "layers of shards read")
    rows: list[dict[str, Any]] = []
    lost = Lost(None if plan.labels else volume.chunks)
    for more, seen in found:
        rows += more
        lost.add(seen)
    assert len(rows) == at.stop - at.start
    blank = all(row["high"] == row["low"] for row in rows)
    return Slab(sections=rows, lost=lost.voxels(), why_blank=volume.why_blank() if blank else "")


def opened(plan: Plan, source: Path | None) -> Source:
    """The source, open once in each process until the task ends."""
    return pool.opened(plan.role, lambda: closing(plan.open(source)))


def layers_of(lay: Layout, block: str) -> list[str]:
    """The layers of shards in a slab, each as a slab."""
    first, last = blocks.parse(block, math.prod(lay.grid))
    layer = math.prod(lay.grid[1:])
    return [f"{n}-{n + layer - 1}" for n in range(first, last + 1, layer)]


def read_layer(
    plan: Plan, source: Path | None, image: Image, block: str
) -> tuple[list[dict[str, Any]], dict[tuple[int, ...], bool]]:
    """Read a layer of shards; a row for each section, and which chunks of the source are there."""
    volume = opened(plan, source)
    lost = Lost(None if plan.labels else volume.chunks)
    layer = Layer(plan, sections_of(plan.layout, block))
    for region in pieces(plan.layout, block, volume.dtype.itemsize):
        there = moved(region, plan.corner)
        values = laid(volume, there)
        if plan.labels and values.dtype.kind == "i" and int(values.min()) < 0:
            raise DataError(f"{plan.source}: negative ids; expected 0 for background and positive ids")
        lost.look(values, there)
        stored = values.astype(plan.layout.dtype) if plan.rescaled_from is None else rescaled(values, plan.rescaled_from)
        stored[layer.missing] = 0
        layer.add(region, values, stored)
        image.write(region, stored)
    return layer.rows(), lost.seen


class Layer:
    """Figures of some sections that are read piece by piece, whatever the pieces."""

    def __init__(self, plan: Plan, at: slice):
        self.at, count = at, at.stop - at.start
        self.missing = np.isin(np.arange(at.start, at.stop) + plan.corner[0], plan.missing)
        self.low: list[Any] = [None] * count  # as they are: an id of 64 bits is no float
        self.high: list[Any] = [None] * count
        self.total, self.number = np.zeros(count), 0
        self.grey = np.zeros((count, 2**16), np.int64) if plan.layout.dtype == "uint16" and not plan.labels else None
        self.lines: list[dict[int, Any]] | None = None if plan.is_file else [{} for _ in range(count)]

    def add(self, region: Region, values: np.ndarray, stored: np.ndarray) -> None:
        """Count a piece in: as it was read, and as it is stored. Pieces of a line come from left to right."""
        flat = values.reshape(len(values), -1)
        for n, (lowest, highest) in enumerate(zip(flat.min(1).tolist(), flat.max(1).tolist(), strict=True)):
            self.low[n] = lowest if self.low[n] is None else min(self.low[n], lowest)
            self.high[n] = highest if self.high[n] is None else max(self.high[n], highest)
        self.total += flat.sum(1, dtype=np.float64)
        self.number += flat.shape[1]
        if self.grey is not None:
            for counts, section in zip(self.grey, stored, strict=True):
                counts += np.bincount(section.reshape(-1), minlength=2**16)
        if self.lines is not None:
            for lines, section in zip(self.lines, np.ascontiguousarray(values), strict=True):
                for y, line in enumerate(section, region[1].start):
                    lines.setdefault(y, hashlib.sha256()).update(line)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "section": self.at.start + n,
                "low": self.low[n],
                "high": self.high[n],
                "mean": float(self.total[n] / self.number),
                "missing": bool(self.missing[n]),
                "window": None if self.grey is None else inner(self.grey[n], OUTSIDE),
                "step": 0 if self.grey is None else int(np.gcd.reduce(np.flatnonzero(self.grey[n]))),
                "digest": None if self.lines is None else _digest(line for _, line in sorted(self.lines[n].items())),
            }
            for n in range(self.at.stop - self.at.start)
        ]


def _digest(lines: Iterable[Any]) -> str:
    whole = hashlib.sha256()
    for line in lines:
        whole.update(line.digest())
    return whole.hexdigest()


def inner(counts: np.ndarray, outside: float) -> list[int]:
    """Lowest and highest value of a histogram without a share of `outside` at either end."""
    reached, number = np.cumsum(counts), int(counts.sum())
    low = int(np.searchsorted(reached, outside * number, "right"))
    return [low, max(low, int(np.searchsorted(reached, (1 - outside) * number, "left")))]


def rescaled(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Linear map of `window` to 0-255, rounded."""
    low, high = window
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return np.clip(np.rint((exact - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def facts_of(plan: Plan, read: Slab, digest: str | None) -> dict[str, Any]:
    """The facts of a volume from the rows of all its sections, in order.

    A section is `ok`, `blank` (one value only) or `missing` (not in the source)."""
    rows = read.sections
    if [r["section"] for r in rows] != list(range(plan.layout.shape[0])):
        raise DataError(f"{plan.source}: figures of {len(rows)} sections; expected each of {plan.layout.shape[0]} once")
    usable = [r for r in rows if r["high"] > r["low"]] or rows
    windows = [r["window"] for r in usable if r["window"]]
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
        "digest": digest or digest_read(plan, rows),
        "digest_of": "files" if digest else "values read",
        "source_shape": plan.source_shape,
        "corner_zyx": plan.corner,
        "shape": plan.layout.shape,
        "dtype": plan.layout.dtype,
        "voxel_size": plan.space.scale if plan.space.known else None,
        "voxel_size_from": plan.voxel_size_from,
        "origin": plan.space.origin,
        "voxel_offset": plan.space.offset,
        "value_range": [min(r["low"] for r in usable), max(r["high"] for r in usable)],
        "window": [min(w[0] for w in windows), max(w[1] for w in windows)] if windows else None,
        "grey_step": math.gcd(*(r["step"] for r in usable)),
        "rescaled_from": plan.rescaled_from,
        "clipped": plan.clipped,
        "sections": sections,
        "lost_chunks": read.lost,
    }


def digest_read(plan: Plan, rows: list[dict[str, Any]]) -> str:
    """Identity of a source that is no file: of what was read of it, and from where in it."""
    about = [plan.corner, plan.layout.shape, plan.source_dtype, [row["digest"] for row in rows]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def attest(plan: Plan, read: Slab, where: Path | None, digest: str | None, task: Task) -> None:
    """Enter the source into the task's record: its files by their digest, a service by what was read of it."""
    if where and digest:
        task.used(where, digest)
    elif not where:
        size = math.prod(plan.layout.shape) * np.dtype(plan.source_dtype).itemsize
        task.fetched(plan.source, digest_read(plan, read.sections), size)


def finish(plan: Plan, read: Slab, digest: str | None, strict: bool, path: Path) -> dict[str, Any]:
    """Write the facts; what is missing, blank or doubtful, as quality figures.

    Raises DataError where nothing was read but one value, and, under `strict`, for all that is told."""
    facts = facts_of(plan, read, digest)
    by_status = {
        status: [s["section"] for s in facts["sections"] if s["status"] == status] for status in ("missing", "blank")
    }
    if not any(s["status"] == "ok" for s in facts["sections"]):
        why = f"; {read.why_blank}" if read.why_blank else ""
        value = facts["value_range"][0]
        raise DataError(
            f"{plan.source}: every voxel that was read is {value}{why}. Is it the right dataset, and the right place in it?"
        )
    told = list(plan.remarks)
    if listed := sorted(by_status["missing"] + by_status["blank"]):
        told += [] if plan.labels else [f"sections missing or blank: {listed}"]
    if read.lost:
        first = ", ".join("-".join(map(str, voxel)) for voxel in read.lost[:5])
        told.append(
            f"{len(read.lost)} chunks are missing among chunks that are there, and read as blank; first voxels z-y-x {first}"
        )
    for remark in told:
        print(f"WARNING [ingest] {plan.source}: {remark}")
    if told and strict:
        raise DataError(f"{plan.source}: {'; '.join(told)}; --strict false goes on all the same")
    path.write_text(json.dumps(facts, indent=1, allow_nan=False))
    notes = [remark for remark in told if not remark.startswith("sections missing")]
    return {**{f"sections_{status}": found for status, found in by_status.items()}, **({"notes": notes} if notes else {})}
