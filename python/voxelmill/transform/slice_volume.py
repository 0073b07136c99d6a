"""A slice: its tiles made into one volume (z, y, x), float32, lazily, so that steps can follow each other in one pass.

Each step is a function from a slice to a slice. Whether steps follow each other at once or with a store between
them, they see the same values in the same regions, and make the same bytes. 0 is where nothing was acquired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core import blocks
from ..core.space import Space
from ..core.volume import Layout, Region, create_image, layout, open_image
from .tile_grid import in_mm, rounded

CHUNK, SHARD = (32, 128, 128), (64, 256, 256)  # of the stores of slices: a shard is what is worked on at a time
LEAST = np.float32(1e-6)  # grey value of what was acquired and shows nothing


def slice_layout(shape: tuple[int, ...]) -> Layout:
    return layout(shape, np.float32, SHARD, CHUNK)


@dataclass(frozen=True)
class SliceVolume:
    """shape (nz, ny, nx), `space` in mm; read(region) gives float32."""

    shape: tuple[int, int, int]
    space: Space
    read: Callable[[Region], np.ndarray]

    def mapped(self, f: Callable[[np.ndarray, Region], np.ndarray]) -> SliceVolume:
        """The slice of what `f` makes of the values of a region."""
        read = self.read
        return replace(self, read=lambda region: f(read(region), region))

    def planes(self, first: int, stop: int) -> SliceVolume:
        """The planes from `first` to before `stop`."""
        read = self.read

        def part(region: Region) -> np.ndarray:
            z, *yx = region
            return read((slice(z.start + first, z.stop + first), *yx))

        return SliceVolume((stop - first, *self.shape[1:]), self.space.crop((first, 0, 0)), part)

    def parts(self) -> Iterator[tuple[Region, np.ndarray]]:
        """All regions, with what they hold: column of shards by column, so that what lies below comes next."""
        lay = slice_layout(self.shape)
        for region in sorted(blocks.regions(lay, f"0-{int(np.prod(lay.grid)) - 1}"), key=_by_column):
            yield region, self.read(region)

    def save(self, path: Path, codec: str = "zstd") -> SliceVolume:
        """Write it as a store; the slice that reads it. codec: see `core.volume.create_array`."""
        space = rounded(self.space)
        image = create_image(path, slice_layout(self.shape), space, codec=codec)
        for region, values in self.parts():
            image.write(region, values)
        return replace(self, space=space, read=image.read)


def _by_column(region: Region) -> tuple[int, ...]:
    z, y, x = region
    return y.start, x.start, z.start


def open_slice(path: Path) -> SliceVolume:
    image = open_image(path)
    shape: tuple[int, int, int] = image.shape  # type: ignore[assignment]
    return SliceVolume(shape, in_mm(image.space), image.read)
