"""Sources that TensorStore reads: Zarr, N5, precomputed. It turns their axes, and tells which chunks are there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.volume import Region
from .axes import Turn
from .kvstore import refused
from .source import Chunks, Placed, Source

Opener = Callable[[bool], Any]  # whether chunks that are not there read as the fill value -> the array


def tensor_source(opener: Opener, turn: Turn, name: str, kind: str, at: Placed) -> Source:
    view = turned(opener(True), turn)
    strict = functools.cache(lambda: turned(opener(False), turn))

    def read(region: Region) -> np.ndarray:
        try:
            return view[region].read().result()
        except ValueError as error:
            raise refused(name, "cannot be read", error) from None

    def there(voxel: tuple[int, ...]) -> bool:
        try:
            strict()[voxel].read().result()
        except ValueError as error:
            if str(error).startswith("NOT_FOUND"):
                return False
            raise refused(name, "cannot be read", error) from None
        return True

    fill = view.fill_value
    chunks = Chunks(tuple(view.chunk_layout.read_chunk.shape), 0 if fill is None else fill[()], there)
    return Source(name, kind, tuple(view.shape), np.dtype(view.dtype.numpy_dtype), read, at, chunks=chunks)


def turned(array: Any, turn: Turn) -> Any:
    """A TensorStore as (z, y, x), each from 0 on."""
    import tensorstore as ts

    at_0 = array[ts.d[:].translate_to[0]]
    view = at_0[tuple(slice(None) if i is None else i for i in turn.index)]
    return view[ts.d[list(turn.order)].transpose[:]]
