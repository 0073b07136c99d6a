"""Can every published file be followed to the raw bytes? By digests alone, file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core import manifest, runs

# Accounts of the run itself, which no task makes.
ACCOUNTS = ("provenance", "pipeline_info", "runs.sqlite", "published.json", ".voxelmill.lock")


def check_chain(outdir: Path, sources: Iterable[Path]) -> list[dict[str, Any]]:
    """The records of a run. Raises AssertionError naming the first file or input that cannot be followed.

    Every published file is in `published.json`, by itself or in a store, with the digest of its bytes; that digest
    stands in the outputs of the record named there; and each input of each record is the output of another task, a
    record of one, or a file (or folder) of `sources`."""
    found = runs.records(outdir)
    assert found, f"{outdir}: no records"
    listed = {row["path"]: row for row in json.loads((outdir / "published.json").read_text())["files"]}
    made = {item["digest"]: record["record"] for record in found for item in record["outputs"]}
    for path in sorted(p for p in outdir.rglob("*") if p.is_file()):
        name = str(path.relative_to(outdir))
        if name.split("/")[0] not in ACCOUNTS:
            row = row_of(name, listed)
            assert digest_in(outdir, name, row) == sha256(path), f"{name}: not the bytes of {row}"
            assert row["digest"] in made, f"{name}: no record has made it"
            record = json.loads((outdir / row["record"]).read_text())
            assert row["digest"] in {item["digest"] for item in record["outputs"]}, f"{name}: not of {row['record']}"
    records = {sha256(outdir / "provenance" / record["record"]) for record in found}
    known = {*made, *records, *(manifest.digest_of(path) for path in sources)}
    for record in found:
        for item in record["inputs"]:
            assert item["digest"] in known, f"{record['record']}: nobody has made its input {item['name']}"
    return found


def row_of(name: str, listed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row of `published.json` that accounts for a file: its own, or that of the store it lies in or belongs to."""
    parts = name.removesuffix(".manifest.json").split("/")
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in listed:
            return listed["/".join(parts[:n])]
    raise AssertionError(f"{name}: published, and not in published.json")


def digest_in(outdir: Path, name: str, row: dict[str, Any]) -> str:
    """What the digest of a file must be."""
    store = outdir / row["path"]
    if not store.is_dir():
        return row["digest"]
    found = manifest.read(store)
    assert found and found["digest"] == row["digest"], f"{row['path']}: not the manifest of {row['record']}"
    if outdir / name == manifest.path_of(store):
        return sha256(outdir / name)
    return found["files"][str(Path(name).relative_to(row["path"]))][1]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
