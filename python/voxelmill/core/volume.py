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
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, StorageError

Region = tuple[slice, ...]
NM = "nanometer"
MOST_METADATA = 2**24  # bytes of one metadata file
MOST_IN_CHUNK = 2**30  # values that must be decoded together


@dataclass(frozen=True)
class Axis:
    """One axis of an image: `z` in nanometer, `t` in second, `c` without unit."""

    name: str
    type: str = "space"
    unit: str | None = NM


ZYX = (Axis("z"), Axis("y"), Axis("x"))


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
        return tuple(-(-n // s) for n, s in zip(self.shape, self.shard))


def layout(shape: Sequence[int], dtype: Any, shard: Sequence[int], chunk: Sequence[int]) -> Layout:
    """A layout whose shards are no larger than the array needs: whole chunks that cover it."""
    small = tuple(min(c, n) for c, n in zip(chunk, shape))
    cover = tuple(min(-(-s // c), -(-n // c)) * c for s, c, n in zip(shard, small, shape))
    return Layout(tuple(shape), np.dtype(dtype).name, small, cover)


@dataclass
class Image:
    """One multiscale image (or label image) inside a store."""

    root: Path  # the folder with the multiscales metadata
    axes: tuple[Axis, ...] = ZYX
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)  # of level 0, in the axes' units
    levels: int = 1
    version: str = "0.5"
    paths: tuple[str, ...] = ()  # of the levels, where they are not 0, 1, 2, ...
    _open: dict[int, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """A worker process opens its arrays itself."""
        return {**self.__dict__, "_open": {}}

    def path(self, n: int = 0) -> Path:
        """The folder of a level's array."""
        return self.root / (self.paths[n] if self.paths else str(n))

    def level(self, n: int = 0) -> Any:
        """The TensorStore of a level; `.shape`, `.dtype`, indexing, `.read()`."""
        if n not in self._open:
            self._open[n] = open_array(self.path(n))
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
        """Read a region; raises DataError where a chunk is damaged or missing."""
        try:
            return self.level(level)[region].read().result()
        except ValueError as error:
            raise DataError(
                f"{self.path(level)}: {first_line(error)}; the store is damaged, re-run the stage that made it"
            ) from None

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
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "fill_missing_data_reads": sparse,
        "store_data_equal_to_fill_value": True,
    }
    try:
        return ts.open(spec, open=True, context=context()).result()
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot open this Zarr array: {first_line(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a metadata file. Raises DataError where there is none."""
    try:
        if path.stat().st_size > MOST_METADATA:
            raise DataError(f"{path}: {path.stat().st_size} bytes of metadata; expected under {MOST_METADATA}")
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__} where an object is expected")
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not readable as metadata ({error}); write it again") from None
    return found


def check_metadata(meta: dict[str, Any], path: Path | str) -> None:
    """Refuse an array's metadata (Zarr v2 or v3, from this file) that no real volume has, before anything is allocated.

    Raises DataError naming the field: shape, chunk shape, inner chunk shape."""
    try:
        if "chunks" in meta:
            fields = {"shape": meta["shape"], "chunks": meta["chunks"]}
        else:
            outer = meta["chunk_grid"]["configuration"]["chunk_shape"]
            fields = {"shape": meta["shape"], "chunk_shape": outer}
            for codec in meta["codecs"]:
                if codec["name"] == "sharding_indexed":
                    fields["inner chunk_shape"] = codec["configuration"]["chunk_shape"]
        for name, value in fields.items():
            if len(value) != len(meta["shape"]) or not all(type(n) is int and 0 < n < 2**40 for n in value):
                raise DataError(f"{path}: {name} is {str(value)[:80]}; expected whole numbers, 1 to 2^40, one per axis")
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a Zarr array's metadata ({type(error).__name__}: {error})") from None
    name, chunk = fields.popitem()
    size = float(np.prod([float(min(c, n)) for c, n in zip(chunk, meta["shape"])]))
    if size > MOST_IN_CHUNK:
        raise DataError(
            f"{path}: {name} {chunk} means {size:.1e} values in one chunk; expected under {MOST_IN_CHUNK:.1e}. Rechunk it"
        )


def create_array(path: Path, lay: Layout, *, fill: int | float = 0, names: Sequence[str] = "zyx", codec: str = "zstd") -> Any:
    """Create a Zarr v3 array: sharded, blosc (zstd, or lz4 where reading must be fast) and crc32c."""
    import tensorstore as ts

    size = np.dtype(lay.dtype).itemsize
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if size > 1:
        to_bytes["configuration"] = {"endian": "little"}
    blosc = {"cname": codec, "clevel": 1, "shuffle": "shuffle" if size > 1 else "noshuffle", "typesize": size, "blocksize": 0}
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
                        "codecs": [to_bytes, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
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


def multiscales(
    axes: Sequence[Axis], scales: Sequence[Sequence[float]], translations: Sequence[Sequence[float]], name: str
) -> dict:
    """The `multiscales` entry (OME-NGFF 0.5, section 3.4)."""
    described = [{"name": a.name, "type": a.type, **({"unit": a.unit} if a.unit else {})} for a in axes]
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": [float(v) for v in s]},
                {"type": "translation", "translation": [float(v) for v in t]},
            ],
        }
        for n, (s, t) in enumerate(zip(scales, translations))
    ]
    return {"name": name, "axes": described, "datasets": datasets}


def write_group(root: Path, attributes: dict[str, Any] | None = None, version: str = "0.5") -> None:
    """Write a group's metadata: `zarr.json` with `ome`, or `.zgroup` and `.zattrs` for 0.4."""
    root.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        ome = {"ome": {"version": "0.5", **attributes}} if attributes else {}
        text = {"zarr_format": 3, "node_type": "group", "attributes": ome}
        (root / "zarr.json").write_text(json.dumps(text, indent=1))
        return
    (root / ".zgroup").write_text('{"zarr_format": 2}')
    if attributes:
        scales = [{**m, "version": "0.4"} for m in attributes.get("multiscales", [])]
        body = {**attributes, **({"multiscales": scales} if scales else {})}
        if "image-label" in body:
            body["image-label"] = {**body["image-label"], "version": "0.4"}
        (root / ".zattrs").write_text(json.dumps(body, indent=1))


def create_image(
    root: Path,
    lay: Layout,
    voxel_size: Sequence[float],
    *,
    axes: Sequence[Axis] = ZYX,
    label: bool = False,
    fill: int | float = 0,
) -> Image:
    """Create an image with level 0 only.

    Args:
        root: folder to make; its name becomes the image's name.
        lay: shape, dtype, chunk and shard of level 0.
        voxel_size: one number per axis, in the axes' units (nm for space).
        label: a label image (integer ids, 0 is background).
    """
    check_scale(voxel_size, root)
    entry = multiscales(axes, [voxel_size], [[0.0] * len(axes)], root.name.split(".")[0])
    extra: dict[str, Any] = {"image-label": {"source": {"image": "../../"}}} if label else {}
    write_group(root, {"multiscales": [entry], **extra})
    create_array(root / "0", lay, fill=fill, names=[a.name for a in axes])
    return Image(root, tuple(axes), tuple(float(v) for v in voxel_size))


def create_labels(store: Path, name: str, lay: Layout, voxel_size: Sequence[float], **more: Any) -> Image:
    """Create a label image under `labels/` of a store and list it there."""
    known = list_labels(store)
    write_group(store / "labels", {"labels": sorted({*known, name})})
    return create_image(store / "labels" / name, lay, voxel_size, label=True, **more)


def list_labels(store: Path) -> list[str]:
    """Names of the label images of a store."""
    return list(_attributes(store / "labels").get("labels", []))


def is_label(root: Path) -> bool:
    """Whether an image is one of ids."""
    return "image-label" in _attributes(root)


def check_scale(scale: Iterable[float], where: Path | str) -> None:
    """Raises DataError unless every voxel size is a positive finite number."""
    numbers = [float(v) for v in scale]
    if not all(np.isfinite(v) and v > 0 for v in numbers):
        raise DataError(f"{where}: voxel size {numbers}; expected positive numbers (nm)")


def _attributes(root: Path) -> dict[str, Any]:
    """OME attributes of a group, of 0.5 or 0.4; empty where there are none."""
    if (root / "zarr.json").exists():
        attributes = read_json(root / "zarr.json").get("attributes", {})
        found = attributes.get("ome", attributes) if isinstance(attributes, dict) else attributes
    elif (root / ".zattrs").exists():
        found = read_json(root / ".zattrs")
    else:
        return {}
    if not isinstance(found, dict):
        raise DataError(f"{root}: attributes are a {type(found).__name__}; expected an object")
    return found


_PREFIX = {"femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "": 0}
PER_NM = {f"{prefix}meter": 10.0 ** (power + 9) for prefix, power in _PREFIX.items()} | {
    "angstrom": 0.1,
    "å": 0.1,
    "nm": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "\u03bcm": 1e3,
    "micron": 1e3,
    "mm": 1e6,
    "m": 1e9,
}


def open_image(root: Path, labels: str | None = None) -> Image:
    """Open an image (or one of its label images); scale is returned in nm for spatial axes.

    An axis without a unit keeps its number, and its `Axis.unit` is None.
    Raises StorageError where there is no image, DataError naming the field that is wrong."""
    root = root / "labels" / labels if labels else root
    found = _attributes(root)
    if not found.get("multiscales"):
        raise StorageError(f"{root}: not an OME-Zarr image (no multiscales in zarr.json or .zattrs)")
    try:
        entry = found["multiscales"][0]
        axes = tuple(Axis(str(a["name"]), str(a.get("type", "space")), a.get("unit")) for a in entry["axes"])
        paths = tuple(str(d["path"]) for d in entry["datasets"])
        scale = _scale(entry, len(axes))
        to_nm = [_to_nm(a) for a in axes]
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(f"{root}: multiscales metadata is malformed ({type(error).__name__}: {error})") from None
    check_scale(scale, root)
    for path in paths:
        if ".." in Path(path).parts or Path(path).is_absolute():
            raise DataError(f"{root}: datasets path {path!r} leads out of the store")
    in_nm = tuple(Axis(a.name, a.type, NM if a.type == "space" and a.unit else a.unit) for a in axes)
    version = "0.5" if (root / "zarr.json").exists() else "0.4"
    return Image(root, in_nm, tuple(float(v * f) for v, f in zip(scale, to_nm)), len(paths), version, paths)


def _scale(entry: dict[str, Any], count: int) -> np.ndarray:
    """Voxel size of level 0: the dataset's scale times that of the whole multiscales."""
    parts = [t["scale"] for t in entry["datasets"][0]["coordinateTransformations"] if t["type"] == "scale"]
    parts += [t["scale"] for t in entry.get("coordinateTransformations", []) if t["type"] == "scale"]
    if not parts or any(len(part) != count for part in parts):
        raise DataError(f"coordinateTransformations: scale {parts}; expected {count} numbers, one per axis")
    return np.prod(np.asarray(parts, float), axis=0)


def _to_nm(axis: Axis) -> float:
    if axis.type != "space" or axis.unit is None:
        return 1.0
    if axis.unit not in PER_NM:
        raise DataError(f"unit {str(axis.unit)[:40]!r} of axis {axis.name}; expected a unit of length, as nanometer")
    return PER_NM[axis.unit]
