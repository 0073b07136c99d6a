"""The metadata files of a store, JSON: read with bounds, checked before anything is allocated, written by version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import ngff
from .errors import DataError
from .space import Space

MOST_METADATA = 2**24  # bytes of one metadata file
MOST_IN_CHUNK = 2**30  # values that must be decoded together


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a metadata file. Raises DataError where there is none."""
    try:
        if path.stat().st_size > MOST_METADATA:
            raise DataError(f"{path}: {path.stat().st_size} bytes of metadata; expected under {MOST_METADATA}")
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__} where an object is expected")
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not readable as metadata ({error}); write it again") from None
    return found


def check_metadata(meta: dict[str, Any], path: Path | str) -> None:
    """Refuse an array's metadata (Zarr v2 or v3, from this file) that no real volume has, before anything is allocated.

    Raises DataError naming the field: shape, chunk shape, inner chunk shape."""
    try:
        if "chunks" in meta:
            fields = {"shape": meta["shape"], "chunks": meta["chunks"]}
        else:
            outer = meta["chunk_grid"]["configuration"]["chunk_shape"]
            fields = {"shape": meta["shape"], "chunk_shape": outer}
            for codec in meta["codecs"]:
                if codec["name"] == "sharding_indexed":
                    fields["inner chunk_shape"] = codec["configuration"]["chunk_shape"]
        for name, value in fields.items():
            if len(value) != len(meta["shape"]) or not all(type(n) is int and 0 < n < 2**40 for n in value):
                raise DataError(f"{path}: {name} is {str(value)[:80]}; expected whole numbers, 1 to 2^40, one per axis")
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a Zarr array's metadata ({type(error).__name__}: {error})") from None
    name, chunk = fields.popitem()
    size = float(np.prod([float(min(c, n)) for c, n in zip(chunk, meta["shape"], strict=True)]))
    if size > MOST_IN_CHUNK:
        raise DataError(
            f"{path}: {name} {chunk} means {size:.1e} values in one chunk; expected under {MOST_IN_CHUNK:.1e}. Rechunk it"
        )


def multiscales(spaces: Sequence[Space], name: str) -> dict:
    """The `multiscales` entry (OME-NGFF 0.5, section 3.4) of an image whose levels lie in these spaces."""
    described = [{"name": a.name, "type": a.type, **({"unit": a.unit} if a.unit else {})} for a in spaces[0].axes]
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": list(space.scale)},
                {"type": "translation", "translation": list(space.origin)},
            ],
        }
        for n, space in enumerate(spaces)
    ]
    return {"name": name, "axes": described, "datasets": datasets}


def write_group(root: Path, attributes: dict[str, Any] | None = None, version: str = "0.5") -> None:
    """Write a group's metadata, given as 0.5 has it: `zarr.json` with `ome`, or `.zgroup` and `.zattrs` for 0.4."""
    root.mkdir(parents=True, exist_ok=True)
    if version != "0.4":
        if attributes and version == "0.6" and "multiscales" in attributes:
            attributes = {**attributes, "multiscales": [ngff.as_0_6(entry) for entry in attributes["multiscales"]]}
        ome = {"ome": {"version": version, **attributes}} if attributes else {}
        text = {"zarr_format": 3, "node_type": "group", "attributes": ome}
        (root / "zarr.json").write_text(json.dumps(text, indent=1))
        return
    (root / ".zgroup").write_text('{"zarr_format": 2}')
    if attributes:
        scales = [{**m, "version": "0.4"} for m in attributes.get("multiscales", [])]
        body = {**attributes, **({"multiscales": scales} if scales else {})}
        if "image-label" in body:
            body["image-label"] = {**body["image-label"], "version": "0.4"}
        (root / ".zattrs").write_text(json.dumps(body, indent=1))


def attributes(root: Path) -> dict[str, Any]:
    """OME attributes of a group, of 0.5 or 0.4; empty where there are none."""
    if (root / "zarr.json").exists():
        found = read_json(root / "zarr.json").get("attributes", {})
    elif (root / ".zattrs").exists():
        found = read_json(root / ".zattrs")
    else:
        return {}
    try:
        return ngff.attributes_of(found)
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
