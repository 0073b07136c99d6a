"""Ingest: any readable volume, or a cutout of it, into a store as it is, with checksums.

Integers keep their values unless --rescale asks; floats need it. Sections that the source lacks are
listed and left empty, never invented. The sizes of all products are printed, and the disk is checked,
before the work starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ..core import blocks
from ..core.errors import DataError, ParameterError, StorageError
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Grid, Positive, Precision, Seeded, Storage, Strict, Tasks
from ..core.stage import In, Out
from ..core.volume import Layout, create_image, layout
from .sources import Source, open_source

PRESETS = {"safe8gb": (192, 192, 48), "medium": (256, 256, 48)}
Index = Annotated[int, Field(ge=0)]


class Parameters(Grid, Precision, Storage, Tasks, Seeded, Strict):
    """Input."""

    input: str = param("", "Volume to read: path or URI (bossdb://..., precomputed://...)")
    truth: str = param("", "Label volume of the same shape to score against")
    input_key: str = param("", "Dataset inside HDF5, NPZ or Zarr; needed where there are several")
    channel: int = param(0, "Channel of an image that has several", ge=0)
    cutout: tuple[Positive, Positive, Positive] | None = param(
        None, "Size X,Y,Z of the part to read; whole volume when not given (bossdb: 256,256,64)", unit="voxel")
    preset: Literal["none", "safe8gb", "medium"] = param(
        "none", "Ready-made cutout: safe8gb is 192,192,48, medium is 256,256,48; overrides --cutout")
    center: tuple[Index, Index, Index] | None = param(
        None, "Centre X,Y,Z of the cutout; middle of the volume, jittered, when not given", unit="voxel")
    center_jitter: float = param(0.05, "Random shift of the middle, as a share of each axis", ge=0, le=0.4)
    rescale: bool = param(False, "Map the range of values to 0-255 (needed for floats)")


def run(p: Parameters, task: Task, *, source: In | None = None, role: str = "raw", output: Out,
        facts: Out, block_list: Out, slab_list: Out) -> None:
    location, key = (p.input, p.input_key) if role == "raw" else (p.truth, "")
    if not location:
        raise ParameterError("--input is missing: give a path or a URI")
    with_labels = role == "truth"
    volume = open_source(location, key, p.channel, source)
    corner, shape = place(p, volume)
    dtype, window = check_type(volume, p, with_labels, corner, shape)
    voxel_size, stated = sizes(p, volume, task)
    lay = layout(shape, dtype, p.shard, p.chunk)
    if any(s % c for s, c in zip(p.shard, p.chunk)):
        raise ParameterError(f"--shard {p.shard}: expected a multiple of --chunk {p.chunk} on every axis")
    if not with_labels:
        check_disk(estimate(lay, p), output.parent)
    image = create_image(output, lay, voxel_size)
    seen = Sections(volume, corner[0], shape[0])
    for region in slabs(lay):
        part = tuple(slice(s.start + c, s.stop + c) for s, c in zip(region, corner))
        values = volume.read(part)
        seen.add(region, values, with_labels)
        image.write(region, values.astype(dtype) if window is None else rescaled(values, window))
    found = seen.finish(p.strict)
    grid = int(np.prod(lay.grid[1:]))
    block_list.write_text("\n".join(blocks.plan(lay, p.blocks, p.block_voxels)) + "\n")
    slab_list.write_text("\n".join(blocks.plan(lay, p.blocks, p.block_voxels, unit=grid)) + "\n")
    facts.write_text(json.dumps({
        "source": location, "kind": volume.kind, "digest": _digest(source), "source_shape": volume.shape,
        "corner_zyx": corner, "shape": shape, "dtype": np.dtype(dtype).name, "voxel_size": voxel_size,
        "voxel_size_from": stated, "value_range": seen.value_range, "rescaled_from": window,
        "sections": found}, indent=1, default=int))
    volume.close()
    task.report(shape=list(shape), dtype=np.dtype(dtype).name, voxel_size_nm=list(voxel_size),
                voxel_size_from=stated, sections_missing=[s["section"] for s in found if s["status"] == "missing"],
                sections_blank=[s["section"] for s in found if s["status"] == "blank"])


def _digest(source: Path | None) -> str | None:
    from ..core.manifest import digest_of

    return digest_of(source) if source else None


def place(p: Parameters, volume: Source) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Corner and shape (z, y, x) of what is read; the truth is cut like the raw.

    The jitter draws X, Y, Z in this order from one generator, as the classic notebook does.
    Raises ParameterError where the cutout does not fit."""
    size = PRESETS.get(p.preset, p.cutout)
    if size is None and volume.kind == "bossdb":
        size = (256, 256, 64)
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
                raise ParameterError(f"--cutout around --center {','.join(map(str, p.center))} leaves the volume: "
                                     f"{'XYZ'[axis]} {start} to {start + s} of 0 to {n}")
        else:
            reach = n * p.center_jitter
            shift = int(rng.integers(-reach, reach)) if reach >= 1 else 0
            start = max(0, min(n - s, n // 2 - s // 2 + shift))
        corner.append(start)
    return tuple(corner[::-1]), tuple(size[::-1])


def check_type(volume: Source, p: Parameters, labels: bool, corner: tuple[int, ...],
               shape: tuple[int, ...]) -> tuple[str, tuple[float, float] | None]:
    """The dtype to store, and the range of values to map to 0-255 if asked.

    Raises DataError for a type that cannot stand for grey values or ids."""
    kind = volume.dtype.kind
    if labels:
        if kind not in "ui":
            raise DataError(f"{volume.name}: {volume.dtype} as labels; expected integers, 0 for background")
        return ("uint32" if volume.dtype.itemsize <= 4 else "uint64"), None
    if kind not in "uif" or volume.dtype.itemsize > 8:
        raise DataError(f"{volume.name}: {volume.dtype} values; expected uint8 or uint16")
    if p.rescale:
        low, high = np.inf, -np.inf
        for z in range(corner[0], corner[0] + shape[0]):
            values = volume.read((slice(z, z + 1), *(slice(c, c + n) for c, n in zip(corner[1:], shape[1:]))))
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(f"{volume.name}: NaN or infinite values; mend the source")
        return "uint8", (low, high)
    if volume.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{volume.name}: {volume.dtype} values; expected uint8 or uint16. "
                        "--rescale true maps their range to 0-255")
    return volume.dtype.name, None


def rescaled(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Linear map of `window` to 0-255, rounded."""
    low, high = window
    scaled = (values.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def sizes(p: Parameters, volume: Source, task: Task) -> tuple[tuple[float, ...], str]:
    """Voxel size (z, y, x) in nm and where it comes from; a guess is said aloud."""
    if p.voxel_size:
        return p.voxel_size, "--voxel_size"
    if volume.voxel_size:
        return volume.voxel_size, "source"
    if p.strict:
        raise ParameterError(f"{volume.name} does not state a voxel size; give --voxel_size Z,Y,X in nm")
    print(f"WARNING [ingest] {volume.name} does not state a voxel size: 1,1,1 nm assumed; give --voxel_size Z,Y,X")
    return (1.0, 1.0, 1.0), "assumed"


def slabs(lay: Layout, most: float = 256e6) -> list[tuple[slice, ...]]:
    """Whole rows of shards where they fit in memory, else shard by shard."""
    row = (lay.shard[0], *lay.shape[1:])
    if float(np.prod([float(n) for n in row])) * np.dtype(lay.dtype).itemsize <= most:
        return [(slice(z, min(z + lay.shard[0], lay.shape[0])), slice(0, lay.shape[1]), slice(0, lay.shape[2]))
                for z in range(0, lay.shape[0], lay.shard[0])]
    return [blocks.region(lay, n) for n in range(int(np.prod(lay.grid)))]


class Sections:
    """What each section holds, gathered while the volume streams by."""

    def __init__(self, volume: Source, first: int, count: int):
        self.volume, self.first = volume, first
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.total, self.number = np.zeros(count), np.zeros(count)

    def add(self, region: tuple[slice, ...], values: np.ndarray, labels: bool) -> None:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            z = int(np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))[0]) + region[0].start
            raise DataError(f"{self.volume.name}: NaN or infinite values in section {z + self.first}; mend the source")
        if labels:
            if values.dtype.kind == "i" and int(values.min()) < 0:
                raise DataError(f"{self.volume.name}: negative ids; expected 0 for background and positive ids")
            return
        z = region[0]
        flat = values.reshape(len(values), -1)
        self.low[z] = np.minimum(self.low[z], flat.min(1))
        self.high[z] = np.maximum(self.high[z], flat.max(1))
        self.total[z] += flat.sum(1, dtype=np.float64)
        self.number[z] += flat.shape[1]

    @property
    def value_range(self) -> list[float]:
        usable = self.high > self.low
        chosen = usable if usable.any() else np.ones_like(usable)
        return [float(self.low[chosen].min()), float(self.high[chosen].max())]

    def finish(self, strict: bool) -> list[dict]:
        """One row a section: status `ok`, `blank` (one value only) or `missing` (not in the source)."""
        gone = {z - self.first for z in self.volume.missing}
        rows = [{"section": z, "status": "missing" if z in gone else "blank" if self.low[z] == self.high[z] else "ok",
                 "mean": float(self.total[z] / max(self.number[z], 1)),
                 "file": self.volume.sections[z + self.first] if self.volume.sections else ""}
                for z in range(len(self.low))]
        bad = [r["section"] for r in rows if r["status"] != "ok"]
        if bad:
            print(f"WARNING [ingest] {self.volume.name}: sections missing or blank: {bad}")
            if strict:
                raise DataError(f"{self.volume.name}: sections missing or blank: {bad}; --strict false bridges them")
        return rows


def estimate(lay: Layout, p: Parameters) -> dict[str, float]:
    """Uncompressed bytes of every product of the workflow, work folder and results together."""
    n = float(np.prod([float(v) for v in lay.shape]))
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
