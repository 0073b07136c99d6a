"""Neuroglancer precomputed, its finest scale; stored x, y, z, c and turned to z, y, x.

CloudVolume writes local volumes with gzip: each chunk is then a file that ends in `.gz`, which TensorStore does not
look for. Those are unpacked into memory as they are read.
"""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError
from ...core.volume import Region, context
from .axes import turn
from .kvstore import KvStore, refused
from .source import Chunks, Source, Wanted, placed
from .streams import whole
from .tensors import tensor_source, turned

AXES = ("x", "y", "z", "c")
PACKED = (".gz", ".br", ".zst", ".xz", ".bz2")  # of these only gzip is read


def open_precomputed(store: KvStore, wanted: Wanted) -> Source:
    if wanted.key:
        raise ParameterError(f"{store}: {wanted.flag} {wanted.key} has no use with precomputed; give the layer's own address")
    driver, scale = "neuroglancer_precomputed", _finest(store.json("info") or {})
    array = store.opened(driver, scale_index=scale)
    how = turn(AXES, array.shape, wanted.channel, str(store))
    units = array.dimension_units
    per = [units[n].multiplier if units[n] else 0.0 for n in how.kept]
    at = placed(
        per,
        [units[n].base_unit if units[n] else None for n in how.kept],
        [lowest * m for lowest, m in zip(how.pick(array.domain.inclusive_min), per, strict=True)],
    )
    folder = Path(store.spec["path"]) if store.spec["driver"] == "file" else None
    packed = _packed(folder, array) if folder else ""
    if folder and packed:
        return _unpacked(store, folder, array, scale, wanted, at)
    made = tensor_source(
        lambda sparse: store.opened(driver, scale_index=scale, fill_missing_data_reads=sparse),
        how,
        str(store),
        "precomputed",
        at,
    )
    made.why_blank = lambda: "none of its chunks is there under the name that `info` gives it"
    return made


def _finest(info: dict[str, Any]) -> int:
    """The number of the scale with the smallest voxels; 0 where `info` does not say, which its reader then tells."""
    try:
        sizes = [float(np.prod([float(n) for n in scale["resolution"]])) for scale in info["scales"]]
        return int(np.argmin(sizes))
    except (KeyError, TypeError, ValueError):
        return 0


def _scale(array: Any) -> tuple[str, bool]:
    """Key of the scale, and whether it is sharded."""
    metadata = array.spec(retain_context=True).to_json()["scale_metadata"]
    return metadata["key"], metadata.get("sharding") is not None


def _packed(folder: Path, array: Any) -> str:
    """How the chunks of a local volume are packed; nothing where they are not. Raises DataError for what is not read."""
    key, sharded = _scale(array)
    where = folder / key
    names = (p.name for p in where.iterdir()) if where.is_dir() and not sharded else iter(())
    suffix = next((Path(n).suffix for n in names), "")
    if suffix in PACKED and suffix != ".gz":
        raise DataError(f"{where}: chunks end in {suffix}; expected plain chunks or .gz. Write them again, or unpack them")
    return suffix if suffix in PACKED else ""


def _unpacked(store: KvStore, folder: Path, array: Any, scale: int, wanted: Wanted, at: Any) -> Source:
    import tensorstore as ts

    name = str(store)
    own = ts.Context({"memory_key_value_store": {}}, context())
    memory = ts.KvStore.open("memory://", context=own).result()
    memory.write("info", store.read("info")).result()
    spec = {"driver": "neuroglancer_precomputed", "kvstore": "memory://", "scale_index": scale}
    inner = ts.open(spec, open=True, context=own).result()
    how = turn(AXES, array.shape, wanted.channel, name)
    view, (key, _) = turned(inner, how), _scale(array)
    low, high = array.domain.inclusive_min[:3], array.domain.exclusive_max[:3]
    size = array.chunk_layout.read_chunk.shape[:3]

    def files(region: Region) -> list[str]:
        """Names of the chunks (x, y, z) that a region (z, y, x) touches."""
        spans = []
        for n, part in enumerate(region[::-1]):
            start, stop, _ = part.indices(high[n] - low[n])
            cells = range(start // size[n], -(-stop // size[n]))
            spans.append([(low[n] + c * size[n], min(low[n] + (c + 1) * size[n], high[n])) for c in cells])
        return ["_".join(f"{a}-{b}" for a, b in cell) for cell in itertools.product(*spans)]

    def load(chunk: str) -> bytes | None:
        plain, zipped = folder / key / chunk, folder / key / f"{chunk}.gz"
        if plain.exists():
            return plain.read_bytes()
        if not zipped.exists():
            return None
        with whole(zipped, "gzip file"):
            return gzip.decompress(zipped.read_bytes())

    def read(region: Region) -> np.ndarray:
        held = []
        try:
            for chunk in files(region):
                if (content := load(chunk)) is not None:
                    held.append(f"{key}/{chunk}")
                    memory.write(held[-1], content).result()
            return view[region].read().result()
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise refused(name, "cannot be read", error) from None
        finally:
            for one in held:
                memory.delete_range(ts.KvStore.KeyRange(one, one + "\0")).result()

    def there(voxel: tuple[int, ...]) -> bool:
        (chunk,) = files(tuple(slice(v, v + 1) for v in voxel))
        return load(chunk) is not None

    chunks = Chunks(tuple(view.chunk_layout.read_chunk.shape), 0, there)
    return Source(name, "precomputed", tuple(view.shape), np.dtype(view.dtype.numpy_dtype), read, at, chunks=chunks)
