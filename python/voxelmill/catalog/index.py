"""What queries need of a release, as arrays: neurites, their partners, synapses, supervoxels. Made once, mapped into memory.

nodes  0..n-1        roots ascending             out: starts (n + 1), partner, weight        rows by weight, largest first
                                                 into: the same, of the other direction
synapses by (pre, post)                          pre_starts, and `by_post`: their numbers by post
supervoxels ascending -> root of each            members: the same by root
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from .manifests import release_of
from .objects import blake3_of
from .regions import MERGE, SYNAPSES, files_of, merge_table
from .store import Store, reading, sealed, unsealed

EDGES, NODES, NEURONS = "tables/edges.parquet", "tables/nodes.parquet", "tables/neurons.parquet"
DIGESTS = "digests.json"  # blake3 of each array
READ_AT_ONCE = 4 << 30  # bytes of an index from which on only a scrub reads all of it: a second from memory
Array = np.ndarray


@dataclass(frozen=True)
class Index:
    """Arrays of a release; positions are (z, y, x) in nm, NaN where no voxel size is known."""

    roots: Array
    out_starts: Array
    out_partner: Array
    out_weight: Array
    into_starts: Array
    into_partner: Array
    into_weight: Array
    synapse_id: Array
    synapse_pre: Array
    synapse_post: Array
    synapse_position: Array
    synapse_score: Array
    by_post: Array
    supervoxels: Array
    supervoxel_root: Array
    members: Array

    @cached_property
    def pre_order(self) -> Array:
        """One key a synapse, ascending: pre and post in one number."""
        return self.synapse_pre.astype(np.int64) * (len(self.roots) + 1) + self.synapse_post

    @cached_property
    def post_sorted(self) -> Array:
        return self.synapse_post[self.by_post]

    @cached_property
    def member_roots(self) -> Array:
        return self.supervoxel_root[self.members]

    def node(self, root: int) -> int | None:
        """Number of a neurite; None where there is none of this id."""
        if not 0 < root < 2**64:
            return None
        at = int(np.searchsorted(self.roots, np.uint64(root)))
        return at if at < len(self.roots) and int(self.roots[at]) == root else None

    def partners(self, node: int, out: bool) -> tuple[Array, Array]:
        """Numbers of the partners of a neurite and their weights, largest first; whom it speaks to, or who to it."""
        starts, partner, weight = (
            (self.out_starts, self.out_partner, self.out_weight)
            if out
            else (self.into_starts, self.into_partner, self.into_weight)
        )
        a, b = starts[node], starts[node + 1]
        return partner[a:b], weight[a:b]

    def synapses(self, pre: int | None, post: int | None) -> Array:
        """Places of synapses of a neurite (or of both) in the arrays of synapses, ascending."""
        n = len(self.roots) + 1
        if pre is not None:
            low, high = (pre * n, (pre + 1) * n) if post is None else (pre * n + post, pre * n + post + 1)
            return np.arange(*np.searchsorted(self.pre_order, (low, high)))
        if post is None:
            return np.arange(len(self.synapse_id))
        return np.sort(self.by_post[slice(*np.searchsorted(self.post_sorted, (post, post + 1)))])

    def root_of(self, supervoxels: Array) -> Array:
        """Root ids of supervoxels; 0 for background and for what is no supervoxel."""
        found = np.zeros(len(supervoxels), np.uint64)
        if len(self.supervoxels):
            at = np.minimum(np.searchsorted(self.supervoxels, supervoxels), len(self.supervoxels) - 1)
            good = self.supervoxels[at] == supervoxels
            found[good] = self.supervoxel_root[at[good]]
        return found

    def supervoxels_of(self, root: int) -> Array:
        ends = np.searchsorted(self.member_roots, (np.uint64(root), np.uint64(root + 1)))
        return self.supervoxels[self.members[slice(*ends)]]


def folder_of(store: Store, tag: str) -> Path:
    return store.root / "query" / release_of(store, tag)["id"]


def load(store: Store, tag: str) -> Index:
    """The index of a release, made where there is none yet: whole, or not at all; held in memory where it cannot be kept.

    Raises DataError for one that is damaged, which is taken away."""
    folder = folder_of(store, tag)
    if not folder.is_dir():
        made = build(files_of(store, tag), store, tag)
        try:
            with store.staging() as staging:
                write(made, staging / "index")
                folder.parent.mkdir(exist_ok=True)
                (staging / "index").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                return made
    try:
        if sum(path.stat().st_size for path in folder.glob("*.npy")) < READ_AT_ONCE and (why := _damage(folder)):
            raise ValueError(why)
        return Index(**{f.name: np.load(folder / f"{f.name}.npy", mmap_mode="r", allow_pickle=False) for f in fields(Index)})
    except (OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(
            f"{folder}: query index damaged ({error}); it was taken away and is made anew at the next try"
        ) from None


def write(index: Index, folder: Path) -> None:
    folder.mkdir(parents=True)
    for field in fields(Index):
        np.save(folder / f"{field.name}.npy", np.ascontiguousarray(getattr(index, field.name)), allow_pickle=False)
    (folder / DIGESTS).write_text(sealed(_digests(folder)))


def _digests(folder: Path) -> dict[str, str]:
    return {f.name: blake3_of(folder / f"{f.name}.npy") for f in fields(Index)}


def _damage(folder: Path) -> str:
    """Which array of an index is not as it was written; empty where all are."""
    written = unsealed((folder / DIGESTS).read_bytes()) if (folder / DIGESTS).exists() else None
    found = _digests(folder)
    return next((f"{name}.npy is not as it was written" for name in found if (written or {}).get(name) != found[name]), "")


def damage(store: Store) -> Iterator[tuple[str, str]]:
    """(place, why) of each index that is not as it was written."""
    for folder in sorted(path for path in store.root.glob("query/*") if path.is_dir()):
        try:
            why = _damage(folder)
        except OSError as error:
            why = f"{Path(error.filename or '').name}: {error.strerror}"
        if why:
            yield folder.name, f"{why}; take the folder away: it is made again"


def build(files: Path, store: Store | None = None, tag: str = "") -> Index:
    """From the tables of results; one that is not there counts as empty."""
    merge = merge_table(store, tag) if store and (files / MERGE).is_dir() else None
    edges = _read(files / EDGES, ("pre_root_id", "post_root_id", "weight"))
    found = _read(files / SYNAPSES, ("id", "pre_pt_root_id", "post_pt_root_id", "z_nm", "y_nm", "x_nm", "score"))
    return arrays(merge, edges, found)


def arrays(merge: dict[str, Array] | None, edges: dict[str, Array], synapses: dict[str, Array]) -> Index:
    """From tables as columns."""
    none = np.zeros(0, np.uint64)
    supervoxels, root = (merge["supervoxel"], merge["root_id"]) if merge else (none, none)
    ends = [edges["pre_root_id"], edges["post_root_id"], synapses["pre_pt_root_id"], synapses["post_pt_root_id"]]
    roots = np.unique(np.concatenate([root.astype(np.uint64), *(e.astype(np.uint64) for e in ends)]))
    roots = roots[roots > 0]
    pre, post = (np.searchsorted(roots, e.astype(np.uint64)).astype(np.int32) for e in ends[:2])
    s_pre, s_post = (np.searchsorted(roots, e.astype(np.uint64)).astype(np.int32) for e in ends[2:])
    order = np.lexsort((synapses["id"], s_post, s_pre))
    position = np.stack([synapses[f"{axis}_nm"].astype(np.float32) for axis in "zyx"], axis=1)
    out, into = (_rows(len(roots), a, b, edges["weight"]) for a, b in ((pre, post), (post, pre)))
    return Index(
        roots,
        *out,
        *into,
        synapse_id=synapses["id"][order],
        synapse_pre=s_pre[order],
        synapse_post=s_post[order],
        synapse_position=position[order],
        synapse_score=synapses["score"].astype(np.float32)[order],
        by_post=np.argsort(s_post[order], kind="stable").astype(np.int64),
        supervoxels=supervoxels.astype(np.uint64),
        supervoxel_root=root.astype(np.uint64),
        members=np.argsort(root, kind="stable").astype(np.int64),
    )


def _rows(n: int, of: Array, partner: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Starts of rows, partners, weights: rows by weight, largest first, then by partner."""
    order = np.lexsort((partner, -weight.astype(np.int64), of))
    starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))]).astype(np.int64)
    return starts, partner[order].astype(np.int32), weight[order].astype(np.int32)


def _read(path: Path, columns: tuple[str, ...]) -> dict[str, Array]:
    import pyarrow.parquet as pq

    if not path.exists():
        return {name: np.zeros(0, np.uint64 if name.endswith("id") else np.float32) for name in columns}
    with reading(path):
        table = pq.read_table(path, columns=list(columns))
    return {
        name: table[name].fill_null(0).to_numpy() if name.endswith("id") else table[name].to_numpy(zero_copy_only=False)
        for name in columns
    }


def table(files: Path, name: str) -> Iterator[dict[str, Any]]:
    """Rows of a small table."""
    import pyarrow.parquet as pq

    if (files / name).exists():
        with reading(files / name):
            rows = pq.read_table(files / name).to_pylist()
        yield from rows
