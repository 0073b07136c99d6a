"""Ingest: any readable volume, or a cutout of it, into a store as it is, with checksums.

Integers keep their values unless --rescale asks; floats need it. Sections that the source lacks are
listed and left empty, never invented. The disk is checked before the work starts; `estimate` does so for the whole
run. A small volume is read here; of a large one a plan is made, which `read_slab` and `join_slabs` carry out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ..core import disk, plans, pool
from ..core.errors import DataError, ParameterError
from ..core.manifest import digest_of
from ..core.params import param
from ..core.provenance import Task
from ..core.shared import Channel, Given, Grid, Positive, Seeded, Storage, Strict, Tasks
from ..core.space import BESIDE, Space, one_size
from ..core.stage import In, Out
from ..core.volume import Layout, create_image, layout
from .volumes.formats import local, open_source
from .volumes.listing import Listing
from .volumes.reading import Plan, attest, finish, moved, pieces, read_slab
from .volumes.source import Source
from .volumes.window import Window, window

PRESETS = {"safe8gb": (192, 192, 48), "medium": (256, 256, 48)}
Percent = Annotated[float, Field(ge=0, le=100)]

LESS = "take a smaller --cutout"  # where the disk is too small


class Parameters(Given, Grid, Channel, Storage, Tasks, Seeded, Strict):
    """Input."""

    truth: str = param("", "Label volume of the same shape to score against", path=True, role="truth")
    truth_key: str = param("", "Dataset of the truth inside HDF5, NPZ or Zarr; `labels` when not given", role="truth")
    input_key: str = param("", "Dataset inside HDF5, NPZ or Zarr; needed where there are several")
    cutout: tuple[Positive, Positive, Positive] | None = param(
        None, "Size X,Y,Z of the part to read; whole volume when not given (bossdb: 256,256,64)", unit="voxel"
    )
    preset: Literal["none", "safe8gb", "medium"] = param(
        "none", "Ready-made cutout: safe8gb is 192,192,48, medium is 256,256,48; overrides --cutout"
    )
    center: tuple[int, int, int] | None = param(
        None,
        "Centre X,Y,Z of the cutout, as the source numbers its voxels; middle of the volume, jittered, when not given",
        unit="voxel",
        more="A source's own numbers begin at its voxel_offset, or at its origin in voxels: as viewers show them.",
    )
    center_nm: tuple[float, float, float] | None = param(
        None, "Centre X,Y,Z of the cutout as a position in the source's frame, in place of --center", unit="nm"
    )
    center_jitter: float = param(0.05, "Random shift of the middle, as a share of each axis", ge=0, le=0.4)
    rescale: bool = param(False, "Map grey values to 0-255 (needed for floats)")
    rescale_percentiles: tuple[Percent, Percent] = param(
        (0.1, 99.9),
        "Percentiles of the grey values that --rescale maps to 0 and 255; what lies outside is clipped",
        unit="%",
        more="0,100 maps the whole range: one hot pixel may then leave few grey levels to all others. By default grey levels "
        "of 8 bits that were written as another type (64 to 256 even steps) keep their numbers; other percentiles than "
        "these stretch them.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Parameters:
        if not self.rescale_percentiles[0] < self.rescale_percentiles[1]:
            raise ValueError(f"rescale_percentiles {self.rescale_percentiles}: expected the lower one first")
        return self


def run(
    p: Parameters,
    task: Task,
    *,
    source: Path | None = None,
    like: In | None = None,
    role: str = "raw",
    output: Out | None = None,
    facts: Out | None = None,
    block_list: Out,
    slab_list: Out,
    superblock_list: Out | None = None,
    plan: Out | None = None,
    read_list: Out | None = None,
) -> None:
    """Plan, and read at once what is a single slab; else leave the plan and the list of slabs for others to read."""
    volume, planned = make_plan(p, role, source, json.loads(like.read_text()) if like else None)
    lay = planned.layout
    plans.write(block_list, plans.by_shards(lay, p))
    plans.write(slab_list, plans.by_sections(lay, p))
    if superblock_list:
        plans.write(superblock_list, plans.by_superblocks(lay, planned.space.scale, p))
    task.report(
        shape=list(lay.shape),
        dtype=lay.dtype,
        voxel_size_nm=list(planned.space.scale) if planned.space.known else None,
        voxel_size_from=planned.voxel_size_from,
        origin_nm=list(planned.space.origin) if planned.space.known else None,
        **({"clipped_share": list(planned.clipped)} if planned.clipped else {}),
    )
    if len(planned.reads) > 1:
        if not (plan and read_list):
            raise ParameterError(f"{len(planned.reads)} slabs to read: give --plan and --read_list, or --blocks 1")
        plan.write_text(planned.model_dump_json())
        plans.write(read_list, plans.rows(planned.reads))
        volume.close()
        return
    if not (output and facts):
        raise ParameterError("one slab to read: give --output and --facts")
    pool.opened(role, lambda: closing(volume))
    read = read_slab(planned, source, planned.reads[0], create_image(output, lay, planned.space), task)
    pool.close()  # a source that turns out to be cut off says so before any other complaint
    where = planned.where(source)
    digest = digest_of(where) if where else None
    attest(planned, read, where, digest, task)
    task.report(**finish(planned, read, digest, p.strict, facts))


def make_plan(p: Parameters, role: str, source: Path | None, raw: dict[str, Any] | None) -> tuple[Source, Plan]:
    """Open the source and settle what is read of it and how it is stored."""
    labels = role == "truth"
    location, key = (p.truth, p.truth_key) if labels else (p.input, p.input_key)
    if not location:
        raise ParameterError(f"--{'truth' if labels else 'input'} is missing: give a path or a URI")
    if any(s % c for s, c in zip(p.shard, p.chunk)):
        raise ParameterError(f"--shard {p.shard}: expected a multiple of --chunk {p.chunk} on every axis")
    volume = open_source(location, key, p.channel, source, labels)
    own, stated = sizes(p, volume, raw)
    corner, shape = place_truth(p, volume, own, raw) if labels else place(p, volume, own)
    space = Space.zyx(raw["voxel_size"], raw["origin"]) if raw else own.crop(corner)
    lay = layout(shape, check_type(volume, p, labels), p.shard, p.chunk)
    bytes_held = float(np.prod([float(n) for n in lay.shape])) * np.dtype(lay.dtype).itemsize
    print(f"[ingest] {disk.check({role: bytes_held}, Path.cwd(), LESS)}")
    grey = rescaling(p, volume, lay, corner) if p.rescale and not labels else None
    reads = [whole(lay)] if volume.forward else [row["block"] for row in plans.by_sections(lay, p, plans.READ_BLOCKS)]
    where = source or local(location)
    return volume, Plan(
        role=role,
        source=location,
        key=key,
        channel=p.channel,
        kind=volume.kind,
        source_shape=volume.shape,
        source_dtype=volume.dtype.name,
        corner=corner,
        layout=lay,
        space=space,
        voxel_size_from=stated,
        rescaled_from=(grey.low, grey.high) if grey else None,
        clipped=(grey.below, grey.above) if grey else None,
        missing=volume.missing,
        names=volume.sections,
        remarks=volume.remarks,
        reads=reads,
        listing=Listing.of(where) if where and len(reads) > 1 else None,
    )


def whole(lay: Layout) -> str:
    """All shards, as one block."""
    return f"0-{int(np.prod(lay.grid)) - 1}"


def place(p: Parameters, volume: Source, own: Space) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Corner and shape (z, y, x) of what is read, in voxels of the array.

    The jitter draws X, Y, Z in this order from one generator, as the classic notebook does.
    Raises ParameterError where the cutout does not fit."""
    size, centre = cutout(p, volume), middle(p, volume, own)
    said = "--center_nm" if p.center_nm else "--center"
    if size is None and centre:
        raise ParameterError(f"{said} has no use without --cutout or --preset; give the size of the part")
    if size is None:
        return (0, 0, 0), volume.shape
    whole, rng, corner = volume.shape[::-1], np.random.default_rng(p.seed), []
    for axis, (n, s, first) in enumerate(zip(whole, size, own.offset[::-1], strict=True)):
        if s > n:
            raise ParameterError(
                f"--cutout {','.join(map(str, size))} (X,Y,Z): {volume.name} is only "
                f"{n} voxels along {'XYZ'[axis]}; ask for less"
            )
        if centre:
            start = centre[axis] - first - s // 2
            if start < 0 or start + s > n:
                raise ParameterError(
                    f"--cutout around {said}, voxel {','.join(map(str, centre))} (X,Y,Z), leaves "
                    f"{volume.name}: {'XYZ'[axis]} {start + first} to {start + first + s} of its voxels {first} to "
                    f"{first + n}; move the centre or ask for less"
                )
        else:
            reach = int(n * p.center_jitter)
            shift = int(rng.integers(-reach, reach)) if reach else 0
            start = max(0, min(n - s, n // 2 - s // 2 + shift))
        corner.append(start)
    return tuple(corner[::-1]), tuple(size[::-1])


def middle(p: Parameters, volume: Source, own: Space) -> tuple[int, ...] | None:
    """Centre X, Y, Z of the cutout in the source's own voxel numbers; None where none is asked for."""
    if not p.center_nm:
        return p.center
    if p.center:
        raise ParameterError("--center and --center_nm say the same thing twice; give one of them")
    if not own.known:
        raise ParameterError(f"--center_nm: the voxel size of {volume.name} is not known; give --voxel_size Z,Y,X in nm")
    at = own.index(p.center_nm[::-1])
    return tuple(round(i) + first for i, first in zip(at, own.offset, strict=True))[::-1]


def cutout(p: Parameters, volume: Source) -> tuple[int, int, int] | None:
    """Size X, Y, Z of the part to read; None for all of it."""
    size = PRESETS.get(p.preset, p.cutout)
    return (256, 256, 64) if size is None and volume.kind == "bossdb" else size


def place_truth(
    p: Parameters, truth: Source, own: Space, raw: dict[str, Any] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """As `place`, for a truth: laid over what is read of the volume.

    By its own origin where it has one that is not 0, or is smaller; else it must have the shape of the volume, or of its
    cutout, and lies where that lies. What it says otherwise of its place or voxels is a remark.
    Raises DataError where the two cannot be laid over each other."""
    if raw is None:
        size = cutout(p, truth)
        return ((0, 0, 0), truth.shape) if size and truth.shape == size[::-1] else place(p, truth, own)
    if any(own.origin) and (raw["voxel_size"] or any(raw["origin"])):
        return overlaid(truth, own, raw), tuple(raw["shape"])
    if any(own.origin):
        truth.remarks.append("states an origin, and the volume does not say where it lies: laid voxel on voxel")
    if own.known and raw["voxel_size"] and not one_size(own.scale, raw["voxel_size"]):
        said = ", ".join(f"{size:g}" for size in own.scale)
        truth.remarks.append(f"states a voxel size of {said} nm (z, y, x), not the volume's: laid voxel on voxel")
    if list(truth.shape) == raw["shape"]:
        return (0, 0, 0), truth.shape
    if list(truth.shape) != raw["source_shape"]:
        if truth.origin is not None and raw["voxel_size"]:  # 0, but it says so
            return overlaid(truth, own, raw), tuple(raw["shape"])
        raise DataError(
            f"{truth.name}: shape {truth.shape} (z, y, x); expected {tuple(raw['source_shape'])} "
            f"as {raw['source']}, or {tuple(raw['shape'])} as its cutout, or an origin of its own"
        )
    return tuple(raw["corner_zyx"]), tuple(raw["shape"])


def overlaid(truth: Source, own: Space, raw: dict[str, Any]) -> tuple[int, ...]:
    """Corner (z, y, x), in voxels of the truth's array, of what is read of the volume; what does not overlap is said."""
    try:
        corner, beside = own.voxel_of(Space.zyx(raw["voxel_size"], raw["origin"]))
    except DataError as error:
        raise DataError(f"{truth.name} and {raw['source']}: {error}") from None
    if beside > BESIDE:
        truth.remarks.append(f"lies {beside:.2f} voxels beside the volume's grid; laid to the nearest")
    inside = np.minimum(np.add(corner, raw["shape"]), truth.shape) - np.maximum(corner, 0)
    if (inside <= 0).any():
        raise DataError(
            f"{truth.name}: lies from {own.origin} nm on (z, y, x) and the volume from {tuple(raw['origin'])}; "
            "they do not overlap"
        )
    covered = float(np.prod(inside / np.array(raw["shape"])))
    if covered < 1:
        truth.remarks.append(f"covers {covered:.1%} of the volume; the rest is not scored")
    return corner


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
        raise DataError(
            f"{volume.name}: {volume.dtype} values; expected uint8 or uint16. --rescale true maps their range to 0-255"
        )
    return "uint8" if p.rescale else volume.dtype.name


def rescaling(p: Parameters, volume: Source, lay: Layout, corner: tuple[int, ...]) -> Window:
    """The window of grey values of the sections that are there; what it clips is said aloud."""

    def values() -> Iterator[tuple[int, np.ndarray]]:
        for region in pieces(lay, whole(lay), volume.dtype.itemsize):
            read, first = volume.read(moved(region, corner)), region[0].start + corner[0]
            yield first, read[[z for z in range(len(read)) if z + first not in volume.missing]]

    default = type(p).model_fields["rescale_percentiles"].default
    keep = volume.dtype != np.uint8 and p.rescale_percentiles == default
    found = window(values, p.rescale_percentiles, volume.name, keep)
    print(
        f"[ingest] --rescale: {found.low:g} to {found.high:g} become 0 to 255; "
        f"{found.below:.3%} of the voxels lie below and {found.above:.3%} above, and are clipped"
    )
    return found


def sizes(p: Parameters, volume: Source, raw: dict[str, Any] | None = None) -> tuple[Space, str]:
    """Where the source's array lies, and where its voxel size comes from; of a truth that states none, the volume's.

    The origin that a source states is in its own units, so --voxel_size moves it along. Raises DataError where the
    source states a voxel size that is no length, ParameterError where it is not known and must be."""
    placed = volume.placed
    if raw:
        size = raw["voxel_size"] and (p.voxel_size or placed.size or raw["voxel_size"])
        return Space.zyx(size, placed.moved_to(size)), "raw volume"
    if p.voxel_size:
        return Space.zyx(p.voxel_size, placed.moved_to(p.voxel_size)), "--voxel_size"
    if volume.voxel_size:
        return Space.zyx(volume.voxel_size, volume.origin), "source"
    if placed.unknown:
        raise DataError(f"{volume.name}: {placed.unknown}; give --voxel_size Z,Y,X in nm")
    if p.strict:
        raise ParameterError(f"{volume.name} does not state a voxel size; give --voxel_size Z,Y,X in nm")
    volume.remarks.append("its voxel size is not known: nothing has a physical size or place. Give --voxel_size Z,Y,X in nm")
    return Space.zyx(None, placed.moved_to(None)), "not known"
