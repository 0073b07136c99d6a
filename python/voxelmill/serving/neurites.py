"""Neurites: meshes and skeletons of a batch of root ids, from what was found tile by tile, and a row for each of them.

A root id's files depend on its own voxels and nothing else (`neurite`), so a change of one merge touches two of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ParameterError
from ..core.params import param
from ..core.provenance import Task
from ..core.space import Space
from ..core.stage import In, Out, OutFiles
from ..core.volume import open_image
from ..postprocess import teasar
from ..postprocess.shapes import BOX, Shapes, Steps
from . import meshes

PICTURED = 10  # the largest, whose meshes go on into the picture
AT_ONCE = 100_000_000  # voxels of the volume whose neurites are held for their skeletons: 12 bytes each, 1.2 GB
MOST_VOXELS = 1_000_000  # of a skeleton's object: some 1.2 GB; a larger one is looked at coarser


class Parameters(Shapes, meshes.Meshes):
    """Meshes and skeletons, root id by root id."""

    neurite_min_voxels: int = param(5000, "Neurites below this size get neither mesh nor skeleton", unit="voxel", ge=1)
    skeleton_scale: float = param(
        1.5, "What lies within so many times its depth of a branch is part of it", ge=0, more="More: fewer short branches."
    )
    skeleton_reach: float = param(300.0, "And within so much more", unit="nm", ge=0)


def run(
    p: Parameters,
    task: Task,
    *,
    labels: In,
    sizes: list[In],
    fragments: list[In],
    coarse: list[In],
    batch: str,
    mesh_files: OutFiles,
    skeleton_files: OutFiles,
    rows: Out,
    largest: Out,
) -> None:
    image = open_image(labels)
    table = totals(sizes, *batch_of(batch))
    kept = table["root_id"][table["voxels"] >= p.neurite_min_voxels]
    mesh_files.mkdir()
    skeleton_files.mkdir()
    first = np.argsort(-table["voxels"], kind="stable")[:PICTURED]
    pictured = dict(zip(table["root_id"][first].tolist(), table["voxels"][first].tolist()))
    write_meshes(p, image.space, mesh_files, fragments, kept, largest, pictured)
    groups = in_groups(kept, table["voxels"][table["voxels"] >= p.neurite_min_voxels])
    measured = write_skeletons(p, task, image.space, image.shape, coarse, groups, skeleton_files) if p.skeletons else {}
    write_rows(rows, table, measured, image.space)
    task.report(neurites_traced=len(kept), neurites_too_small=len(table["root_id"]) - len(kept))


def batch_of(batch: str) -> tuple[int, int]:
    """`2-of-5` -> (2, 5): root ids that leave 2 divided by 5."""
    try:
        n, count = (int(word) for word in batch.split("-of-"))
    except ValueError:
        raise ParameterError(f"--batch {batch!r}: expected NUMBER-of-COUNT, for example 0-of-1") from None
    return n, count


def totals(sizes: Sequence[Path], n: int, count: int) -> dict[str, np.ndarray]:
    """One row a root id of a batch, ascending: voxels and surface summed, the box around all."""
    import pyarrow.parquet as pq

    parts = []
    for path in sizes:
        one = pq.read_table(path)
        columns = {name: one[name].to_numpy() for name in one.column_names}
        there = columns["root_id"] % np.uint64(count) == n
        parts.append({name: column[there] for name, column in columns.items()})
    every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(every["root_id"], kind="stable")
    ids, starts = np.unique(every["root_id"][order], return_index=True)
    adders = dict.fromkeys(("voxels", "surface"), np.add) | {name: (np.minimum, np.maximum)[int(name[1])] for name in BOX}
    reduced = {n: adders[n].reduceat(every[n][order], starts) if len(ids) else every[n] for n in adders}
    return {"root_id": ids, **reduced}


def blobs(paths: Sequence[Path], wanted: np.ndarray) -> Iterator[tuple[int, str, bytes]]:
    """(root id, name of the tile, bytes) of the rows of these root ids, file by file, tile by tile."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["root_id"])["root_id"].to_numpy()
                there = np.flatnonzero(np.isin(ids, wanted))
                if len(there):
                    rows = file.read_row_group(group).take(there)
                    yield from zip(*(rows[name].to_pylist() for name in ("root_id", "tile", "data")))


def write_meshes(
    p: Parameters,
    space: Space,
    folder: Path,
    fragments: Sequence[Path],
    kept: np.ndarray,
    largest: Path,
    pictured: dict[int, int],
) -> None:
    """Meshes of root ids; fragments of those pictured, which have so many voxels, go into `largest`, too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"root_id": pa.uint64(), "voxels": pa.int64(), "data": pa.binary()})
    with pq.ParquetWriter(largest, schema, compression="zstd") as shown:

        def found() -> Iterator[tuple[int, str, bytes]]:
            for root, tile, data in blobs(fragments, kept):
                if root in pictured:
                    row = {"root_id": root, "voxels": pictured[root], "data": data}
                    shown.write_batch(pa.RecordBatch.from_pylist([row], schema))
                yield root, tile, data

        meshes.write(p.mesh_format, folder, meshes.Grid.of(p, space), found())


def in_groups(roots: np.ndarray, voxels: np.ndarray) -> list[np.ndarray]:
    """Root ids (n,) of so many voxels each, in groups of about AT_ONCE voxels."""
    return np.split(roots, np.flatnonzero(np.diff(np.cumsum(voxels) // AT_ONCE)) + 1)


def write_skeletons(
    p: Parameters,
    task: Task,
    space: Space,
    shape: tuple[int, ...],
    coarse: Sequence[Path],
    groups: Sequence[np.ndarray],
    folder: Path,
) -> dict[int, dict[str, float]]:
    """A skeleton for each root id; returns what is measured on it. Voxels of one group of root ids at a time are held."""
    (folder / "precomputed").mkdir()
    found: dict[int, dict[str, float]] = {}
    for roots in groups:
        voxels: dict[int, list[np.ndarray]] = defaultdict(list)
        for root, _, data in blobs(coarse, roots):
            voxels[root].append(np.frombuffer(data, "<i4").reshape(-1, 3))
        names = sorted(voxels)
        items = [(root, np.concatenate(voxels.pop(root))) for root in names]
        found |= zip(names, task.each(partial(neurite, p, space, shape, folder), items, "skeletons"))
    if coarser := [root for root in sorted(found) if found[root].pop("coarser")]:
        task.report(coarser_skeletons=coarser)
    return found


def neurite(
    p: Parameters, space: Space, shape: tuple[int, ...], folder: Path, item: tuple[int, np.ndarray]
) -> dict[str, Any]:
    """Write the skeleton of one root id from its voxels at the working resolution; returns what is measured on it."""
    root, voxels = item
    step, coarser = Steps.of(p, space).skeleton, False
    while len(voxels) > MOST_VOXELS:
        step, coarser = tuple(2 * s for s in step), True
        voxels = np.unique(voxels // 2, axis=0)
    level = space.level(step)
    around = tuple(-(-n // s) for n, s in zip(shape, step))
    reach = p.skeleton_reach if space.known else 0.0
    found = teasar.skeleton(voxels.astype(np.int64), level.scale, around, p.skeleton_scale, reach)
    found = found._replace(position=found.position + level.origin)
    write_swc(folder / f"{root}.swc", found, space.known)
    (folder / "precomputed" / f"{root}").write_bytes(as_precomputed(found))
    return {
        "cable": found.length,
        "branch_points": int((found.degree > 2).sum()),
        "end_points": int((found.degree == 1).sum()),
        "pieces": int((found.parent < 0).sum()),
        "coarser": coarser,
    }


def write_swc(path: Path, found: teasar.Skeleton, known: bool) -> None:
    """SWC (Cannon et al. 1998): number, kind (0: not known), x y z, radius, parent, in µm."""
    per = 1e-3 if known else 1.0
    lines = [
        f"# {'micrometer, in the frame of the source' if known else 'voxels; their size is not known'}",
        "# id type x y z radius parent",
    ]
    rows = zip(found.position[:, ::-1] * per, found.radius * per, found.parent)
    lines += [
        f"{n} 0 {x:.4f} {y:.4f} {z:.4f} {r:.4f} {q + 1 if q >= 0 else -1}" for n, ((x, y, z), r, q) in enumerate(rows, 1)
    ]
    path.write_text("\n".join(lines) + "\n")


def as_precomputed(found: teasar.Skeleton) -> bytes:
    """As Neuroglancer has skeletons: numbers of nodes and edges, x y z of nodes, edges, radius."""
    counts = np.array([len(found.parent), len(found.edges)], "<u4")
    return (
        counts.tobytes()
        + found.position[:, ::-1].astype("<f4").tobytes()
        + found.edges.astype("<u4").tobytes()
        + found.radius.astype("<f4").tobytes()
    )


def write_rows(path: Path, table: dict[str, np.ndarray], measured: dict[int, dict[str, float]], space: Space) -> None:
    """A row a root id: what lengths there are in µm and nm, where the voxel size is known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    roots = table["root_id"].tolist()
    rows = [measured.get(root, {}) for root in roots]
    cable = [row.get("cable") for row in rows]
    per = float(np.prod(space.scale)) / 1e9 if space.known else np.nan
    columns: dict[str, Any] = {
        "root_id": table["root_id"],
        "voxels": table["voxels"],
        "volume_um3": pa.array(table["voxels"] * per, from_pandas=True),
        "surface_um2": pa.array(table["surface"] / (1e6 if space.known else np.nan), pa.float64(), from_pandas=True),
        "cable_um": pa.array([c / 1e3 if c is not None and space.known else None for c in cable], pa.float64()),
        **{n: pa.array([row.get(n) for row in rows], pa.int64()) for n in ("branch_points", "end_points", "pieces")},
    }
    for axis, name in enumerate("zyx"):  # the faces of the box, half a voxel outside of the outermost centres
        for end, word in enumerate(("min", "max")):
            at = space.origin[axis] + (table[f"{name}{end}"] - 0.5) * space.scale[axis]
            columns[f"{name}_{word}_nm"] = pa.array(at if space.known else np.full(len(at), np.nan), from_pandas=True)
    pq.write_table(pa.table(columns), path, compression="zstd")
