"""What changed between two releases, in words of the field: neurites split and merged, edges, figures, files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import DataError
from . import limits, regions
from .manifests import manifest_of
from .store import Store, reading

EDGES = "tables/edges.parquet"
NAMED = 1000  # of each kind at most so many are named; all are counted


def diff(store: Store, old: str, new: str) -> dict[str, Any]:
    """Of two releases by tag. Root ids are strings; a kind that one of them lacks is not there."""
    a, b = manifest_of(store, old), manifest_of(store, new)
    fa, fb = ({path: row[1] for path, row in one["files"].items()} for one in (a, b))
    found: dict[str, Any] = {
        "from": old,
        "to": new,
        "files": {
            "added": sorted(fb.keys() - fa.keys()),
            "removed": sorted(fa.keys() - fb.keys()),
            "changed": sorted(p for p in fa.keys() & fb.keys() if fa[p] != fb[p]),
        },
        "figures": {
            name: {"from": a["figures"].get(name), "to": b["figures"].get(name)}
            for name in sorted(a["figures"].keys() | b["figures"].keys())
            if a["figures"].get(name) != b["figures"].get(name)
        },
    }
    folders = [regions.files_of(store, tag) for tag in (old, new)]
    limits.check()
    if all((folder / regions.MERGE).is_dir() for folder in folders):
        found["neurites"] = neurites(*(regions.merge_table(store, tag) for tag in (old, new)))
    limits.check()
    if all((folder / EDGES).exists() for folder in folders):
        found["edges"] = edges(*(_edges(folder / EDGES) for folder in folders))
    return found


def neurites(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, Any]:
    """Neurites of one merge table that are split in another, and those of the other that are merged from several; by what
    they are made of, whatever their root ids.

    Supervoxels of one table only are counted apart: where there are many, another segmentation was agglomerated."""
    a, b, only_old, only_new = shared(old, new)
    a, b, same_ids = changed(a, b)
    ka, na, firsts_a = codes(a)
    kb, nb, firsts_b = codes(b)
    split = spread(ka, na, kb) if na else np.zeros(0, bool)
    merged = spread(kb, nb, ka) if nb else np.zeros(0, bool)
    sizes = np.bincount(kb, minlength=nb)
    whole = np.bincount(ka, minlength=na)
    same = np.zeros(na, bool)
    if na:
        first_new = np.zeros(na, np.int64)
        first_new[ka] = kb
        same = ~split & ~merged[first_new] & (whole == sizes[first_new])
    renamed = int((same & (firsts_a != firsts_b[first_new])).sum()) if na else 0
    moved = np.zeros(0, bool) if not na else split[ka] | merged[kb]
    return {
        "split": int(split.sum()),
        "merged": int(merged.sum()),
        "renamed": renamed,
        "unchanged": same_ids + int(same.sum()) - renamed,
        "supervoxels_touched": int(moved.sum()),
        "supervoxels_only_old": only_old,
        "supervoxels_only_new": only_new,
        "split_neurites": [{"root_id": str(r), "into": into} for r, into in pieces(ka, kb, split, firsts_a, firsts_b)],
        "merged_neurites": [{"root_id": str(r), "from": of} for r, of in pieces(kb, ka, merged, firsts_b, firsts_a)],
    }


def changed(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Of root ids, old and new, of supervoxels those of neurites that have another id anywhere; and how many others there
    are. Where most do, all are looked at."""
    import pyarrow as pa
    import pyarrow.compute as pc

    other = a != b
    if 4 * np.count_nonzero(other) > len(a):
        return a, b, 0
    code, count, names = codes(a)
    values, inverse = np.unique(b[other], return_inverse=True)
    place = pc.index_in(pa.array(values), value_set=pa.array(names)).to_numpy(zero_copy_only=False)
    place = np.where(np.isnan(place), count + np.arange(len(values)), place).astype(np.int64)[inverse]
    touched = np.zeros(count + len(values), bool)
    touched[code[other]] = touched[place] = True
    at = touched[code]
    at[other] = True
    return a[at], b[at], count - int(touched[:count].sum())


def shared(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Root ids, old and new, of the supervoxels that both tables have; how many only one has. 0 is masked: not had."""
    if len(old["supervoxel"]) == len(new["supervoxel"]) and (old["supervoxel"] == new["supervoxel"]).all():
        a, b = old["root_id"], new["root_id"]
    else:
        _, i, j = np.intersect1d(old["supervoxel"], new["supervoxel"], assume_unique=True, return_indices=True)
        a, b = old["root_id"][i], new["root_id"][j]
    both = (a > 0) & (b > 0)
    only_old, only_new = (int((one["root_id"] > 0).sum() - both.sum()) for one in (old, new))
    return (a, b, only_old, only_new) if both.all() else (a[both], b[both], only_old, only_new)


def codes(values: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Numbers from 0 for values, how many values there are, and the value of each number. By hashes: no sort of millions."""
    import pyarrow as pa

    encoded = pa.array(values).dictionary_encode()
    return encoded.indices.to_numpy(), len(encoded.dictionary), encoded.dictionary.to_numpy()


def spread(group: np.ndarray, count: int, other: np.ndarray) -> np.ndarray:
    """Of each group of one numbering, whether its members have several numbers in the other."""
    first = np.empty(count, other.dtype)
    first[group] = other  # of one of its members, whichever
    found = np.zeros(count, bool)
    found[group[other != first[group]]] = True
    return found


def pieces(
    group: np.ndarray, other: np.ndarray, chosen: np.ndarray, names: np.ndarray, others: np.ndarray
) -> list[tuple[int, list[str]]]:
    """Of the chosen groups the first ones, each with the names of its parts."""
    some = np.flatnonzero(chosen)[:NAMED]
    wanted = np.zeros(len(chosen), bool)
    wanted[some] = True
    at = wanted[group] if len(group) else np.zeros(0, bool)
    pairs = np.unique(np.stack([group[at], other[at]]), axis=1) if at.any() else np.zeros((2, 0), np.int64)
    return [(int(names[g]), [str(n) for n in others[pairs[1, pairs[0] == g]].tolist()]) for g in some]


def _edges(path: Any) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    with reading(path):
        table = pq.read_table(path, columns=["pre_root_id", "post_root_id", "weight"])
    return {name: table[name].to_numpy() for name in table.column_names}


def edges(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, Any]:
    """Edges by their root ids: gained, lost, of another weight."""

    def keys(one: dict[str, np.ndarray]) -> np.ndarray:
        return np.rec.fromarrays([one["pre_root_id"], one["post_root_id"]])

    def rows(one: dict[str, np.ndarray], at: np.ndarray) -> list[dict[str, Any]]:
        return [
            {"pre_root_id": str(p), "post_root_id": str(q), "weight": int(w)}
            for p, q, w in zip(*(one[c][at[:NAMED]].tolist() for c in ("pre_root_id", "post_root_id", "weight")), strict=True)
        ]

    if len({v.dtype for one in (old, new) for k, v in one.items() if k != "weight"}) > 1:
        raise DataError(f"{EDGES}: root ids of different kinds in the two releases")
    a, b = keys(old), keys(new)
    _, i, j = np.intersect1d(a, b, return_indices=True)
    lost, gained = (np.setdiff1d(np.arange(len(whole)), at) for whole, at in ((a, i), (b, j)))
    weight = int((old["weight"][i] != new["weight"][j]).sum())
    return {
        "gained": len(gained),
        "lost": len(lost),
        "reweighted": weight,
        "gained_edges": rows(new, gained),
        "lost_edges": rows(old, lost),
    }
