"""Parameter sets: canonical JSON, known by its sha256. What differs between two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import DataError, ParameterError
from . import lineage
from .store import Store


def diff(a: str, b: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Rows (name, a, b) of the parameters that differ; one that a set lacks is null there."""
    first, second = (load(word, folder) for word in (a, b))
    return [
        {"name": name, "a": first.get(name), "b": second.get(name)}
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def load(word: str, folder: Path | None = None) -> dict[str, Any]:
    """A set of parameters: of a JSON file, of a task's record, or of the catalogue by (the beginning of) its hash; by a
    release's tag those of all its tasks, as `stage.name`."""
    path = Path(word)
    if path.is_file():
        try:
            found = json.loads(path.read_text())
            return dict(found["params"] if "params_hash" in found else found.items())
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError(f"{path}: no JSON object of parameters") from None
    if folder is None:
        raise ParameterError(f"{word}: no file; to look a hash or a release up give the catalogue by --store")
    store = Store(folder)
    with lineage.current(store) as con:
        if word in store.tags():
            rows = con.execute("SELECT t.stage, t.params FROM held h JOIN tasks t ON t.id = h.task WHERE h.tag = ?", (word,))
            return {f"{stage}.{name}": value for stage, text in rows for name, value in json.loads(text).items()}
        found = [(digest, values) for digest, _, values in lineage.parameter_sets(con) if digest.startswith(word.lower())]
    if len(found) != 1:
        raise DataError(f"{word}: {len(found) or 'no'} sets of parameters have a hash that begins so")
    return found[0][1]
