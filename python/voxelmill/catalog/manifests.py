"""What a release holds, as it was written: for releases, lineage, regions and queries alike, and knowing none of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..core.errors import DataError, ParameterError
from .store import Store


def release_of(store: Store, tag: str) -> dict[str, Any]:
    """`release.json`. Raises ParameterError where there is no such release, DataError where it is damaged."""
    store.release(tag)
    try:
        return store.facts(tag)
    except FileNotFoundError:
        raise ParameterError(f"no release {tag!r}; there are: {', '.join(store.tags()) or 'none'}") from None


def manifest_of(store: Store, tag: str) -> dict[str, Any]:
    """What a release holds. Raises DataError where the manifest is not that of its id."""
    facts, path = release_of(store, tag), store.release(tag) / "manifest.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; restore it from a copy") from None
    if hashlib.sha256(text).hexdigest() != facts["id"]:
        raise DataError(f"{path}: not the manifest of release {facts['id'][:12]}; restore it from a copy")
    return json.loads(text)


def status(store: Store) -> dict[str, str]:
    """Of each tag: `withdrawn`, or `good`."""
    found: dict[str, str] = {}
    for event in store.events():
        if event["action"] == "withdraw":
            found[event["tag"]] = "withdrawn"
    return {tag: found.get(tag, "good") for tag in store.tags()}
