"""HDF5: a dataset by its name, its axes by their labels, filters by h5py or hdf5plugin.

| attribute | meaning |
|---|---|
| `axistags` (vigra, ilastik), `DIMENSION_LABELS`, `axis_names` | names of the axes |
| `resolution`, `voxel_size`, `offset` (CREMI, funlib) | in `units` or `unit`, else nm |
| `element_size_um` (ilastik, Fiji) | z, y, x in µm |
| dimension scales (netCDF, xarray) | names of the axes, positions of the voxels in their `units` |

What is no attribute of the dataset is sought on the groups around it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.volume import Region
from .axes import Turn, coarser, name_all, strange, turn
from .source import Chunks, Placed, Source, Wanted, placed
from .streams import whole


def open_hdf5(path: Path, wanted: Wanted) -> Source:
    import h5py

    with whole(path, "HDF5 file"):
        file = h5py.File(path.resolve(), "r")  # links in it lead on from where it lies
        every: dict[str, Any] = {}
        file.visititems(lambda n, o: every.update({n: o}) if isinstance(o, h5py.Dataset) and o.ndim > 2 else None)
        linked = _linked(file)
        volumes = [name for name, data in (every or linked).items() if _is_volume(data)]
    if not volumes and not wanted.key:
        others = ", ".join(f"{n} {d.shape}" for n, d in list(every.items())[:5])
        raise DataError(f"{path.name}: no 3-D dataset in it{f' ({others})' if others else ''}; expected one (z, y, x)")
    chosen = wanted.choose([*every, *linked] if wanted.key else volumes, path.name)
    data = {**linked, **every}[chosen]
    where = f"{path.name}/{chosen}"
    _filters(data, where)
    with whole(path, "HDF5 file"):
        names, said = _names(data)
        how = turn(names, data.shape, wanted.channel, where)
        at, more = _placed(data, how)

    def read(region: Region) -> np.ndarray:
        with whole(path, f"HDF5 dataset {chosen}"):
            return how.turned(data[how.where(region)])

    if names is None and "MATLAB_class" in data.attrs:
        said.append("MATLAB wrote it, which reverses axes: its (rows, columns, sections) are read as x, y, z")
    remarks = said + more + _elsewhere(data, file, where)
    made = Source(path.name, "hdf5", how.pick(data.shape), data.dtype, read, at, remarks=remarks, close=file.close)  # type: ignore[arg-type]
    if data.chunks and data.ndim == len(how.index):
        made.chunks = Chunks(how.pick(data.chunks), data.fillvalue, lambda voxel: _there(data, how, voxel))
    return made


def _linked(file: Any) -> dict[str, Any]:
    """Datasets that soft and external links lead to."""
    import h5py

    found: dict[str, Any] = {}

    def follow(name: str, link: Any) -> None:
        data = None if isinstance(link, h5py.HardLink) else file.get(name)
        if isinstance(data, h5py.Dataset) and data.ndim > 2:
            found[name] = data

    file.visititems_links(follow)
    return found


def _elsewhere(data: Any, file: Any, where: str) -> list[str]:
    """A remark where the voxels lie in other files (an external link, a virtual dataset).

    Raises DataError where one of these is not there: its voxels would read as the fill value."""
    home = Path(data.file.filename)
    names = {one.file_name for one in data.virtual_sources()} - {"."} if data.is_virtual else set()
    gone = sorted(n for n in names if "%" not in n and not (home.parent / n).exists() and not Path(n).exists())
    if gone:
        raise DataError(
            f"{where}: its voxels lie in {', '.join(gone[:3])}, not there ({len(gone)} of {len(names)}); put them beside it"
        )
    outside = sorted(names | ({home.name} if home != Path(file.filename) else set()))
    return [f"its voxels lie in {', '.join(outside[:3])}: neither digests nor -resume see a change there"] if outside else []


def _is_volume(data: Any) -> bool:
    try:
        turn(_names(data)[0], data.shape, 0, "")
    except ValueError:
        return False
    return data.dtype.kind in "uifb"


def _names(data: Any) -> tuple[list[str] | None, list[str]]:
    """Names of the axes, where z, y, x are among them; a remark on others."""
    names: list[str] = []
    tags = data.attrs.get("axistags")
    if tags is not None:
        try:
            names = [str(axis["key"]) for axis in json.loads(tags)["axes"]]
        except (ValueError, KeyError, TypeError):
            names = []
    scales = [_scale(dim) for dim in data.dims]
    names = names or [str(dim.label) or (_name(scale) if scale else "") for dim, scale in zip(data.dims, scales, strict=True)]
    if not all(names) and "axis_names" in data.attrs:
        names = [_text(n) for n in data.attrs["axis_names"]]
    return (names, []) if name_all(names, data.ndim) else (None, strange(names))


def _scale(dim: Any) -> Any:
    """The dimension scale that is attached to an axis, where it holds positions."""
    scale = dim[0] if len(dim) else None
    said = _text(scale.attrs.get("NAME", "")) if scale is not None else ""
    return None if scale is None or said.startswith("This is a netCDF dimension but not") else scale


def _name(scale: Any) -> str:
    return str(scale.name).rpartition("/")[2]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _placed(data: Any, how: Turn) -> tuple[Placed, list[str]]:
    """By the attributes of the dataset, by its dimension scales, or by the nearest group that says it, with a remark."""
    own = _from_attributes(data, how)
    if own == Placed():
        own = _from_scales(data, how)
    group = data
    while own == Placed() and group.name != "/" and not coarser(_name(data)):
        group = group.parent
        own = _from_attributes(group, how)
        if own != Placed():
            return own, [f"its voxel size and origin are those of the group {group.name} around it"]
    return own, []


def _from_scales(data: Any, how: Turn) -> Placed:
    """From positions of the voxels, a scale an axis, evenly spaced."""
    scales = [_scale(data.dims[n]) for n in how.kept]
    if None in scales:
        return Placed()
    every = [np.asarray(scale, float).ravel() for scale in scales]
    for scale, at in zip(scales, every, strict=True):
        steps = np.diff(at)
        if not len(steps) or not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0):
            return Placed(unknown=f"dimension scale {_name(scale)} is of one position, or not evenly spaced: the voxel size")
    units = [_text(np.ravel(u)[0]) if (u := s.attrs.get("units", s.attrs.get("unit"))) is not None else None for s in scales]
    return placed([float(np.diff(at).mean()) for at in every], units, [float(at[0]) for at in every])


def _from_attributes(holder: Any, how: Turn) -> Placed:
    attributes, count = holder.attrs, len(how.index)

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
        units = np.ravel(attributes.get("units", attributes.get("unit", "nm")))
        each = three("units") or three("unit") or [_text(u) for u in units[:1]] * 3
        return placed(size, each, three("offset"))
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
