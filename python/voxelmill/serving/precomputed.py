"""Precomputed: a published image or label image, written again for what reads Neuroglancer's own format.

    TARGET/info             type, and of each level size, resolution in nm and voxel_offset; all in x, y, z
    TARGET/8_8_30/...       chunks of a level, by themselves or many in a shard

The format numbers voxels as the source does: level 0 begins at `voxel_offset` = origin / voxel size. A coarser level
can be numbered only where its first voxel begins with one that all the steps divide; others are left out and named.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core import levels, ngff
from ..core.errors import DataError, ParameterError, StorageError
from ..core.metadata import attributes
from ..core.space import BESIDE
from ..core.volume import Image, Layout, context, list_labels, open_image

IN_SHARD = 6  # bits: 64 chunks share a file


def export(store: Path, target: Path, labels: str = "", sharded: bool = False) -> list[str]:
    """Write a volume, or the label image `labels` of one, as precomputed; memory is that of one shard.

    Returns remarks: what cannot be said in this format. Raises ParameterError where the volume has no such labels,
    StorageError where the target is there already, DataError where the axes are not z, y, x of known size."""
    if labels and labels not in (known := list_labels(store)):
        raise ParameterError(f"--labels {labels}: {store} has {', '.join(known) or 'none'}; name one that is there")
    image = open_image(store, labels or None)
    label = "image-label" in attributes(image.root)
    names = "".join(a.name for a in image.axes)
    if names != "zyx" or not image.space.known:
        raise DataError(f"{image.root}: axes {names}, unit {image.axes[-1].unit}; expected z, y, x in a unit of length")
    if target.exists():
        raise StorageError(f"{target}: is there already; remove it, or give another name")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    # TensorStore leaves chunks of zeros out of shards, whatever it is told.
    remarks = ["chunks of zeros are not in the shards: CloudVolume wants fill_missing=True"] if sharded else []
    beside = np.abs(np.array(image.origin) / image.scale - image.space.offset)
    if beside.max() > BESIDE:
        remarks.append(f"lies {beside.max():.2f} voxels beside the place that whole voxels can say")
    for n, step in enumerate(steps(image)):
        if all(o % f == 0 for o, f in zip(image.space.offset, step, strict=True)):
            write(image, n, step, create(image, n, step, partial, label, sharded))
        else:
            remarks.append(f"level {n} is left out: voxel_offset {image.space.offset[::-1]} is no multiple of {step[::-1]}")
    partial.rename(target)
    return remarks


def steps(image: Image) -> Iterator[tuple[int, ...]]:
    """How many voxels of level 0 (z, y, x) a voxel of each level stands for."""
    found = ngff.multiscales(attributes(image.root))
    assert found is not None and found.scales is not None  # open_image has looked
    for scale in found.scales:
        yield tuple(round(s / first) for s, first in zip(scale, found.scales[0], strict=True))


def create(image: Image, n: int, step: tuple[int, ...], folder: Path, label: bool, sharded: bool) -> Any:
    """An empty level, opened as a TensorStore whose axes are z, y, x and begin at 0."""
    import tensorstore as ts

    lay = image.layout(n)
    scale: dict[str, Any] = {
        "size": lay.shape[::-1],
        "resolution": [s * f for s, f in zip(image.scale, step, strict=True)][::-1],
        "voxel_offset": [o // f for o, f in zip(image.space.offset, step, strict=True)][::-1],
        "chunk_size": lay.chunk[::-1],
        "encoding": "raw",
    }
    if label and lay.dtype in ("uint32", "uint64"):
        scale |= {"encoding": "compressed_segmentation", "compressed_segmentation_block_size": [8, 8, 8]}
    if sharded:
        scale["sharding"] = sharding(lay)
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"type": "segmentation" if label else "image", "data_type": lay.dtype, "num_channels": 1},
        "scale_metadata": scale,
        "store_data_equal_to_fill_value": True,
    }
    made = ts.open(spec, create=True, context=context()).result()
    return made[ts.d["channel"][0]][ts.d["z", "y", "x"].transpose[:]][ts.d[:].translate_to[0]]


def sharding(lay: Layout) -> dict[str, Any]:
    """Which chunks share a file: 64 that lie together."""
    bits = sum((-(-n // c) - 1).bit_length() for n, c in zip(lay.shape, lay.chunk, strict=True))
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": min(IN_SHARD, bits),
        "minishard_bits": 0,
        "shard_bits": bits - min(IN_SHARD, bits),
        "minishard_index_encoding": "gzip",
        "data_encoding": "gzip",
    }


def write(image: Image, n: int, step: tuple[int, ...], made: Any) -> None:
    """Copy a level, one file of the target after another."""
    size = [max(1, min(w, e)) for w, e in zip(made.chunk_layout.write_chunk.shape, made.shape, strict=True)]
    for region in levels.tiles(tuple(slice(0, e) for e in made.shape), size):
        made[region].write(image.read(region, n)).result()
