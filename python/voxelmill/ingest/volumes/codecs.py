"""Zarr arrays with codecs that TensorStore does not have, by the package `zarr`: from a folder or a zip here.

Only codecs that turn bytes into numbers are let in; there are some that run what they read (`pickle`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.volume import Region
from .axes import Turn
from .kvstore import KvStore
from .source import Chunks, Placed, Source
from .streams import whole

BEYOND = {
    "lz4", "lzma", "delta", "shuffle", "fixedscaleoffset", "quantize", "bitround", "astype", "packbits", "crc32", "crc32c",
    "adler32", "fletcher32", "jenkins_lookup3",
}  # fmt: skip
COMMON = {"blosc", "zlib", "gzip", "bz2", "zstd", "bytes", "transpose", "sharding_indexed"}


def named(meta: dict[str, Any]) -> set[str]:
    """The codecs of an array, by its metadata (v2 or v3)."""
    listed = [c for c in (*(meta.get("filters") or ()), meta.get("compressor")) if c] + list(_chain(meta.get("codecs") or ()))
    return {str(c.get("id", c.get("name"))).removeprefix("numcodecs.") for c in listed}


def _chain(codecs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for codec in codecs:
        yield codec
        inner = codec.get("configuration") or {}
        yield from _chain([*(inner.get("codecs") or ()), *(inner.get("index_codecs") or ())])


def needed(store: KvStore, meta: dict[str, Any]) -> bool:
    """Whether an array has codecs that are read here, and lies where they can be."""
    used = named(meta)
    return bool(used & BEYOND - {"crc32c"}) and used <= BEYOND | COMMON and not store.remote


def zarr_source(store: KvStore, turn: Turn, name: str, at: Placed, more: dict[str, Any]) -> Source:
    """The array as a volume; `more` is what its metadata lack. Raises DataError where it cannot be opened."""
    import zarr

    from . import bounded

    bounded.use()
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})  # tasks have their own workers
    with whole(Path(name), "Zarr array"):
        place = _place(store)
        array = zarr.open_array(place, path=_inside(store), mode="r")
        if more:
            array = zarr.Array(zarr.AsyncArray(dataclasses.replace(array.metadata, **more), array.store_path))
        fill = array.fill_value

    def read(region: Region) -> np.ndarray:
        with whole(Path(name), "Zarr array"), bounded.within(array.shards or array.chunks):
            return turn.turned(np.asarray(array[turn.where(region)]))

    def there(voxel: tuple[int, ...]) -> bool:
        at = turn.where(tuple(slice(v, v + 1) for v in voxel))
        grid = array.shards or array.chunks
        index = [(i if isinstance(i, int) else i.start) // n for i, n in zip(at, grid, strict=True)]
        return store.read(array.metadata.encode_chunk_key(tuple(index))) is not None

    chunks = Chunks(turn.pick(array.shards or array.chunks), 0 if fill is None else fill, there)
    return Source(name, "zarr", turn.pick(array.shape), np.dtype(array.dtype), read, at, chunks=chunks, close=place.close)  # type: ignore[arg-type]


def _place(store: KvStore) -> Any:
    import zarr

    if store.spec["driver"] == "zip":
        return zarr.storage.ZipStore(store.spec["base"]["path"], mode="r")
    return zarr.storage.LocalStore(store.spec["path"], read_only=True)


def _inside(store: KvStore) -> str:
    return store.spec["path"].strip("/") if store.spec["driver"] == "zip" else ""
