"""Levels of published volumes: arrays of Zarr v3 or, for OME-Zarr 0.4, of Zarr v2; made block by block, level by level."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import blocks
from .volume import Image, Layout, Region, context, create_array


def create_level(root: Path, n: int, lay: Layout, version: str) -> None:
    """The empty array of a level; with shards as chunks in 0.4."""
    if version == "0.4":
        create_v2(root / str(n), lay)
    else:
        create_array(root / str(n), lay)


def create_v2(path: Path, lay: Layout) -> Any:
    """A Zarr v2 array. gzip ends with a crc32, and all readers of 0.4 know it; zlib not all do, zstd has none."""
    import tensorstore as ts

    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(lay.shape),
            "chunks": list(lay.chunk),
            "dtype": np.dtype(lay.dtype).str,
            "compressor": {"id": "gzip", "level": 1},
            "fill_value": 0,
            "filters": None,
            "order": "C",
            "dimension_separator": "/",
        },
    }
    return ts.open(spec, create=True, open=True, context=context()).result()


def same_level(source: Image, block: str, root: Path) -> tuple[int, Image, Iterator[Region]]:
    """Of a block of a volume (`1.0-3`: shards 0 to 3 of level 1): its level, a target with that level, its regions."""
    n, shards = block.split(".")
    lay = source.layout(int(n))
    create_level(root, int(n), lay, source.version)
    return int(n), Image(root, source.space, source.levels, source.version, spaces=source.spaces), blocks.regions(lay, shards)
