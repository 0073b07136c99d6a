"""The JSON schemas of OME-NGFF, as the package ngff-zarr carries them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def validate(attributes: dict[str, Any], kind: str, version: str) -> None:
    """Raises ValidationError unless these attributes of a group are an `image`, a `label`, a `scene` of this version.

    Skips the test where ngff-zarr is not installed."""
    import pytest
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    folder = Path(ngff_zarr.__file__).parent / f"spec/{version}/schemas"
    schemas = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.schema")}
    known = [(schema["$id"], DRAFT202012.create_resource(schema)) for schema in schemas.values() if "$id" in schema]
    Draft202012Validator(schemas[kind], registry=Registry().with_resources(known)).validate(attributes)
