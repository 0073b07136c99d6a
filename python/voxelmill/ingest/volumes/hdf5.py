"""HDF5: a dataset by its name, its axes by their labels, filters by h5py or hdf5plugin.

| attribute | meaning |
|---|---|
| `axistags` (vigra, ilastik), `DIMENSION_LABELS`, `axis_names` | names of the axes |
| `resolution`, `voxel_size`, `offset` (CREMI, funlib) | in `units`, else nm |
| `element_size_um` (ilastik, Fiji) | z, y, x in µm |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.volume import Region
from .axes import Turn, name_all, turn
from .source import Chunks, Placed, Source, Wanted, placed
from .streams import whole


def open_hdf5(path: Path, wanted: Wanted) -> Source:
    import h5py

    with whole(path, "HDF5 file"):
        file = h5py.File(path, "r")
        every: dict[str, Any] = {}
        file.visititems(lambda n, o: every.update({n: o}) if isinstance(o, h5py.Dataset) and o.ndim > 2 else None)
        volumes = [name for name, data in every.items() if _is_volume(data)]
    if not volumes and not wanted.key:
        others = ", ".join(f"{n} {d.shape}" for n, d in list(every.items())[:5])
        raise DataError(f"{path.name}: no 3-D dataset in it{f' ({others})' if others else ''}; expected one (z, y, x)")
    chosen = wanted.choose(list(every) if wanted.key else volumes, path.name)
    data = every[chosen]
    where = f"{path.name}/{chosen}"
    _filters(data, where)
    with whole(path, "HDF5 file"):
        how = turn(_names(data), data.shape, wanted.channel, where)
        at = _placed(data, how)

    def read(region: Region) -> np.ndarray:
        with whole(path, f"HDF5 dataset {chosen}"):
            return how.turned(data[how.where(region)])

    made = Source(path.name, "hdf5", how.pick(data.shape), data.dtype, read, at, close=file.close)  # type: ignore[arg-type]
    if data.chunks and data.ndim == len(how.index):
        made.chunks = Chunks(how.pick(data.chunks), data.fillvalue, lambda voxel: _there(data, how, voxel))
    return made


def _is_volume(data: Any) -> bool:
    try:
        turn(_names(data), data.shape, 0, "")
    except ValueError:
        return False
    return data.dtype.kind in "uifb"


def _names(data: Any) -> list[str] | None:
    """Names of the axes, where z, y, x are among them."""
    names: list[str] = []
    tags = data.attrs.get("axistags")
    if tags is not None:
        try:
            names = [str(axis["key"]) for axis in json.loads(tags)["axes"]]
        except (ValueError, KeyError, TypeError):
            names = []
    names = names or [str(dim.label) for dim in data.dims]
    if not all(names) and "axis_names" in data.attrs:
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in data.attrs["axis_names"]]
    return names if name_all(names, data.ndim) else None


def _placed(data: Any, how: Turn) -> Placed:
    attributes, count = data.attrs, len(how.index)

    def three(name: str) -> list | None:
        values = attributes.get(name)
        if values is None or np.ndim(values) != 1 or len(values) not in (3, count):
            return None
        order = sorted(how.kept)
        values = [v.decode() if isinstance(v, bytes) else v for v in values]
        return [values[order.index(n)] if len(values) == 3 else values[n] for n in how.kept]

    um = attributes.get("element_size_um")
    size = three("resolution") or three("voxel_size")
    if size is not None:
        units = attributes.get("units")
        return placed(size, three("units") or [str(units) if isinstance(units, str) else "nm"] * 3, three("offset"))
    if um is not None and len(um) == 3:  # z, y, x whatever the order of the axes
        return placed([float(v) for v in um], ["um"] * 3)
    return Placed()


def _there(data: Any, how: Turn, voxel: tuple[int, ...]) -> bool:
    """Whether the chunk with this voxel (z, y, x) was ever written."""
    at = how.where(tuple(slice(v, v + 1) for v in voxel))
    corner = [(i if isinstance(i, int) else i.start) // c * c for i, c in zip(at, data.chunks, strict=True)]
    return data.id.get_chunk_info_by_coord(tuple(corner)).byte_offset is not None


def _filters(data: Any, where: str) -> None:
    """Bring in what decodes the dataset. Raises DataError naming a filter that nothing here decodes."""
    import h5py

    plist = data.id.get_create_plist()
    used = [plist.get_filter(n) for n in range(plist.get_nfilters())]
    if all(h5py.h5z.filter_avail(number) for number, *_ in used):
        return
    import hdf5plugin  # noqa: F401 - registers Blosc, Zstd, LZ4, Bitshuffle and others with HDF5

    for number, _, _, name in used:
        if not h5py.h5z.filter_avail(number):
            raise DataError(
                f"{where}: compressed by HDF5 filter {number} ({name.decode(errors='replace')[:60]}), which cannot be "
                "decoded here; write it again with gzip, Blosc or Zstd"
            )
