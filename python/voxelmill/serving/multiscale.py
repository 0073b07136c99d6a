"""Multiscale: the published volume, with pyramid levels, labels and the metadata that viewers need.

Level 0 is hard-linked, not copied, when the version stays 0.5. Images are averaged, labels take their
first voxel. The axis that is coarser than twice the finest is not halved until the others have caught up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core import blocks
from ..core.device import choose
from ..core.provenance import Task
from ..core.shared import Device, Precision, Released
from ..core.stage import In, Out
from ..core.volume import Image, Layout, create_array, layout, multiscales, open_image, write_group

SMALLEST = 64      # px: no further level once the longer in-plane side is this short


class Parameters(Released, Precision, Device):
    """Published volumes."""


def run(p: Parameters, task: Task, *, volume: In, labels: In | None = None, output: Out) -> None:
    xp, task.device = choose(p.use_gpu)
    task.block = output.name.split(".")[0]
    levels = 1 if p.save_minimal else p.max_levels
    write_image(open_image(volume), output, levels, p.ome_zarr_version, task, label=False, source=volume, xp=xp)
    if labels is not None:
        write_group(output / "labels", {"labels": ["neurites"]}, p.ome_zarr_version)
        write_image(open_image(labels), output / "labels/neurites", levels, p.ome_zarr_version, task, label=True,
                    source=labels, xp=xp)


def factors(shape: tuple[int, ...], scale: tuple[float, ...], levels: int) -> list[tuple[int, ...]]:
    """Cumulative downsampling (z, y, x) of each level."""
    found: list[tuple[int, ...]] = [(1,) * len(shape)]
    size, voxel = np.array(shape), np.array(scale, float)
    while len(found) < levels and max(size[1:]) > SMALLEST:
        step = np.where((voxel < 2 * voxel.min()) & (size > 1), 2, 1)
        size, voxel = -(-size // step), voxel * step
        found.append(tuple(int(v) for v in np.array(found[-1]) * step))
    return found


def write_image(image: Image, root: Path, levels: int, version: str, task: Task, *, label: bool, source: Path,
                xp: Any = np) -> None:
    """Write one image or label image with its pyramid."""
    lay = image.layout()
    blocks.require(lay, source / "0")
    down = factors(lay.shape, image.scale, levels)
    scales = [[s * f for s, f in zip(image.scale, fs)] for fs in down]
    # A level's voxel is centred on the mean of the voxels it stands for.
    shifts = [[s * (f - 1) / 2 if not label else 0.0 for s, f in zip(image.scale, fs)] for fs in down]
    name = root.name.split(".")[0]
    entry = multiscales(image.axes, scales, shifts, name)
    entry["type"] = "nearest" if label else "mean"
    extra: dict[str, Any] = {"image-label": {"source": {"image": "../../"}}} if label else omero(name, lay)
    write_group(root, {"multiscales": [entry], **extra}, version)
    if version == "0.5":
        blocks.link_tree(source / "0", root / "0")
    else:
        copy_v2(image, root / "0", lay, task)
    for n in range(1, len(down)):
        step = tuple(b // a for a, b in zip(down[n - 1], down[n]))
        halve(root, n, step, version, label, task, xp)


def omero(name: str, lay: Layout) -> dict[str, Any]:
    """Display range, so that viewers open it well."""
    top = 1.0 if lay.dtype.startswith("float") else float(np.iinfo(lay.dtype).max)
    window = {"start": 0.0, "end": top, "min": 0.0, "max": top}
    return {"omero": {"channels": [{"label": name, "color": "FFFFFF", "window": window, "active": True}]}}


def copy_v2(image: Image, path: Path, lay: Layout, task: Task) -> None:
    array = create_v2(path, lay)
    for n in task.progress(range(int(np.prod(lay.grid))), "shards converted"):
        region = blocks.region(lay, n)
        array[region].write(image.read(region)).result()


def create_v2(path: Path, lay: Layout) -> Any:
    """A Zarr v2 array. zlib ends with a checksum, and all readers of 0.4 know it; zstd's they do not."""
    import tensorstore as ts

    from ..core.volume import context

    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}, "store_data_equal_to_fill_value": True,
            "metadata": {"shape": list(lay.shape), "chunks": list(lay.chunk), "dtype": np.dtype(lay.dtype).str,
                         "compressor": {"id": "zlib", "level": 1}, "fill_value": 0, "filters": None, "order": "C",
                         "dimension_separator": "/"}}
    return ts.open(spec, create=True, context=context()).result()


def halve(root: Path, n: int, step: tuple[int, ...], version: str, label: bool, task: Task, xp: Any = np) -> None:
    """Make level n from level n - 1, shard by shard."""
    from ..core.volume import open_array

    upper = open_array(root / str(n - 1))
    old, dtype = tuple(upper.shape), upper.dtype.numpy_dtype
    grid = upper.chunk_layout
    chunk = grid.read_chunk.shape if version == "0.5" else grid.write_chunk.shape
    small = tuple(-(-s // f) for s, f in zip(old, step))
    lay = layout(small, dtype, grid.write_chunk.shape, chunk)
    array = create_array(root / str(n), lay) if version == "0.5" else create_v2(root / str(n), lay)
    for i in task.progress(range(int(np.prod(lay.grid))), f"shards of level {n}"):
        region = blocks.region(lay, i)
        source = tuple(slice(r.start * f, min(r.stop * f, s)) for r, f, s in zip(region, step, old))
        values = upper[source].read().result()
        made = values[tuple(slice(None, None, f) for f in step)] if label else mean(values, step, xp)
        array[region].write(made).result()


def mean(values: np.ndarray, step: tuple[int, ...], xp: Any = np) -> np.ndarray:
    """Mean over cells of `step` voxels; a cell cut by the volume's end has its last plane repeated.

    Integers are rounded half up. Exact for integers on CPU and GPU; float32 within 1e-6 of each other."""
    held = xp.pad(xp.asarray(values), [(0, -n % f) for n, f in zip(values.shape, step)], mode="edge")
    total = xp.zeros(tuple(n // f for n, f in zip(held.shape, step)),
                     xp.float32 if values.dtype.kind == "f" else xp.uint32)
    for at in np.ndindex(*step):
        total += held[tuple(slice(a, None, f) for a, f in zip(at, step))]
    count = int(np.prod(step))
    made = (total / count if values.dtype.kind == "f" else (total + count // 2) // count).astype(values.dtype)
    return made if xp is np else made.get()
