"""Volumes: OME-Zarr 0.5 (Zarr v3, sharded) between stages; 0.5 or 0.4 at the end.

    NAME.ome.zarr/            group with `ome.multiscales`: axes, nm, scale and translation per level
      0/  1/  ...             levels; level 0 alone between stages
      labels/NAME/0/ ...      label images on the same grid

Arrays are (z, y, x) unless their axes say otherwise. Shards are written whole, one file each; every
inner chunk carries a crc32c, so a flipped bit is an error and not a value. Chunks that hold only the
fill value are stored too, so that a missing file is always a fault. TensorStore does the reading and
writing; it imports in a tenth of zarr-python's time.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import manifest, ngff
from .errors import DataError, StorageError
from .files import plain
from .metadata import attributes, check_metadata, multiscales, read_json, write_group
from .space import NM, Axis, Space, nm_per

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Layout:
    """How an array lies on disk. `shard` is a multiple of `chunk`; `chunk` alone means no sharding."""

    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...]
    shard: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of shards along each axis."""
        return tuple(-(-n // s) for n, s in zip(self.shape, self.shard, strict=True))


def layout(shape: Sequence[int], dtype: Any, shard: Sequence[int], chunk: Sequence[int]) -> Layout:
    """A layout whose shards are no larger than the array needs: whole chunks that cover it."""
    if not len(shape) == len(shard) == len(chunk):
        raise DataError(f"shard {tuple(shard)}, chunk {tuple(chunk)}; expected {len(shape)} numbers each, one for each axis")
    small = tuple(min(c, n) for c, n in zip(chunk, shape, strict=True))
    cover = tuple(min(-(-s // c), -(-n // c)) * c for s, c, n in zip(shard, small, shape, strict=True))
    return Layout(tuple(shape), np.dtype(dtype).name, small, cover)


@dataclass
class Image:
    """One multiscale image (or label image) inside a store."""

    root: Path  # the folder with the multiscales metadata
    space: Space = field(default_factory=lambda: Space.zyx(None))  # of level 0
    levels: int = 1
    version: str = "0.5"
    paths: tuple[str, ...] = ()  # of the levels, where they are not 0, 1, 2, ...
    spaces: tuple[Space, ...] = ()  # of the levels, where they are known
    sparse: bool = False  # chunks that are not there hold the fill value, see `open_array`
    _open: dict[int, Any] = field(default_factory=dict, repr=False)
    _shards: dict[int, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens its arrays itself."""
        return {**self.__dict__, "_open": {}, "_shards": {}}

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.space.axes

    @property
    def scale(self) -> tuple[float, ...]:
        """Of level 0, in the axes' units: nm for space where it is known."""
        return self.space.scale

    @property
    def origin(self) -> tuple[float, ...]:
        """Where voxel 0 has its centre, in the axes' units."""
        return self.space.origin

    def at_level(self, n: int) -> Space:
        """Where the voxels of a level lie."""
        return self.spaces[n] if self.spaces else self.space

    def path(self, n: int = 0) -> Path:
        """The folder of a level's array."""
        return self.root / (self.paths[n] if self.paths else str(n))

    def level(self, n: int = 0) -> Any:
        """The TensorStore of a level; `.shape`, `.dtype`, indexing, `.read()`."""
        if n not in self._open:
            manifest.checked(self.path(n) / "zarr.json")
            self._open[n] = open_array(self.path(n), self.sparse)
        return self._open[n]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.level().shape)

    @property
    def dtype(self) -> np.dtype:
        return self.level().dtype.numpy_dtype

    def layout(self, n: int = 0) -> Layout:
        """Shape, dtype, chunk and shard of a level."""
        array = self.level(n)
        grid = array.chunk_layout
        return Layout(tuple(array.shape), self.dtype.name, tuple(grid.read_chunk.shape), tuple(grid.write_chunk.shape))

    def read(self, region: Region | slice | int = slice(None), level: int = 0) -> np.ndarray:
        """Read a region; raises DataError where a chunk is damaged or missing, or not as the store's manifest has it."""
        self._check(region, level)
        try:
            return self.level(level)[region].read().result()
        except ValueError as error:
            raise DataError(
                f"{self.path(level)}: {first_line(error)}; the store is damaged, re-run the stage that made it"
            ) from None

    def _check(self, region: Region | slice | int, level: int) -> None:
        """Check the shards that a region touches, in a task, where the store has a manifest."""
        if level not in self._shards:
            found = manifest.around(self.path(level))
            self._shards[level] = found and (*found, self.layout(level))
        if not self._shards[level]:
            return
        listed, inside, lay = self._shards[level]
        parts = region if isinstance(region, tuple) else (region,)
        parts = (*parts, *[slice(None)] * (len(lay.shape) - len(parts)))
        spans = [p.indices(n) if isinstance(p, slice) else (p, p + 1, 1) for p, n in zip(parts, lay.shape, strict=True)]
        grid = [range(start // s, -(-stop // s)) for (start, stop, _), s in zip(spans, lay.shard, strict=True)]
        for at in itertools.product(*grid):
            listed.check(f"{inside}{'c/' if self.version != '0.4' else ''}{'/'.join(map(str, at))}")

    def write(self, region: Region, values: np.ndarray, level: int = 0) -> None:
        """Write a region that covers whole shards (except at the array's end).

        Raises OSError (no space left) or StorageError when the disk refuses."""
        try:
            self.level(level)[region].write(values).result()
        except ValueError as error:
            raise _refused(self.path(level), error) from None


def _refused(path: Path, error: Exception) -> OSError:
    """TensorStore tells of a full disk in words only; the stage contract wants the number."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in str(error):
            return OSError(number, os.strerror(number), str(path))
    return StorageError(f"{path}: cannot be written: {first_line(error)}")


def first_line(error: Exception) -> str:
    return str(error).split("[source locations")[0].strip().split("\n")[0][:300]


def _context() -> Any:
    """TensorStore's thread pools, held to what the task was given."""
    import tensorstore as ts

    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or 1))
    return ts.Context(
        {
            "data_copy_concurrency": {"limit": threads},
            "file_io_concurrency": {"limit": threads},
            "cache_pool": {"total_bytes_limit": 0},
        }
    )


_shared: list[Any] = []


def context() -> Any:
    if not _shared:
        _shared.append(_context())
    return _shared[0]


def open_array(path: Path, sparse: bool = False) -> Any:
    """Open an existing Zarr v2 or v3 array.

    Args:
        sparse: chunks that are not there read as the fill value, as the Zarr standard has it. Our own
            volumes store every chunk: one that is missing was lost, and reading it is an error.

    Raises StorageError where there is none, DataError where its metadata cannot be used."""
    import tensorstore as ts

    v3 = (path / "zarr.json").exists()
    if not v3 and not (path / ".zarray").exists():
        raise StorageError(f"{path}: no Zarr array here (neither zarr.json nor .zarray)")
    file = path / ("zarr.json" if v3 else ".zarray")
    check_metadata(read_json(file), file)
    spec = {
        "driver": "zarr3" if v3 else "zarr",
        "kvstore": {"driver": "file", "path": f"{plain(path)}/"},
        "fill_missing_data_reads": sparse,
        "store_data_equal_to_fill_value": True,
    }
    try:
        return ts.open(spec, open=True, context=context()).result()
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot open this Zarr array: {first_line(error)}") from None


def create_array(path: Path, lay: Layout, *, fill: int | float = 0, names: Sequence[str] = "zyx", codec: str = "zstd") -> Any:
    """Create a Zarr v3 array: sharded, blosc (zstd; lz4 where reading must be fast; none for a task's scratch) and crc32c."""
    import tensorstore as ts

    size = np.dtype(lay.dtype).itemsize
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if size > 1:
        to_bytes["configuration"] = {"endian": "little"}
    shuffle = "shuffle" if size > 1 else "noshuffle"
    packed = {"cname": codec, "clevel": 1, "shuffle": shuffle, "typesize": size, "blocksize": 0}
    blosc = [] if codec == "none" else [{"name": "blosc", "configuration": packed}]
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(lay.shape),
            "data_type": lay.dtype,
            "fill_value": fill,
            "dimension_names": list(names),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(lay.shard)}},
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": list(lay.chunk),
                        "codecs": [to_bytes, *blosc, {"name": "crc32c"}],
                        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                    },
                }
            ],
        },
    }
    try:
        return ts.open(spec, create=True, open=True, context=context()).result()
    except ValueError as error:
        raise _refused(path, error) from None


def create_image(
    root: Path, lay: Layout, space: Space, *, label: bool = False, fill: int | float = 0, codec: str = "zstd"
) -> Image:
    """Create an image with level 0 only.

    Args:
        root: folder to make; its name becomes the image's name.
        lay: shape, dtype, chunk and shard of level 0.
        space: where its voxels lie.
        label: a label image (integer ids, 0 is background).
        codec: see `create_array`.
    Raises:
        DataError: the layout has another number of axes than the space.
    """
    if not len(lay.shape) == len(lay.chunk) == len(lay.shard) == len(space.axes):
        raise DataError(
            f"{root}: shape {lay.shape}, chunk {lay.chunk}, shard {lay.shard}; expected {len(space.axes)} numbers each, "
            f"for axes {', '.join(a.name for a in space.axes)}"
        )
    entry = multiscales([space], root.name.split(".")[0])
    extra: dict[str, Any] = {"image-label": {"source": {"image": "../../"}}} if label else {}
    write_group(root, {"multiscales": [entry], **extra})
    create_array(root / "0", lay, fill=fill, names=[a.name for a in space.axes], codec=codec)
    return Image(root, space)


def create_labels(store: Path, name: str, lay: Layout, space: Space, **more: Any) -> Image:
    """Create a label image under `labels/` of a store and list it there."""
    known = list_labels(store)
    write_group(store / "labels", {"labels": sorted({*known, name})})
    return create_image(store / "labels" / name, lay, space, label=True, **more)


def list_labels(store: Path) -> list[str]:
    """Names of the label images of a store."""
    return list(attributes(store / "labels").get("labels", []))


def is_label(root: Path) -> bool:
    """Whether an image is one of ids."""
    return "image-label" in attributes(root)


def open_image(root: Path, labels: str | None = None) -> Image:
    """Open an image (or one of its label images); its space is in nm along spatial axes.

    An axis without a unit keeps its numbers, and its `Axis.unit` is None.
    Raises StorageError where there is no image, DataError naming what is wrong."""
    root = root / "labels" / labels if labels else root
    manifest.checked(root / "zarr.json")
    try:
        found = ngff.multiscales(attributes(root))
        if found is None:
            raise StorageError(f"{root}: not an OME-Zarr image (no multiscales in zarr.json or .zattrs)")
        if found.scales is None or found.translations is None:
            raise DataError(f"OME-Zarr {found.version}, which states no scale; expected 0.4 or later")
        axes = [Axis(*of) for of in zip(found.axes, found.types, found.units, strict=True)]
        per = [_to_nm(a) for a in axes]
        ours = [Axis(a.name, a.type, NM if a.type == "space" and a.unit else a.unit) for a in axes]
        spaces = tuple(
            Space.of(ours, np.multiply(scale, per).tolist(), np.multiply(shift, per).tolist())
            for scale, shift in zip(found.scales, found.translations, strict=True)
        )
    except DataError as error:
        raise DataError(f"{root}: {str(error).removeprefix(f'{root}: ')}") from None
    version = found.version if (root / "zarr.json").exists() else "0.4"
    return Image(root, spaces[0], len(found.paths), version, found.paths, spaces)


def _to_nm(axis: Axis) -> float:
    if axis.type != "space" or axis.unit is None:
        return 1.0
    per = nm_per(axis.unit)
    if per is None:
        raise DataError(f"unit {str(axis.unit)[:40]!r} of axis {axis.name}; expected a unit of length, as nanometer")
    return per
