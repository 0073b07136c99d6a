"""Stitch tiles: the tiles of all sections at their places, made into one volume, shard by shard.

A task holds a shard of the volume and of one tile what lies in it, however large the mosaic is. Depth 1, or any
other, is one code.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ..core import blocks
from ..core.provenance import Task
from ..core.stage import In, Out
from ..core.volume import Image, Region, create_image
from ..ingest.tiles.plain import Pixels, Reader
from ..ingest.tiles.tiling import Tile, by_section, positions_of
from . import illumination
from .mosaic_fusion import Blended, fuse
from .plan_mosaic import Mosaic, sections_of


class Parameters(Blended):
    """Stitching."""


def run(p: Parameters, task: Task, *, source: Path, mosaic: In, block: str, output: Out) -> None:
    """`source` is no `In`: its digest stands in the record of `inspect_tiles`."""
    made = Mosaic.load(mosaic)
    target = create_image(output, made.layout, made.space)
    regions = list(blocks.regions(made.layout, block))
    sections = sections_of(made, block)
    tiles = {s: of for s, of in by_section(made.tiles).items() if s in sections}
    read = Lit(Reader(source, made.model_copy(update={"tiles": []})), made.field)
    task.do(partial(stitch, p, read, tiles, target), regions, "shards stitched")


class Lit:
    """Tiles of a reader, as if evenly lit; as they are without a field."""

    def __init__(self, read: Reader, field: illumination.Field | None):
        self.read, self.tiling, self.field = read, read.tiling, field
        self.flats: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, tile: Tile) -> Pixels:
        pixels, field = self.read(tile), self.field
        if field is None:
            return pixels
        if pixels.shape not in self.flats:
            self.flats = {pixels.shape: field.flat(pixels.shape[1:])}  # one at a time: mostly all have one size
        flat = self.flats[pixels.shape]
        return Pixels(pixels.shape, lambda y, x: illumination.correct(pixels[..., y, x], flat[y, x], field.dark))


def stitch(p: Parameters, read: Lit, tiles: dict[int, list[Tile]], target: Image, region: Region) -> None:
    """Write a shard."""
    (z, *box), depth = region, read.tiling.depth
    values = np.zeros([s.stop - s.start for s in region], read.tiling.dtype)
    for section in range(z.start // depth, -(-z.stop // depth)):
        first = section * depth  # of its planes, in the volume
        low, high = max(z.start, first), min(z.stop, first + depth)
        fused = fuse_section(p, read, tiles.get(section, []), (box[0], box[1]))
        values[low - z.start : high - z.start] = as_pixels(fused[low - first : high - first], values.dtype)
    target.write(region, values)


def fuse_section(p: Parameters, read: Lit, tiles: list[Tile], box: tuple[slice, slice]) -> np.ndarray:
    """(planes, y, x) float32 of a region of a section."""
    positions, shapes = positions_of(tiles)
    return fuse(lambda k: read(tiles[k]), positions, shapes, box, p.stitch_blending_method, read.tiling.depth)


def as_pixels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rounded and clipped to what the tiles are stored as; cubic interpolation may leave their range."""
    if dtype.kind == "f":
        return values.astype(dtype)
    most = np.iinfo(dtype)
    return np.clip(np.rint(values), most.min, most.max).astype(dtype)
