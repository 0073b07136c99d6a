"""Small Zarr arrays by the thousand: written straight to disk, without a library to open each.

A field of view has some hundred cells and each cell a crop per channel. Opening an array through TensorStore
costs more than compressing its few kilobytes, and a file per chunk makes more files than a cluster's disk likes.
So header and data are written here: Zarr v3, one shard `c.0.0.0` beside `zarr.json`, chunks along the first axis
only, blosc (zstd or lz4) and crc32c. Chunks are appended as they come; any Zarr library reads the whole.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = 2**64 - 1  # place and size, in a shard's index, of a chunk that is not there: it reads as 0


class SmallArray:
    """An array that is written chunk by chunk along its first axis, then `close`d."""

    def __init__(self, path: Path, shape: Sequence[int], dtype: Any, block: int, names: Sequence[str], codec: str = "zstd"):
        """
        Args:
            path: folder to make.
            block: length of a chunk along the first axis.
            names: of the axes.
            codec: zstd, or lz4 where reading must be fast.
        """
        kind = np.dtype(dtype)
        self.block, self.codec = block, codec
        self.index = np.full((max(-(-shape[0] // block), 1), 2), ABSENT, "<u8")
        self.shard = path / ".".join(["c", *["0"] * len(shape)])
        path.mkdir(parents=True)
        (path / "zarr.json").write_text(_header(tuple(shape), kind, block, len(self.index) * block, names, codec))

    def write(self, n: int, values: NDArray) -> None:
        """Append chunk n; a last one that is shorter than `block` is filled up with zeros, as Zarr has it."""
        from numcodecs import blosc

        blosc.use_threads = False
        if len(values) < self.block:
            rest = np.zeros((self.block - len(values), *values.shape[1:]), values.dtype)
            values = np.concatenate([values, rest])
        how = blosc.SHUFFLE if values.itemsize > 1 else blosc.NOSHUFFLE
        packed = _checked(blosc.compress(np.ascontiguousarray(values), self.codec.encode(), 1, how))
        with open(self.shard, "ab") as file:
            self.index[n] = file.tell(), len(packed)
            file.write(packed)

    def close(self) -> None:
        """Write the index that makes the shard readable; without any chunk there is no file, and all reads as 0."""
        if self.shard.exists():
            with open(self.shard, "ab") as file:
                file.write(_checked(self.index.tobytes()))


def _checked(data: bytes) -> bytes:
    import google_crc32c

    return data + struct.pack("<I", google_crc32c.value(data))


def _header(shape: tuple[int, ...], kind: np.dtype, block: int, cover: int, names: Sequence[str], codec: str) -> str:
    size, little = kind.itemsize, {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"cname": codec, "clevel": 1, "shuffle": "shuffle" if size > 1 else "noshuffle", "typesize": size, "blocksize": 0}
    # no axis of a chunk may be 0 long, even where the array's is
    sides = [max(n, 1) for n in shape[1:]]
    inner = [little if size > 1 else {"name": "bytes"}, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [block, *sides],
        "codecs": inner,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": kind.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [cover, *sides]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": kind.type(0).item(),
            "dimension_names": list(names),
            "attributes": {},
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        }
    )
