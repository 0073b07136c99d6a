"""OME-Zarr 0.1 to 0.6, plain Zarr arrays (v2, v3) and N5, in whatever a `KvStore` can be.

A group that is no image is searched for images and arrays; where its server does not list, by its consolidated
metadata. Scale and origin come from the `multiscales` or from attributes that are in use:

| attribute | order | unit |
|---|---|---|
| `resolution`, `voxel_size` and `offset` (CREMI, funlib) | the array's | `units` or `unit`, else nm |
| `dimension_units` (TensorStore): `4 nm`, or only units of `resolution` | the array's | its own |
| `pixelResolution` (N5): `dimensions`, `unit` | the array's | its own, else not known |
| `transform` (COSEM): `axes`, `scale`, `translate`, `units` | its own | its own |
| `dimension_names`, `_ARRAY_DIMENSIONS`, `axis_names`, `axes` | the array's | |

They may stand on a group around the array (Paintera, n5-viewer, CREMI); the finest level of a pyramid (`s0`) is meant then.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError, StorageError
from ...core.metadata import check_metadata
from ...core.ngff import Multiscales, multiscales
from . import codecs
from .axes import Turn, coarser, name_all, strange, turn
from .kvstore import KvStore
from .source import Placed, Source, Wanted, placed
from .tensors import Opener, tensor_source

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json")
DEEPEST = 8  # groups in groups that are searched


@dataclass(frozen=True)
class Node:
    """A group or an array: its metadata as it is written, and its attributes."""

    store: KvStore
    driver: str  # zarr, zarr3 or n5
    attributes: dict[str, Any]
    array: dict[str, Any] | None  # None: a group

    @property
    def image(self) -> Multiscales | None:
        """Its `multiscales`, if it is an image. Raises DataError naming what is wrong with them."""
        try:
            return None if self.array is not None else multiscales(self.attributes)
        except DataError as error:
            raise DataError(f"{self.store}: {error}") from None


def node(store: KvStore) -> Node | None:
    """What lies there; None where nothing does."""
    found = store.json("zarr.json")
    if found is not None:
        attributes = found.get("attributes", {})
        if not isinstance(attributes, dict):
            raise DataError(f"{store}: attributes are a {type(attributes).__name__}; expected an object")
        return Node(store, "zarr3", attributes, found if found.get("node_type") == "array" else None)
    array = store.json(".zarray")
    group, attributes = (None if array else store.json(".zgroup")), store.json(".zattrs")
    if array or group or attributes is not None:
        return Node(store, "zarr", attributes or {}, array)
    attributes = store.json("attributes.json")
    if attributes is not None:
        return Node(store, "n5", attributes, attributes if "dimensions" in attributes else None)
    return None


def open_zarr(store: KvStore, wanted: Wanted) -> Source:
    """The array or image that is wanted.

    Raises StorageError where nothing of the kind is there, ParameterError where the key must say which."""
    root = node(store)
    if root is None and store.listed:
        plain = Node(store, "zarr", {}, None)  # a folder of arrays is a group, whether or not it says so
        root = plain if _inside(plain) else None
    if root is None and not wanted.key:
        raise StorageError(f"{store}: no Zarr or N5 here (none of {', '.join(METADATA)}); check the address")
    found = node(store / wanted.key) if wanted.key else root
    if found is None:
        inside = _inside(root) if root else []
        listed = f"; give one of {', '.join(inside[:20])}" if inside else ""
        raise ParameterError(f"{store}: no {wanted.key} in it; correct {wanted.flag}{listed}")
    if wanted.labels and not wanted.key and found.image and "image-label" not in _ome(found):
        labels = _labels(found)
        if labels:  # an image with labels of its own: its grey values are not the truth
            return open_zarr(found.store / wanted.choose(labels, str(store)), Wanted("", wanted.channel, True))
    if found.array is not None or found.image:
        return _open(found, wanted)
    inside = _inside(found)
    if not inside and not found.store.listed:
        raise ParameterError(
            f"{found.store}: a group, and what is in it is not listed there; name the dataset with {wanted.flag}"
        )
    chosen = Wanted("", wanted.channel, wanted.labels).choose(inside, str(found.store))
    return open_zarr(found.store / chosen, Wanted("", wanted.channel, wanted.labels))


def _open(found: Node, wanted: Wanted) -> Source:
    image, name = found.image, str(found.store)
    if image is None:
        opener, shape = _opener(found)
        names, said = _names(found)
        how = turn(names, shape, wanted.channel, name)
        at, more = _of_array(found, how)
        return _finished(found, opener, how, name, at, said + more)
    finest = image.finest
    level = node(found.store / image.paths[finest])
    if level is None or level.array is None:
        raise DataError(f"{name}: multiscales name a dataset {image.paths[finest]}, and no array is there")
    opener, shape = _opener(level)
    axes = image.axes[-len(shape) :] if image.version in ("0.1", "0.2") else image.axes
    how = turn(axes, shape, wanted.channel, name)
    at = Placed()
    if image.scales and image.translations:
        at = placed(how.pick(image.scales[finest]), how.pick(image.units), how.pick(image.translations[finest]))
    said = [f"its first level is not the finest; level {image.paths[finest]} is read"] if finest else []
    return _finished(level, opener, how, name, at, said)


def _finished(found: Node, opener: Opener, how: Turn, name: str, at: Placed, remarks: list[str]) -> Source:
    if found.driver != "n5" and codecs.needed(found.store, found.array or {}):
        made = codecs.zarr_source(found.store, how, name, at, _separator(found))
    else:
        made = tensor_source(opener, how, name, "n5" if found.driver == "n5" else "zarr", at)
    made.remarks = remarks
    made.why_blank = functools.partial(why_blank, found)
    return made


def _opener(found: Node) -> tuple[Opener, tuple[int, ...]]:
    """How TensorStore opens an array, and its shape."""
    assert found.array is not None
    store, meta = found.store, found.array
    if found.driver == "n5":
        shape = meta["dimensions"]
        check_metadata({"shape": shape, "chunks": meta.get("blockSize", shape)}, f"{store}/attributes.json")
    else:
        check_metadata(meta, f"{store}/{'zarr.json' if found.driver == 'zarr3' else '.zarray'}")
        shape = meta["shape"]
    more = {"metadata": stated} if (stated := _separator(found)) else {}
    return lambda sparse: store.opened(found.driver, fill_missing_data_reads=sparse, **more), tuple(shape)


def _separator(found: Node) -> dict[str, str]:
    """What the metadata of a Zarr v2 array should say of its chunks' names, where they say nothing and are wrong."""
    meta = found.array or {}
    silent = found.driver == "zarr" and "dimension_separator" not in meta
    return {"dimension_separator": "/"} if silent and nested(found.store, len(meta["shape"])) else {}


def nested(store: KvStore, count: int) -> bool:
    """Whether the chunks of a Zarr v2 array that does not say so lie in folders (`0/0/0`, not `0.0.0`)."""
    if count < 2:
        return False
    if not store.listed:
        first = ["0"] * count
        return store.read(".".join(first)) is None and store.read("/".join(first)) is not None
    entries = list(store.entries())
    return any(e[:-1].isdigit() for e in entries if e.endswith("/")) and not any(
        e.count(".") and e[0].isdigit() for e in entries
    )


def why_blank(found: Node) -> str:
    """Where all voxels read as the fill value: the files that are there and are no chunks of this array, if any."""
    others = [e for e in found.store.entries() if e not in METADATA and not e.startswith(".")]
    if not others:
        return "there are no chunks" if found.store.listed else "its chunks are not there"
    return (
        f"no chunk of it can be found, though {others[0].rstrip('/')} is there: is the chunk separator in its metadata right?"
    )


def _ome(found: Node) -> dict[str, Any]:
    inner = found.attributes.get("ome", found.attributes)
    return inner if isinstance(inner, dict) else {}


def _labels(found: Node) -> list[str]:
    below = node(found.store / "labels")
    names = _ome(below).get("labels", []) if below else []
    return [f"labels/{name}" for name in names] if isinstance(names, list) else []


def _inside(group: Node) -> list[str]:
    """Paths of the images and arrays below a group; what lies in an image is not listed."""
    consolidated = _consolidated(group)
    names: list[str] = []

    def search(at: str, depth: int) -> None:
        below = group if not at else node(group.store / at)
        if below and (below.array is not None or below.image):
            names.append(at)
            return
        if depth < DEEPEST:
            for entry in (group.store / at).entries():
                if entry.endswith("/"):
                    search(f"{at}/{entry[:-1]}" if at else entry[:-1], depth + 1)

    if consolidated is None:
        search("", 0)
        return names
    images = {path for path, attributes in consolidated.items() if attributes is not None}
    arrays = {path for path, attributes in consolidated.items() if attributes is None}
    return sorted(images | {a for a in arrays if not any(a == i or a.startswith(f"{i}/") for i in images)})


def _consolidated(group: Node) -> dict[str, dict | None] | None:
    """Images (with their attributes) and arrays (None) of a group that cannot be listed; None where it can."""
    if group.store.listed:
        return None
    v3 = (group.store.json("zarr.json") or {}).get("consolidated_metadata") or {}
    found: dict[str, dict | None] = {}
    for path, meta in (v3.get("metadata") or {}).items():
        if meta.get("node_type") == "array":
            found[path] = None
        elif multiscales(meta.get("attributes", {})):
            found[path] = meta["attributes"]
    for key, meta in ((group.store.json(".zmetadata") or {}).get("metadata") or {}).items():
        path, _, file = key.rpartition("/")
        if file == ".zarray":
            found.setdefault(path, None)
        elif file == ".zattrs" and path and meta.get("multiscales"):
            found[path] = meta
    return found


def _names(found: Node) -> tuple[list[str] | None, list[str]]:
    """Names of the array's axes, where it has them and z, y, x are among them; a remark on others."""
    assert found.array is not None
    attributes = found.attributes
    stated = (
        found.array.get("dimension_names")
        or attributes.get("_ARRAY_DIMENSIONS")
        or attributes.get("axis_names")
        or attributes.get("axes")
    )
    if isinstance(stated, str):
        stated = re.split(r"[,\s]+", stated.strip()) if re.search(r"[,\s]", stated.strip()) else list(stated)
    shape = found.array["dimensions" if found.driver == "n5" else "shape"]
    said: list[str] = []
    if isinstance(stated, list):
        names = [str((n.get("name") if isinstance(n, dict) else n) or "").removesuffix("^") for n in stated]
        if name_all(names, len(shape)):
            return names, []
        said = strange(names)
    return ["x", "y", "z", "c", "t"][: len(shape)] if found.driver == "n5" and len(shape) >= 3 else None, said


def _of_array(found: Node, how: Turn) -> tuple[Placed, list[str]]:
    """Where it lies by its own attributes, else by the nearest group around it; of a pyramid its finest level only."""
    own, above = _from_attributes(found, how), found.store.above
    name = found.store.inside.split("/")[-1]
    if coarser(name):
        return own, []
    while own == Placed() and above is not None:
        group = node(above)
        own = _from_attributes(group, how) if group else own
        if own != Placed():
            said = f"its voxel size and origin are those of the group {above.inside or above} around it"
            return own, [] if name == "s0" else [said]
        above = above.above
    return own, []


def _from_attributes(found: Node, how: Turn) -> Placed:
    """Where a plain array says that its voxels lie, or the group of a pyramid says it of them."""
    attributes, count = found.attributes, len(how.index)
    try:
        if isinstance(transform := attributes.get("transform"), dict):
            axes = [str(a).lower() for a in transform["axes"]]
            scale, told, moved = ([transform[k][axes.index(a)] for a in "zyx"] for k in ("scale", "units", "translate"))
            return placed(scale, told, moved)
        if isinstance(pixel := attributes.get("pixelResolution"), dict):
            return placed(_three(pixel["dimensions"], how), [pixel.get("unit")] * 3)
        stated, dimensions = attributes.get("resolution", attributes.get("voxel_size")), attributes.get("dimension_units")
        if isinstance(dimensions, list):
            stated, dimensions = sized(dimensions, stated)
        if stated is None:
            return Placed()
        of_axes = [a.get("unit") if isinstance(a, dict) else None for a in attributes.get("axes") or ()]
        units = attributes.get("units", attributes.get("unit", dimensions or (of_axes if any(of_axes) else "nm")))
        units = [units] * count if isinstance(units, str) else list(units)
        shift = attributes.get("offset")
        return placed(_three(stated, how), _three(units, how), None if shift is None else _three(shift, how))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return Placed(unknown=f"resolution in its attributes is malformed ({type(error).__name__}: {error})")


def sized(stated: list, sizes: list | None) -> tuple[list | None, list[str]]:
    """Sizes and units from `dimension_units`: `4 nm`, or units alone, of sizes that stand elsewhere.

    Raises ValueError where two sizes contradict each other."""
    found = [re.fullmatch(r"\s*([-+\d.]+(?:[eE][-+]?\d+)?)?\s*(.*)", str(one or "")) for one in stated]
    units, numbers = [m[2] if m else "" for m in found], [float(m[1] or 1) if m else 1.0 for m in found]
    if not any(m and m[1] for m in found):
        return sizes, units
    if sizes is not None and not np.allclose(np.asarray(sizes, float), numbers):
        raise ValueError(f"resolution {sizes}, but dimension_units {stated}")
    return numbers, units


def _three(values: list, how: Turn) -> tuple:
    """Of z, y, x, from one value for each axis, or for each of those three in the array's order."""
    values = list(values)
    if len(values) == 3:
        order = sorted(how.kept)
        return tuple(values[order.index(n)] for n in how.kept)
    if len(values) != len(how.index):
        raise ValueError(f"{len(values)} numbers for {len(how.index)} axes")
    return how.pick(values)
