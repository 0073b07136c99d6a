"""Remake: results after a change of their merge table. What hangs on root ids that changed is made anew, and nothing else.

    tables/merge/         parts that differ are replaced
    meshes/, skeletons/   of root ids whose supervoxels changed; made from the supervoxels of the tiles in which those lie
    tables/neurons        their rows; synapses in and out of all
    tables/, graph/       synapses by their supervoxels, and what follows from them, in seconds

The flat labels are an export of the first table and stay. So do the meshes of neighbours, whose surface a full run may place
up to a voxel of the mesh elsewhere; and synapses are those that were found with the first labels.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..core import blocks, ids, levels, runs
from ..core.errors import DataError
from ..core.params import Params
from ..core.provenance import Task
from ..core.volume import Image, Region, open_image
from ..inference import section_linking, seeded_watershed
from ..postprocess import graph, shapes
from . import meshes, neurites, neurons

Model = TypeVar("Model", bound=Params)
PENDING = ".remake-pending"  # root ids whose files are being replaced
EDGE = 2  # voxels of a skeleton around a box: a surface belongs to the tile of the voxel after it


def touched(old: Path, new: Path) -> np.ndarray:
    """Root ids, ascending, whose supervoxels are not the same in two merge tables (folders of parts of the same names).

    Raises DataError where the tables are not of the same supervoxels."""
    names = [{path.name for path in folder.glob("*.parquet")} for folder in (old, new)]
    if names[0] != names[1] or not names[0]:
        raise DataError(f"{new}: parts {sorted(names[1])[:3]}...; expected those of {old}, {sorted(names[0])[:3]}...")
    found = [np.zeros(0, np.uint64)]
    for name in sorted(names[0]):
        if (old / name).read_bytes() == (new / name).read_bytes():
            continue
        before, after = (part_of(folder / name) for folder in (old, new))
        if not np.array_equal(before.supervoxel, after.supervoxel):
            raise DataError(f"{new / name}: other supervoxels than in {old / name}; expected the same, with other root ids")
        other = before.segment != after.segment
        found += [table.segment[other].astype(np.uint64) for table in (before, after)]
    return np.unique(np.concatenate(found))


def part_of(path: Path) -> section_linking.MergeTable:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = {"supervoxel": np.uint64, "root_id": np.uint64, "score": np.float32}
    return section_linking.MergeTable(*(table[name].to_numpy().astype(kind) for name, kind in columns.items()))


@dataclass
class Relabelled(Image):
    """Supervoxels as labels, through a merge table whose parts are read when they are needed."""

    merge: Path = Path()
    _parts: dict[str, section_linking.MergeTable] = field(default_factory=dict, repr=False)

    def read(self, region: Region | slice | int = slice(None), level: int = 0) -> np.ndarray:
        pieces = super().read(region, level)
        known = np.unique(pieces[pieces > 0])
        cells = seeded_watershed.tiles(self.shape)
        layer = self.layout().shard[0]
        section = (ids.decode(known)[0] // np.uint64(np.prod(cells.grid[1:]))).astype(np.int64)
        names = sorted({f"z{z // layer * layer:07d}.parquet" for z in section.tolist()})
        for name in names:
            if name not in self._parts:
                self._parts[name] = part_of(self.merge / name)
        columns = zip(*(self._parts[name] for name in names)) if names else ((), (), ())
        types = (np.uint64, np.uint64, np.float32)
        table = section_linking.MergeTable(*(np.concatenate([np.zeros(0, t), *c]) for c, t in zip(columns, types)))
        return section_linking.remap(pieces, table)


def remake(results: Path, merge: Path, p: neurites.Parameters, g: graph.Parameters, memory_mb: int = 1024) -> np.ndarray:
    """Take `merge` (a folder like tables/merge) for the merge table of a finished `connectome`. Returns the root ids touched.

    p, g: as the run had them. What is made lies beside until it is whole; each file is replaced, never written into."""
    task, roots, pending = Task("remake", p), touched(results / "tables/merge", merge), results / PENDING
    if pending.exists():  # of a call that was killed: whatever the table says now, these are part old, part new
        roots = np.union1d(roots, np.array(json.loads(pending.read_text()), np.uint64))
    with tempfile.TemporaryDirectory(dir=results, prefix=".remake-") as folder:
        made = Path(folder)
        files = made / "files"
        rows = shapes_of(p, task, results, merge, roots, made, files) if len(roots) else None
        rewired(g, task, results, merge, made, memory_mb)
        if rows is not None:
            with_rows(results, rows, roots, made)
        shown = {path.relative_to(files) for path in files.rglob("*") if path.is_file()}
        (made / PENDING).write_text(json.dumps(roots.tolist()))
        os.replace(made / PENDING, pending)
        for source, target in ((files, results), (made / "tables", results / "tables"), (made / "graph", results / "graph")):
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
        remove(results, roots, shown)
        for name in (path.name for path in merge.glob("*.parquet")):
            if (merge / name).read_bytes() != (results / "tables/merge" / name).read_bytes():
                shutil.copyfile(merge / name, made / name)
                os.replace(made / name, results / "tables/merge" / name)
        pending.unlink()
    return roots


def shapes_of(
    p: neurites.Parameters, task: Task, results: Path, merge: Path, roots: np.ndarray, made: Path, files: Path
) -> Path:
    """Meshes and skeletons of root ids below `files`, and a table of their rows."""
    stored = open_image(results / "volumes/supervoxels.ome.zarr")
    image = Relabelled(**{**stored.__dict__, "_open": {}, "_shards": {}}, merge=merge)
    tiles = tiles_of(p, image, results / "tables/neurons.parquet", roots)
    tables = [made / f"{name}.parquet" for name in ("sizes", "fragments", "coarse")]
    shapes.write((only(shapes.shapes(p, image, tile), roots) for tile in tiles), *tables)
    table = neurites.totals(tables[:1], 0, 1)
    kept = table["root_id"][table["voxels"] >= p.neurite_min_voxels]
    for name in ("meshes", "skeletons"):
        (files / name).mkdir(parents=True)
    if p.meshes:
        p = p.model_copy(update={"mesh_format": meshes.format_of(results / "meshes")})  # an older run had another default
        neurites.write_meshes(p, image.space, files / "meshes", tables[1:2], kept, made / "largest.parquet", {})
    measured = {}
    if p.skeletons:
        measured = neurites.write_skeletons(p, task, image.space, image.shape, tables[2:], [kept], files / "skeletons")
    neurites.write_rows(made / "rows.parquet", table, measured, image.space)
    return made / "rows.parquet"


def tiles_of(p: shapes.Shapes, image: Image, rows: Path, roots: np.ndarray) -> list[Region]:
    """Tiles, as `shapes` takes them, that the boxes of these root ids touch; all of them where no length is known."""
    import pyarrow.parquet as pq

    lay = image.layout()
    shards = blocks.regions(lay, f"0-{int(np.prod(lay.grid)) - 1}")
    tiles = [tile for region in shards for tile in levels.tiles(region, shapes.TILE)]
    if not image.space.known:
        return tiles
    table = pq.read_table(rows)
    there = np.isin(table["root_id"].to_numpy(), roots)
    boxes = np.array([[table[f"{a}_{end}_nm"].to_numpy()[there] for end in ("min", "max")] for a in "zyx"])
    boxes = (boxes - np.reshape(image.origin, (3, 1, 1))) / np.reshape(image.scale, (3, 1, 1)) + 0.5  # first, one after last
    margin = EDGE * np.array(shapes.Steps.of(p, image.space).skeleton)
    ends = [np.array([[s.start - m, s.stop + m] for s, m in zip(tile, margin)]) for tile in tiles]
    return [t for t, e in zip(tiles, ends) if ((e[:, 1] > boxes[:, 0].T) & (e[:, 0] < boxes[:, 1].T)).all(1).any()]


def only(found: shapes.Found, roots: np.ndarray) -> shapes.Found:
    """Of a tile what belongs to these root ids."""
    there, wanted = np.isin(found.sizes["root_id"], roots), set(roots.tolist())
    blobs = ([one for one in some if one[0] in wanted] for some in (found.fragments, found.coarse))
    return shapes.Found(found.tile, {name: column[there] for name, column in found.sizes.items()}, *blobs)


def rewired(g: graph.Parameters, task: Task, results: Path, merge: Path, made: Path, memory_mb: int) -> None:
    """Synapses with the root ids of a merge table, edges, nodes and exports, below `made`."""
    for name in ("tables", "graph"):
        (made / name).mkdir()
    graph.rewire(g, task, results / "tables", sorted(merge.glob("*.parquet")), made / "tables", made / "graph", memory_mb)


def with_rows(results: Path, rows: Path, roots: np.ndarray, made: Path) -> None:
    """The table of neurons with these rows in place of those of `roots`, and everyone's synapses."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    old = pq.read_table(results / "tables/neurons.parquet").drop_columns(["synapses_in", "synapses_out"])
    pq.write_table(old.filter(pa.array(~np.isin(old["root_id"].to_numpy(), roots))), made / "old.parquet")
    neurons.write_neurons(made / "tables/neurons", [made / "old.parquet", rows], made / "tables/nodes.parquet")


def remove(results: Path, roots: Sequence[int] | np.ndarray, kept: set[Path]) -> None:
    """Meshes and skeletons of root ids, but for these."""
    for root in map(int, roots):
        for path in (*results.glob(f"meshes/{root}:0:*"), *(results / name for name in runs.files_of_neurite(root))):
            if path.relative_to(results) not in kept:
                path.unlink(missing_ok=True)


def parameters(results: Path, stage: str, model: type[Model]) -> Model:
    """As the run had them, from a record of the stage; the defaults where it has left none."""
    path = next(iter(sorted((results / "provenance").glob(f"{stage}.*provenance.json"))), None)
    said = json.loads(path.read_text())["params"] if path else {}
    return model.model_validate({name: value for name, value in said.items() if name in model.model_fields})
