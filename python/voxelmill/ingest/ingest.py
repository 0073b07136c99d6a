"""Ingest: any readable volume, or a cutout of it, into a store as it is, with checksums.

Integers keep their values unless --rescale asks; floats need it. Sections that the source lacks are
listed and left empty, never invented. The sizes of all products are printed, and the disk is checked,
before the work starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..core import blocks, levels
from ..core.errors import DataError, ParameterError, StorageError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Given, Grid, Positive, Precision, Seeded, Storage, Strict, Tasks
from ..core.stage import In, Out
from ..core.volume import Layout, Region, create_image, layout
from .sources import IMAGE, LABEL, Source, local, open_source

PRESETS = {"safe8gb": (192, 192, 48), "medium": (256, 256, 48)}
Index = Annotated[int, Field(ge=0)]


class Parameters(Given, Grid, Precision, Storage, Tasks, Seeded, Strict):
    """Input."""

    truth: str = param("", "Label volume of the same shape to score against")
    truth_key: str = param("", "Dataset of the truth inside HDF5, NPZ or Zarr; `labels` when not given")
    input_key: str = param("", "Dataset inside HDF5, NPZ or Zarr; needed where there are several")
    channel: int = param(0, "Channel of an image that has several", ge=0)
    cutout: tuple[Positive, Positive, Positive] | None = param(
        None, "Size X,Y,Z of the part to read; whole volume when not given (bossdb: 256,256,64)",
        unit="voxel")
    preset: Literal["none", "safe8gb", "medium"] = param(
        "none", "Ready-made cutout: safe8gb is 192,192,48, medium is 256,256,48; overrides --cutout")
    center: tuple[Index, Index, Index] | None = param(
        None, "Centre X,Y,Z of the cutout; middle of the volume, jittered, when not given", unit="voxel")
    center_jitter: float = param(0.05, "Random shift of the middle, as a share of each axis", ge=0, le=0.4)
    rescale: bool = param(False, "Map the range of values to 0-255 (needed for floats)")


def run(p: Parameters, task: Task, *, source: In | None = None, like: In | None = None, role: str = "raw",
        output: Out, facts: Out, block_list: Out, slab_list: Out, superblock_list: Out | None = None) -> None:
    task.block, labels = role, role == "truth"
    location, key = (p.truth, p.truth_key) if labels else (p.input, p.input_key)
    if not location:
        raise ParameterError(f"--{'truth' if labels else 'input'} is missing: give a path or a URI")
    if any(s % c for s, c in zip(p.shard, p.chunk)):
        raise ParameterError(f"--shard {p.shard}: expected a multiple of --chunk {p.chunk} on every axis")
    volume = open_source(location, key, p.channel, source, LABEL if labels else IMAGE)
    raw = json.loads(like.read_text()) if like else None
    corner, shape = place_truth(p, volume, raw) if labels else place(p, volume)
    voxel_size, stated = (raw["voxel_size"], "raw volume") if raw else sizes(p, volume)
    lay = layout(shape, check_type(volume, p, labels), p.shard, p.chunk)
    check_disk(estimate(lay, p, labels), output.parent)
    window = value_range(volume, lay, corner) if p.rescale and not labels else None
    image = create_image(output, lay, voxel_size)
    seen = Sections(volume, corner[0], shape[0], labels)
    for region, values in slabs(volume, lay, corner):
        seen.add(region, values)
        stored = values.astype(lay.dtype) if window is None else rescaled(values, window)
        stored[seen.missing[region[0]]] = 0
        image.write(region, stored)
    volume.close()
    found = seen.finish(p.strict)
    grid = int(np.prod(lay.grid[1:]))
    block_list.write_text("\n".join(blocks.plan(lay, p.blocks, p.block_voxels)) + "\n")
    slab_list.write_text("\n".join(blocks.plan(lay, p.blocks, p.block_voxels, unit=grid)) + "\n")
    if superblock_list:
        superblock_list.write_text("\n".join(levels.plan(lay, voxel_size, p.blocks, p.block_voxels)) + "\n")
    facts.write_text(json.dumps({
        "source": location, "kind": volume.kind, "digest": _digest(source or local(location)),
        "source_shape": volume.shape, "corner_zyx": corner, "shape": shape, "dtype": lay.dtype,
        "voxel_size": voxel_size, "voxel_size_from": stated, "value_range": seen.value_range,
        "rescaled_from": window, "sections": found}, indent=1, default=int, allow_nan=False))
    task.report(shape=list(shape), dtype=lay.dtype, voxel_size_nm=list(voxel_size), voxel_size_from=stated,
                sections_missing=[s["section"] for s in found if s["status"] == "missing"],
                sections_blank=[s["section"] for s in found if s["status"] == "blank"])


def _digest(path: Path | None) -> str | None:
    from ..core.manifest import digest_of

    return digest_of(path) if path else None


def place(p: Parameters, volume: Source) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Corner and shape (z, y, x) of what is read.

    The jitter draws X, Y, Z in this order from one generator, as the classic notebook does.
    Raises ParameterError where the cutout does not fit."""
    size = cutout(p, volume)
    if size is None and p.center:
        raise ParameterError("--center has no use without --cutout or --preset; give the size of the part")
    if size is None:
        return (0, 0, 0), volume.shape
    whole, rng, corner = volume.shape[::-1], np.random.default_rng(p.seed), []
    for axis, (n, s) in enumerate(zip(whole, size)):
        if s > n:
            raise ParameterError(f"--cutout {','.join(map(str, size))} (X,Y,Z): {volume.name} is only "
                                 f"{n} voxels along {'XYZ'[axis]}; ask for less")
        if p.center:
            start = p.center[axis] - s // 2
            if start < 0 or start + s > n:
                raise ParameterError(f"--cutout around --center {','.join(map(str, p.center))} leaves "
                                     f"{volume.name}: {'XYZ'[axis]} {start} to {start + s} of 0 to {n}; "
                                     "move the centre or ask for less")
        else:
            reach = int(n * p.center_jitter)
            shift = int(rng.integers(-reach, reach)) if reach else 0
            start = max(0, min(n - s, n // 2 - s // 2 + shift))
        corner.append(start)
    return tuple(corner[::-1]), tuple(size[::-1])


def cutout(p: Parameters, volume: Source) -> tuple[int, int, int] | None:
    """Size X, Y, Z of the part to read; None for all of it."""
    size = PRESETS.get(p.preset, p.cutout)
    return (256, 256, 64) if size is None and volume.kind == "bossdb" else size


def place_truth(p: Parameters, truth: Source,
                raw: dict[str, Any] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """As `place`, for a truth of the whole volume; one of the cutout's shape is taken as it is.

    With the facts of the raw volume both are sure to lie on the same place. Raises DataError otherwise."""
    if raw is None:
        size = cutout(p, truth)
        return ((0, 0, 0), truth.shape) if size and truth.shape == size[::-1] else place(p, truth)
    if list(truth.shape) == raw["shape"]:
        return (0, 0, 0), truth.shape
    if list(truth.shape) != raw["source_shape"]:
        raise DataError(f"{truth.name}: shape {truth.shape} (z, y, x); expected {tuple(raw['source_shape'])} "
                        f"as {raw['source']}, or {tuple(raw['shape'])} as its cutout")
    return tuple(raw["corner_zyx"]), tuple(raw["shape"])


def check_type(volume: Source, p: Parameters, labels: bool) -> str:
    """The dtype to store. Raises DataError for a type that cannot stand for grey values or ids."""
    kind = volume.dtype.kind
    if labels:
        if kind not in "ui":
            raise DataError(f"{volume.name}: {volume.dtype} as labels; expected integers, 0 for background")
        return "uint32" if volume.dtype.itemsize <= 4 else "uint64"
    if kind not in "uif" or volume.dtype.itemsize > 8:
        raise DataError(f"{volume.name}: {volume.dtype} values; expected uint8 or uint16, grey values")
    if volume.dtype not in (np.uint8, np.uint16) and not p.rescale:
        raise DataError(f"{volume.name}: {volume.dtype} values; expected uint8 or uint16. "
                        "--rescale true maps their range to 0-255")
    return "uint8" if p.rescale else volume.dtype.name


def value_range(volume: Source, lay: Layout, corner: tuple[int, ...]) -> tuple[float, float]:
    """Lowest and highest value of the sections that are there. Raises DataError for NaN and infinity."""
    low, high = np.inf, -np.inf
    for region, values in slabs(volume, lay, corner):
        first = region[0].start + corner[0]
        there = [z for z in range(len(values)) if z + first not in volume.missing]
        if values.dtype.kind == "f":
            bad = np.count_nonzero(~np.isfinite(values), axis=(1, 2))
            if bad.any():
                raise DataError(f"{volume.name}: {bad.sum()} NaN or infinite values from section "
                                f"{first + int(bad.argmax())} on; expected numbers. Mend the source")
        if there:
            low, high = min(low, float(values[there].min())), max(high, float(values[there].max()))
    return (low, high) if low <= high else (0.0, 0.0)


def rescaled(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Linear map of `window` to 0-255, rounded."""
    low, high = window
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return np.clip(np.rint((exact - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def sizes(p: Parameters, volume: Source) -> tuple[tuple[float, ...], str]:
    """Voxel size (z, y, x) in nm and where it comes from; a guess is said aloud."""
    if p.voxel_size:
        return p.voxel_size, "--voxel_size"
    if volume.voxel_size:
        return volume.voxel_size, "source"
    if p.strict:
        raise ParameterError(f"{volume.name} does not state a voxel size; give --voxel_size Z,Y,X in nm")
    print(f"WARNING [ingest] {volume.name} does not state a voxel size: 1,1,1 nm assumed; "
          "give --voxel_size Z,Y,X")
    return (1.0, 1.0, 1.0), "assumed"


def slabs(volume: Source, lay: Layout, corner: tuple[int, ...],
          most: float = 256e6) -> Iterator[tuple[Region, np.ndarray]]:
    """The volume in whole rows of shards where they fit in memory, else shard by shard."""
    row = float(np.prod([float(n) for n in (lay.shard[0], *lay.shape[1:])])) * volume.dtype.itemsize
    rows = Layout(lay.shape, lay.dtype, lay.chunk, (lay.shard[0], *lay.shape[1:])) if row <= most else lay
    for n in range(int(np.prod(rows.grid))):
        region = blocks.region(rows, n)
        yield region, volume.read(tuple(slice(s.start + c, s.stop + c) for s, c in zip(region, corner)))


class Sections:
    """What each section holds, gathered while the volume streams by."""

    def __init__(self, volume: Source, first: int, count: int, labels: bool):
        self.volume, self.first, self.labels = volume, first, labels
        self.missing = np.isin(np.arange(first, first + count), volume.missing)
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.total, self.number = np.zeros(count), np.zeros(count)

    def add(self, region: Region, values: np.ndarray) -> None:
        if self.labels and values.dtype.kind == "i" and int(values.min()) < 0:
            raise DataError(f"{self.volume.name}: negative ids; expected 0 for background and positive ids")
        z, flat = region[0], values.reshape(len(values), -1)
        self.low[z] = np.minimum(self.low[z], flat.min(1))
        self.high[z] = np.maximum(self.high[z], flat.max(1))
        self.total[z] += flat.sum(1, dtype=np.float64)
        self.number[z] += flat.shape[1]

    @property
    def value_range(self) -> list[float]:
        usable = self.high > self.low
        chosen = usable if usable.any() else np.ones_like(usable)
        return [float(self.low[chosen].min()), float(self.high[chosen].max())]

    def finish(self, strict: bool) -> list[dict[str, Any]]:
        """One row a section: status `ok`, `blank` (one value only) or `missing` (not in the source)."""
        status = np.where(self.missing, "missing", np.where(self.low == self.high, "blank", "ok"))
        files = self.volume.sections[self.first:] or [""] * len(status)
        rows = [{"section": z, "status": str(status[z]), "mean": float(self.total[z] / self.number[z]),
                 "file": files[z]} for z in range(len(status))]
        bad = [] if self.labels else [r["section"] for r in rows if r["status"] != "ok"]
        if bad:
            print(f"WARNING [ingest] {self.volume.name}: sections missing or blank: {bad}")
            if strict:
                raise DataError(f"{self.volume.name}: sections missing or blank: {bad}; "
                                "--strict false bridges them")
        return rows


def estimate(lay: Layout, p: Parameters, labels: bool = False) -> dict[str, float]:
    """Uncompressed bytes of every product of the workflow, work folder and results together."""
    n = float(np.prod([float(v) for v in lay.shape]))
    if labels:
        return {"truth": n * np.dtype(lay.dtype).itemsize}
    levels = 0.0 if p.save_minimal else 1 / 7
    aligned = n * np.dtype(p.aligned_dtype).itemsize
    return {"raw": n * np.dtype(lay.dtype).itemsize, "preprocessed": n, "aligned": aligned,
            "supervoxels": n * 8, "labels": n * 4,
            "pyramids": levels * (n * np.dtype(lay.dtype).itemsize + aligned + 4 * n)}


def check_disk(need: dict[str, float], folder: Path) -> None:
    """Print the sizes; raises StorageError when they cannot fit."""
    import shutil

    free = shutil.disk_usage(folder.resolve()).free
    for name, size in need.items():
        print(f"[ingest] {name:>12}: {size / 2**30:9.3f} GB uncompressed")
    total = sum(need.values())
    print(f"[ingest] {'in all':>12}: {total / 2**30:9.3f} GB; free here: {free / 2**30:.1f} GB")
    if total > free:
        raise StorageError(f"the products need up to {total / 2**30:.1f} GB and {folder.resolve()} has "
                           f"{free / 2**30:.1f} GB free; take a smaller --cutout, or put -work-dir elsewhere")
