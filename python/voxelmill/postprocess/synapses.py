"""Synapses: where they are, with the neurites before and behind.

`--synapses learned` finds presynaptic densities in 3-D by a small network, and says by where a density lies who is before
and who behind it; a density with several partners gives several rows. `--synapses blobs` is the classic notebook
heuristic, the baseline: dark blobs where two neurites meet, far too many.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..core import blocks, levels, models
from ..core.errors import DataError
from ..core.params import Methods, Params, param
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, open_image
from ..inference.segment import unlike
from . import blobs, densities
from .partners import partners
from .partners import reach as around

HOW = "How synapses are found: by a network, or as dark blobs"
MODEL = Path(__file__).with_name("synapses_model")
TILE = (64, 512, 512)  # voxels looked at at once, without what is around them: at 10 nm that is five times as much
ASSUMED = (10.0, 10.0, 10.0)  # nm, where no voxel size is known
COLUMNS = (
    *((name, np.int64) for name in ("z", "y", "x", "pre_z", "pre_y", "pre_x", "post_z", "post_y", "post_x")),
    *(("size", np.int32), ("pre_pt_root_id", np.uint64), ("post_pt_root_id", np.uint64), ("score", np.float32)),
    *(("pre_pt_supervoxel_id", np.uint64), ("post_pt_supervoxel_id", np.uint64)),
)


class Learned(Params):
    """`--synapses learned`: dark spots that a network calls synapses."""

    synapses: Literal["learned"] = param("learned", HOW)
    synapse_model: str = param(
        "", "Folder of a network, as `voxelmill train --kind synapses` makes; empty: the one that comes along", path=True
    )
    synapse_threshold: float = param(0.3, "Least score of a synapse", ge=0, le=1)


class Blobs(Params):
    """`--synapses blobs`: dark blobs near boundaries."""

    synapses: Literal["blobs"] = param("blobs", HOW)
    blob_min_sigma: float = param(1.0, "Smallest blob", unit="px", gt=0, le=16)
    blob_max_sigma: float = param(4.0, "Largest blob", unit="px", gt=0, le=16)
    blob_scales: int = param(6, "Number of scales from smallest to largest", ge=1, le=20)
    blob_threshold: float = param(0.08, "Least response, in units of the section's range of grey", ge=0, le=2)


Parameters = Methods("synapses", Learned, Blobs)


def run(
    p: Learned | Blobs,
    task: Task,
    *,
    volume: In,
    labels: In,
    supervoxels: In,
    block: str,
    model: In | None = None,
    candidates: Out,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image, segments, pieces = open_image(volume), open_image(labels), open_image(supervoxels)
    if isinstance(p, Learned):
        scale = checked(task, model or MODEL, image)
        work = partial(synapses_of, p, model or MODEL, image, segments, pieces, scale)
    else:
        work = partial(candidates_of, p, image, segments, pieces)
    shards = list(blocks.regions(image.layout(), block))
    parts = list(task.each(work, shards, "shards searched"))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    alone = columns.pop("alone", np.zeros(0))
    pq.write_table(pa.table(columns), candidates, compression="zstd")
    task.report(candidates=len(columns["z"]), **({"without_partner": int(alone.sum())} if alone.sum() else {}))


def checked(task: Task, folder: Path, image: Image) -> tuple[float, ...]:
    """The voxel size to work with, once the model is known to be one of synapses. Raises DataError."""
    card = task.model(folder).card
    if card["kind"] != "synapses":
        raise DataError(f"{folder}: a model of kind {card['kind']}; --synapses learned expects one of synapses")
    remark = unlike(card, image)
    if not image.space.known:
        remark = f"the voxel size is not known, and {ASSUMED} nm is taken; give --voxel_size"
    if remark:
        print(f"WARNING [synapses] {remark}", file=sys.stderr)
        task.report(notes=[remark])
    return tuple(image.space.scale) if image.space.known else ASSUMED


@cache
def network(folder: Path) -> densities.Network:
    """The network of a folder, as a function; one a process."""
    session = models.load(folder).session
    return lambda cube: float(session.run(None, {"x": cube[None, None]})[0][0])


def synapses_of(
    p: Learned, folder: Path, image: Image, segments: Image, pieces: Image, scale: tuple[float, ...], region: Region
) -> dict[str, np.ndarray]:
    """Synapses of a region, a row a partner, by z, y, x; `alone` counts those of which no two neurites are near."""
    tiles = levels.tiles(region, TILE)
    parts = [synapses_in(p, folder, image, segments, pieces, scale, tile) for tile in tiles]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort([columns[name] for name in "xyz"])  # partners of one density stay as they are
    return {name: column if name == "alone" else column[order] for name, column in columns.items()}


def synapses_in(
    p: Learned, folder: Path, image: Image, segments: Image, pieces: Image, scale: tuple[float, ...], region: Region
) -> dict[str, np.ndarray]:
    """The same of what is looked at at once."""
    outer, core = blocks.widen(region, densities.reach(scale), image.shape)
    sections, start = image.read(outer), np.array([s.start for s in outer])
    at, score = densities.detect(network(folder), sections, scale, p.synapse_threshold, core)
    at = at + start
    wide, _ = blocks.widen(region, around(scale), image.shape)
    corner = np.array([s.start for s in wide])
    ids, sv = (store.read(wide) if len(at) else np.zeros((0, 0, 0), np.uint64) for store in (segments, pieces))
    rows, alone = [], 0
    for point, s in zip(at, score, strict=True):
        box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(point - corner, around(scale), strict=True))
        found = partners(ids[box], [c - b.start for c, b in zip(point - corner, box, strict=True)], scale)
        if found is None:
            alone += 1
            continue
        size = densities.extent(sections, point - start, scale)
        before = point + found.pre_at
        for post, offset in found.posts:
            behind = point + offset
            names = (sv[tuple(q - corner)] for q in (before, behind))
            rows.append((*point, *before, *behind, size, found.pre, post, s, *names))
    table = np.array(rows, dtype=list(COLUMNS))
    return {name: np.ascontiguousarray(table[name]) for name, _ in COLUMNS} | {"alone": np.array([alone])}


def candidates_of(p: Blobs, image: Image, segments: Image, pieces: Image, region: Region) -> dict[str, np.ndarray]:
    """Candidates of a region with the supervoxels at their points: these stay true when segments are cut or joined."""
    rows = search(p, image, segments, region)
    columns = {name: np.ascontiguousarray(rows[name]) for name in blobs.DTYPE.names or () if name != "sigma"}
    disc = 2 * np.pi * rows["sigma"].astype(np.float64) ** 2  # of radius 1.41 sigma
    columns["size"] = np.rint(disc).astype(np.int32)
    outer, _ = blocks.widen(region, (0, blobs.REACH, blobs.REACH), image.shape)
    ids = pieces.read(outer) if len(rows) else np.zeros((0, 0, 0), np.uint64)
    for side in ("pre", "post"):
        columns[f"{side}_z"] = columns["z"]
        at = (rows["z"], rows[f"{side}_y"], rows[f"{side}_x"])
        near = tuple(axis - part.start for axis, part in zip(at, outer, strict=True))
        columns[f"{side}_pt_supervoxel_id"] = ids[near].astype(np.uint64)
    return {name: columns[name] for name, _ in COLUMNS}


def search(p: Blobs, image: Image, segments: Image, region: Region) -> np.ndarray:
    """Candidates of a region, as `blobs.DTYPE`; it reads what the largest blob reaches over."""
    reach = blobs.halo(p.blob_min_sigma, p.blob_max_sigma, p.blob_scales)
    outer, _ = blocks.widen(region, (0, reach, reach), image.shape)
    sections = image.read(outer)
    return blobs.detect(
        sections,
        segments.read(outer),
        np.tile([0, 255], (len(sections), 1)),
        first_section=region[0].start,
        section_shape=(image.shape[1], image.shape[2]),
        origin=(outer[1].start, outer[2].start),
        core=((region[1].start, region[1].stop), (region[2].start, region[2].stop)),
        min_sigma=p.blob_min_sigma,
        max_sigma=p.blob_max_sigma,
        num_sigma=p.blob_scales,
        threshold=p.blob_threshold,
    )
