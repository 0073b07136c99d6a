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

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, StorageError

Region = tuple[slice, ...]
NM = "nanometer"


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

    root: Path                                   # the folder with the multiscales metadata
    axes: tuple[Axis, ...] = ZYX
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)   # of level 0, in the axes' units
    levels: int = 1
    version: str = "0.5"
    _open: dict[int, Any] = field(default_factory=dict, repr=False)

    def level(self, n: int = 0) -> Any:
        """The TensorStore of a level; `.shape`, `.dtype`, indexing, `.read()`."""
        if n not in self._open:
            self._open[n] = open_array(self.root / str(n))
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
        return Layout(tuple(array.shape), self.dtype.name, tuple(grid.read_chunk.shape),
                      tuple(grid.write_chunk.shape))

    def read(self, region: Region | slice | int = slice(None), level: int = 0) -> np.ndarray:
        """Read a region; raises DataError where a chunk is damaged or missing."""
        try:
            return self.level(level)[region].read().result()
        except ValueError as error:
            raise DataError(f"{self.root}/{level}: {_first_line(error)}; the store is damaged, "
                            "re-run the stage that made it") from None

    def write(self, region: Region, values: np.ndarray, level: int = 0) -> None:
        """Write a region that covers whole shards (except at the array's end)."""
        self.level(level)[region].write(values).result()


def _first_line(error: Exception) -> str:
    return str(error).split("[source locations")[0].strip().split("\n")[0][:300]


def _context() -> Any:
    """TensorStore's thread pools, held to what the task was given."""
    import tensorstore as ts

    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or 1))
    return ts.Context({"data_copy_concurrency": {"limit": threads}, "file_io_concurrency": {"limit": threads},
                       "cache_pool": {"total_bytes_limit": 0}})


_shared: list[Any] = []


def context() -> Any:
    if not _shared:
        _shared.append(_context())
    return _shared[0]


def open_array(path: Path) -> Any:
    """Open an existing Zarr v2 or v3 array.

    Raises StorageError where there is none, DataError where its metadata cannot be used."""
    import tensorstore as ts

    v3 = (path / "zarr.json").exists()
    if not v3 and not (path / ".zarray").exists():
        raise StorageError(f"{path}: no Zarr array here (neither zarr.json nor .zarray)")
    check_metadata(path / ("zarr.json" if v3 else ".zarray"))
    spec = {"driver": "zarr3" if v3 else "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}}
    try:
        return ts.open(spec, open=True, context=context()).result()
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot open this Zarr array: {_first_line(error)}") from None


def check_metadata(path: Path) -> None:
    """Refuse metadata that no real volume has, before anything is allocated.

    Raises DataError naming the field: shape, chunk sizes."""
    try:
        text = path.read_text()
        meta = json.loads(text)
        shape = meta["shape"]
        chunks = meta["chunks"] if path.name == ".zarray" else meta["chunk_grid"]["configuration"]["chunk_shape"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not readable as Zarr metadata ({type(error).__name__}: {error})") from None
    for name, value in (("shape", shape), ("chunk shape", chunks)):
        if not all(isinstance(n, int) and 0 < n < 2**40 for n in value):
            raise DataError(f"{path}: {name} is {value}; expected whole numbers from 1 to 2^40")
    size = int(np.prod([float(min(c, n)) for c, n in zip(chunks, shape)]))
    if size > 2**33:
        raise DataError(f"{path}: chunk shape {chunks} means {size:.1e} values in one chunk; expected under 8.6e9")


def create_array(path: Path, lay: Layout, *, fill: int | float = 0, names: Sequence[str] = "zyx") -> Any:
    """Create a Zarr v3 array: sharded, blosc-zstd and crc32c."""
    import tensorstore as ts

    size = np.dtype(lay.dtype).itemsize
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if size > 1:
        to_bytes["configuration"] = {"endian": "little"}
    blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle" if size > 1 else "noshuffle",
             "typesize": size, "blocksize": 0}
    spec = {
        "driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"},
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(lay.shape), "data_type": lay.dtype, "fill_value": fill,
            "dimension_names": list(names),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(lay.shard)}},
            "codecs": [{"name": "sharding_indexed", "configuration": {
                "chunk_shape": list(lay.chunk),
                "codecs": [to_bytes, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            }}],
        },
    }
    return ts.open(spec, create=True, open=True, context=context()).result()


def multiscales(axes: Sequence[Axis], scales: Sequence[Sequence[float]],
                translations: Sequence[Sequence[float]], name: str) -> dict:
    """The `multiscales` entry (OME-NGFF 0.5, section 3.4)."""
    described = [{"name": a.name, "type": a.type, **({"unit": a.unit} if a.unit else {})} for a in axes]
    datasets = [{"path": str(n), "coordinateTransformations": [
        {"type": "scale", "scale": [float(v) for v in s]},
        {"type": "translation", "translation": [float(v) for v in t]}]}
        for n, (s, t) in enumerate(zip(scales, translations))]
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
        extra = {"image-label": {**attributes["image-label"], "version": "0.4"}} if "image-label" in attributes else {}
        body = {**attributes, **extra, **({"multiscales": scales} if scales else {})}
        (root / ".zattrs").write_text(json.dumps(body, indent=1))


def create_image(root: Path, lay: Layout, voxel_size: Sequence[float], *, axes: Sequence[Axis] = ZYX,
                 label: bool = False, fill: int | float = 0) -> Image:
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


def check_scale(scale: Sequence[float], where: Path | str) -> None:
    """Raises DataError unless every voxel size is a positive finite number."""
    if not all(np.isfinite(v) and v > 0 for v in scale):
        raise DataError(f"{where}: voxel size {list(scale)}; expected positive numbers (nm)")


def _attributes(root: Path) -> dict[str, Any]:
    """OME attributes of a group, of 0.5 or 0.4; empty where there are none."""
    try:
        if (root / "zarr.json").exists():
            attributes = json.loads((root / "zarr.json").read_text()).get("attributes", {})
            return attributes.get("ome", attributes)
        if (root / ".zattrs").exists():
            return json.loads((root / ".zattrs").read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{root}: group metadata is not JSON ({error})") from None
    return {}


_PER_NM = {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6, "meter": 1e9, "angstrom": 0.1}


def open_image(root: Path, labels: str | None = None) -> Image:
    """Open an image (or one of its label images); scale is returned in nm for spatial axes.

    Raises StorageError where there is no image, DataError naming the field that is wrong."""
    root = root / "labels" / labels if labels else root
    found = _attributes(root)
    if not found.get("multiscales"):
        raise StorageError(f"{root}: not an OME-Zarr image (no multiscales in zarr.json or .zattrs)")
    try:
        entry = found["multiscales"][0]
        axes = tuple(Axis(a["name"], a.get("type", "space"), a.get("unit")) for a in entry["axes"])
        scale = np.ones(len(axes))
        for part in [*entry["datasets"][0].get("coordinateTransformations", []),
                     *entry.get("coordinateTransformations", [])]:
            if part["type"] == "scale":
                scale = scale * np.asarray(part["scale"], float)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{root}: multiscales metadata is malformed ({type(error).__name__}: {error})") from None
    check_scale(scale, root)
    to_nm = [_PER_NM.get(a.unit or "", 1.0) if a.type == "space" else 1.0 for a in axes]
    in_nm = tuple(Axis(a.name, a.type, NM if a.type == "space" and a.unit in _PER_NM else a.unit) for a in axes)
    version = "0.5" if (root / "zarr.json").exists() else "0.4"
    scales = tuple(float(v) for v in scale * to_nm)
    return Image(root, in_nm, scales, len(entry["datasets"]), version)
