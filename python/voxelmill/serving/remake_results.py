"""`voxelmill remake`: a run's results after a change of their merge table, with a record of it: they still fit for a release.

    TABLE --changes--> parts of the merge table --remake--> what hangs on root ids that changed
                                                  |
                          provenance/remake.N.provenance.json, published.json

Scores are made again where the run had a truth (`postprocess/rescore.py`); what is by threshold, and the curve, are of the
run's agglomeration and go. Flat labels, report and other figures are those of the run, and stay.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..core import manifest, runs
from ..core.errors import DataError, StorageError
from ..core.files import below
from ..core.params import Params
from ..core.provenance import Task
from ..postprocess import graph, rescore
from . import neurites, remake

OLD = {rescore.SCORE, rescore.EVALUATION, "figures/threshold_curve.png"}  # of the neurites before
READ = ("tables/merge/", "tables/synapses", "tables/neurons", "volumes/supervoxels.ome.zarr")  # what a remake begins with


class Remade(Params):
    """What the record says as its parameters."""

    merge: str


def of_table(results: Path, table: Path) -> tuple[np.ndarray, list[str]]:
    """Take the root ids of `table` for those of a finished run. Returns root ids touched, and scores taken away.

    table: a folder as `tables/merge`, or a file, CSV or Parquet, of `supervoxel, root_id` of those that change.
    Raises DataError for a table that does not fit, StorageError where no run has ended well."""
    listed = results / "published.json"
    if not listed.exists() or (results / "INCOMPLETE").exists():
        raise StorageError(f"{results}: no finished run here; expected the --outdir of a connectome that has ended well")
    for name in READ[:1] + READ[3:]:
        if not (results / name).exists():
            raise DataError(f"{results / name}: not there; expected the --outdir of a connectome with a graph")
    p, g = (remake.parameters(results, *of) for of in (("neurites", neurites.Parameters), ("graph", graph.Parameters)))
    before = {name: (results / name).stat().st_ino for name in below(results)}
    task = Task("remake", Remade(merge=table.name))
    with tempfile.TemporaryDirectory(dir=results, prefix=".remake-") as folder:
        merge = table if table.is_dir() else changed(results / "tables/merge", table, Path(folder) / "merge")
        touched = remake.remake(results, merge, p, g)  # type: ignore[arg-type]
    if not len(touched):
        return touched, []
    after = {name: (results / name).stat().st_ino for name in below(results)}
    task.report(neurites_touched=len(touched))
    made = sorted(name for name, inode in after.items() if before.get(name) != inode)
    parts = [remake.part_of(part) for part in sorted((results / "tables/merge").glob("*.parquet"))]
    supervoxel, root = (np.concatenate([getattr(part, name) for part in parts]) for name in ("supervoxel", "segment"))
    order = np.argsort(supervoxel)
    scores = rescore.of_results(results, results, supervoxel[order], root[order].astype(np.uint64))
    for name, figures in scores.items():
        replace(results / name, figures)
    return touched, account(task, results, [*made, *scores])


def changed(old: Path, table: Path, new: Path) -> Path:
    """The parts of a merge table with the root ids that a file names. Parts without a change are the same files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    supervoxel, root = rows_of(table)
    seen = np.zeros(len(supervoxel), bool)
    new.mkdir()
    for part in sorted(old.glob("*.parquet")):
        whole = pq.read_table(part)
        here, roots = whole["supervoxel"].to_numpy().astype(np.uint64), whole["root_id"].to_numpy().astype(np.uint64)
        at = np.minimum(np.searchsorted(supervoxel, here), len(supervoxel) - 1)
        named = supervoxel[at] == here
        seen[at[named]] = True
        wanted = np.where(named, root[at], roots)
        if (wanted == roots).all():
            os.link(part, new / part.name)
            continue
        column = whole.schema.get_field_index("root_id")
        kind = whole.schema.field(column)
        pq.write_table(whole.set_column(column, kind, pa.array(wanted).cast(kind.type)), new / part.name, compression="zstd")
    if not seen.all():
        raise DataError(f"{table}: {supervoxel[~seen][0]} is no supervoxel of {old}; expected ids of its first column")
    return new


def rows_of(table: Path) -> tuple[np.ndarray, np.ndarray]:
    """Supervoxels, ascending, and root ids of a file: uint64 (n,) each. Raises DataError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(table) if table.suffix == ".parquet" else pyarrow.csv.read_csv(table)
        supervoxel, root = (found[name].cast(pa.uint64()).to_numpy() for name in ("supervoxel", "root_id"))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{table}: {error}; expected CSV or Parquet with whole numbers in supervoxel, root_id") from None
    order = np.argsort(supervoxel)
    supervoxel, root = supervoxel[order], root[order]
    if not len(supervoxel):
        raise DataError(f"{table}: no rows; expected supervoxel, root_id of those that change")
    if (twice := supervoxel[1:] == supervoxel[:-1]).any():
        raise DataError(f"{table}: supervoxel {supervoxel[1:][twice][0]} is there twice; expected one row each")
    if not root.all():
        raise DataError(f"{table}: root id 0 of supervoxel {supervoxel[root == 0][0]}; expected 1 or more, 0 is background")
    return supervoxel, root


def account(task: Task, results: Path, made: list[str]) -> list[str]:
    """Record what was made, bring `published.json` up to date, take scores away; returns these."""
    listed = json.loads((results / "published.json").read_text())
    rows = listed["files"]
    inputs = [
        {"name": row["path"], "path": row["path"], "digest": row["digest"], "bytes": row["bytes"]}
        for row in rows
        if row["path"].startswith(READ)
    ]
    record = {**task.record(inputs, [described(results, name) for name in made]), "run_id": listed["run_id"]}
    name = f"remake.{len(list((results / 'provenance').glob('remake.*')))}.provenance.json"
    replace(results / "provenance" / name, record)
    kept = {rescore.OVERLAP, rescore.SKELETONS, *made}
    scores = [row["path"] for row in rows if row["stage"] in ("evaluate", "remake") and row["path"] in OLD - kept]
    stay = [row for row in rows if row["path"] not in {*made, *scores} and (results / row["path"]).exists()]
    listed["files"] = sorted([*stay, *runs.published([{**record, "record": name}])], key=lambda row: row["path"])
    replace(results / "published.json", listed)
    for score in scores:
        path = results / score
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return scores


def described(results: Path, name: str) -> dict[str, Any]:
    """A published file for the record."""
    path = results / name
    said = {"name": name, "path": name, "published": name}
    return {**said, "digest": manifest.digest_file(path), "bytes": path.stat().st_size}


def replace(path: Path, said: dict[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(said, indent=1, sort_keys=True))
    os.replace(partial, path)
