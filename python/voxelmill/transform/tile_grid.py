"""A mosaic grid: the tiles of one slice by number, lazily.

Its store holds the tiles side by side, no overlap removed; the chunk of the array is one tile at full depth:

    dim 2 ->          my                  number of a tile = mx * n_my + my
  dim 1  +------+------+------+           dim 1 is called y in the store, and holds stage x
    |    |  0   |  1   |  2   |  mx 0     dim 2 is called x, and holds stage y
    v    +------+------+------+
         |  3   |  4   |  5   |  mx 1     A tile that was not acquired is 0 throughout; 0 is no grey value.
         +------+------+------+

Positions of tiles are (n, 2), px along dim 1 and dim 2, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from ..core import manifest
from ..core.errors import DataError
from ..core.space import Axis, Space
from ..core.volume import Layout, create_image, open_image

MM = "millimeter"
NM_PER_MM = 1e6
DIGITS = 12  # of lengths in mm: finer ones are lost between mm and nm
SATURATED = 0.01  # part of a tile's voxels that have its highest value
LEVELS = 64  # grey values: of fewer each is frequent
TOP = np.float32(1 - 1e-4)  # of the highest value: resampling does not keep it to the last bit
PART = 2**20  # voxels of a tile that are worked on at a time: besides tiles themselves, memory does not grow with them


@dataclass(frozen=True)
class TileGrid:
    """tile (nz, ny, nx) px, counts (n_mx, n_my), `space` of the mosaic grid in mm; read(i) gives a tile, float32.

    lost    voxels that are NaN or infinite, by tile, of tiles that were read
    full    of tiles where so many voxels have the highest value that it is no chance: their part, and the value"""

    tile: tuple[int, int, int]
    counts: tuple[int, int]
    space: Space
    read: Callable[[int], np.ndarray]
    lost: dict[int, int] = field(default_factory=dict)
    full: dict[int, tuple[float, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.counts[0] * self.counts[1]

    @property
    def shapes(self) -> np.ndarray:
        """(n, 2) px: all tiles have one."""
        return np.tile(self.tile[1:], (len(self), 1))

    @property
    def places(self) -> np.ndarray:
        """(n, 2): mx and my of each tile."""
        return np.stack(np.divmod(np.arange(len(self)), self.counts[1]), 1)

    def mapped(
        self, f: Callable[[np.ndarray], np.ndarray], tile: tuple[int, int, int] | None = None, space: Space | None = None
    ) -> TileGrid:
        """The grid of what `f` makes of each tile, when it is asked for."""
        read = self.read
        return replace(self, tile=tile or self.tile, space=space or self.space, read=lambda i: f(read(i)))

    def by_rows(self, f: Callable[[np.ndarray, slice], np.ndarray]) -> TileGrid:
        """As `mapped`, where A-lines are independent of each other: `f` is given some rows (nz, n, nx), and which."""

        def made(tile: np.ndarray) -> np.ndarray:
            out = np.empty(tile.shape, np.float32)
            for rows in parts(tile.shape):
                out[:, rows] = f(tile[:, rows], rows)
            return out

        return self.mapped(made)

    def kept(self) -> TileGrid:
        """The same, each tile made once and kept in a nameless file of the working folder: read is what is looked at."""
        file = TemporaryFile(dir=".")  # noqa: SIM115 it goes with the grid
        size, at = 4 * int(np.prod(self.tile)), dict[int, int]()

        def read(i: int) -> np.ndarray:
            if i not in at:
                file.seek(size * len(at))
                file.write(np.ascontiguousarray(self.read(i), np.float32).data)
                file.flush()
                at[i] = len(at)
            return np.memmap(file, np.float32, "r", size * at[i], self.tile).view(np.ndarray)

        return replace(self, read=read)

    def save(self, path: Path) -> None:
        """Write it as a store: a chunk and a file a tile."""
        nz, ny, nx = self.tile
        shape = (nz, ny * self.counts[0], nx * self.counts[1])
        image = create_image(path, Layout(shape, "float32", self.tile, self.tile), self.space)
        for i, (mx, my) in enumerate(self.places.tolist()):
            image.write((slice(0, nz), slice(mx * ny, (mx + 1) * ny), slice(my * nx, (my + 1) * nx)), self.read(i))


def open_grid(path: Path) -> TileGrid:
    """The grid in a store. What is NaN or infinite there counts as not acquired; `lost` says how much that is, `full` how
    much is saturated.

    Raises DataError where a chunk is not a tile, or the voxel size is not known."""
    image = open_image(path)
    image.sparse = manifest.around(image.path()) is None  # others need not store what is 0
    lay = image.layout()
    if len(lay.shape) != 3 or lay.chunk[0] != lay.shape[0] or any(n % c for n, c in zip(lay.shape, lay.chunk)):
        raise DataError(
            f"{path}: shape {lay.shape}, chunk {lay.chunk}; expected axes z, y, x and one chunk a tile: at full depth, "
            "dividing the mosaic evenly. Make the mosaic grid with --workflow mosaic"
        )
    if not image.space.known:
        raise DataError(f"{path}: voxels of unknown size; expected a unit of length for z, y and x in its metadata")
    nz, ny, nx = lay.chunk
    counts = (lay.shape[1] // ny, lay.shape[2] // nx)
    lost: dict[int, int] = {}
    full: dict[int, tuple[float, float]] = {}

    def read(i: int) -> np.ndarray:
        mx, my = divmod(i, counts[1])
        tile = image.read((slice(0, nz), slice(mx * ny, (mx + 1) * ny), slice(my * nx, (my + 1) * nx)))
        tile, n = finite(tile.astype(np.float32, copy=False))
        if n:
            lost[i] = n
        if found := saturated(tile):
            full[i] = found
        return tile

    return TileGrid((nz, ny, nx), counts, in_mm(image.space), read, lost, full)


def saturated(tile: np.ndarray) -> tuple[float, float] | None:
    """The part of a tile that has its highest value, where that is no chance, and the value."""
    most = tile.max()
    part = sum(np.count_nonzero(tile[:, rows] >= most * TOP) for rows in parts(tile.shape)) / tile.size
    if most <= 0 or part < SATURATED or (part <= 0.5 and len(np.unique(tile)) <= LEVELS):
        return None
    return part, float(most)


def parts(tile: Sequence[int]) -> Iterator[slice]:
    """Rows of a tile (nz, ny, nx), about PART voxels at a time; an even number, but for the last."""
    nz, ny, nx = tile
    step = max(2, PART // (nz * nx) // 2 * 2)
    return (slice(first, min(ny, first + step)) for first in range(0, ny, step))


def finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Float values, 0 for what is NaN or infinite; and how many that are."""
    if np.isfinite(values.sum(dtype=np.float64)):
        return values, 0
    return np.nan_to_num(values, nan=0, posinf=0, neginf=0), int((~np.isfinite(values)).sum())


def in_mm(space: Space) -> Space:
    """A space of `open_image`, in mm, as the stores of slices have it."""
    axes = [Axis(a.name, a.type, MM) for a in space.axes]
    return rounded(Space.of(axes, *([v / NM_PER_MM for v in values] for values in (space.scale, space.origin))))


def rounded(space: Space) -> Space:
    """A space in mm, the same whether or not it went through a store."""
    return replace(
        space, scale=tuple(round(v, DIGITS) for v in space.scale), origin=tuple(round(v, DIGITS) for v in space.origin)
    )
