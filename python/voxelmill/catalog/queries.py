"""`voxelmill trace`: the lineage of a digest, a path or a neurite, whole or within a region."""

from __future__ import annotations

from typing import Any

from ..core import runs
from ..core.errors import ParameterError
from ..core.volume import Region
from . import limits, lineage, regions
from .manifests import manifest_of
from .store import NotThere, Store, read_log


def trace(store: Store, artifact: str, forward: bool = False, bbox: str = "", disk: bool = True) -> dict[str, Any]:
    """Where an artifact comes from, or (forward) what has come of it; see `lineage.trace`.

    A root id is one of the current release, or `TAG:ROOT` of another. Forward within a region also names the neurites and
    synapses that lie in it. `disk`: it may name a file on this machine. Raises DataError for what nothing is known of."""
    if not artifact.strip():
        raise ParameterError("ARTIFACT is empty; expected a digest, a path, the name of a source, or a root id")
    if not artifact.isascii() and artifact.encode(errors="replace").decode() != artifact:
        raise NotThere(f"{artifact!r}: no UTF-8; nothing is known by such a name")
    box = regions.parse(bbox) if bbox else None
    with lineage.current(store) as con:
        tag, _, word = artifact.rpartition(":")
        of = tag or store.current() or ""
        if word.isdecimal() and len(word) <= 20 and int(word) < 2**64 and not _known(con, store, artifact, disk):
            return _neurite(con, store, of, int(word), forward)
        start = lineage.find(con, store, artifact, disk)
        start = lineage.behind(con, start) if forward else start
        # The same bytes are bad wherever they are; where they come from, each release says for itself.
        found = lineage.trace(con, start, forward, tag="" if forward or tag not in store.tags() else tag)
        if box:
            there = found["releases"]
            within = next((t for t in (tag, store.current() or "") if t in there), there[-1] if there else "")
            touching, unplaced = _in_region(con, store, found, box)
            found = lineage.trace(con, start, forward, touching, tag="" if forward or tag not in store.tags() else tag)
            found["unplaced"] = unplaced
            found["elsewhere"] = [f"{t}:{name}" for t in there if t not in unplaced for name in regions.elsewhere(store, t)]
            found["files"] = regions.shards_in(store, found["files"], box)
            found |= _without(store, found, box)
            if forward and within and (regions.files_of(store, within) / regions.SUPERVOXELS).is_dir():
                found["neurites"] = [str(root) for root in regions.roots_in(store, within, box).tolist()]
                found["synapses"] = [str(one) for one in regions.synapses_in(store, within, box)]
    return {"artifact": artifact, "direction": "forward" if forward else "backward", "start": start, "bbox": bbox, **found}


def _in_region(con: Any, store: Store, found: dict[str, Any], box: Region) -> tuple[list[str], list[str]]:
    """Of the tasks of a trace those that touch a region, each as its release counts blocks; and the releases that hold no
    volume, whose tasks may all touch it. Raises NotThere where none holds one."""
    kept, unplaced = set[str](), list[str]()
    for tag in found["releases"]:
        held = {task for (task,) in con.execute("SELECT task FROM held WHERE tag = ?", (tag,))}
        own = {**found, "tasks": [task for task in found["tasks"] if task["id"] in held]}
        try:
            kept.update(regions.in_region(own, store, tag, box))
        except NotThere:
            unplaced.append(tag)
            kept.update(task["id"] for task in own["tasks"])
            if unplaced == found["releases"]:
                raise
    return sorted(kept), unplaced


def _without(store: Store, found: dict[str, Any], box: Region) -> dict[str, Any]:
    """What is left of a trace when releases that are made without a region hold nothing of it; and which those are."""
    masked = [tag for tag in found["releases"] if regions.masked(store, tag, box)]
    files = [row for row in found["files"] if row["tag"] not in masked]
    return {"files": files, "releases": sorted({row["tag"] for row in files}), "masked": masked}


def _known(con: Any, store: Store, artifact: str, disk: bool) -> bool:
    try:
        return bool(lineage.find(con, store, artifact, disk))
    except NotThere:
        return False


def _neurite(con: Any, store: Store, tag: str, root: int, forward: bool) -> dict[str, Any]:
    """Backward: the supervoxels, and the tasks and files of the shards that they lie in. Forward: what was made of its
    merge table, its own files first."""
    made = regions.neurite(store, tag, root)
    start = lineage.find(con, store, f"{tag}:{regions.MERGE}")
    found = lineage.trace(con, start, forward, tag=tag)
    found = lineage.trace(con, start, forward, regions.of_neurite(found, store, tag, made["shards"]), tag)
    if not forward:
        found["files"] = [f for f in found["files"] if any(regions.shards_in(store, [f], s) for s in made["shards"])]
    own, fragments = runs.files_of_neurite(root), f"meshes/{root}:0:"
    files = lineage_files(store, tag)
    named = [(path, digest) for path, digest in files if path in own or path.startswith(fragments)]
    mine = [{"tag": tag, "path": path, "sha256": digest} for path, digest in named]
    outline = [[min(s[k].start for s in made["shards"]), max(s[k].stop for s in made["shards"])] for k in range(3)]
    extra: dict[str, Any] = {
        "root_id": made["root_id"],
        "supervoxels": made["supervoxels"],
        "shards_from_to": outline,
        "own_files": mine,
    }
    extra["edits"] = edits_of(store, tag, made["root_id"], made["supervoxels"])
    return {"artifact": f"{tag}:{root}", "direction": "forward" if forward else "backward", "start": start, **extra, **found}


def edits_of(store: Store, tag: str, root: str, supervoxels: list[str]) -> list[dict[str, Any]]:
    """Of the edits that went into a release, oldest first, those that made a neurite what it is: who, when and why. What
    was undone is among them, with what undid it."""
    own = set(supervoxels)
    found: list[dict[str, Any]] = []
    for path in (path for path, _ in lineage_files(store, tag) if path.startswith("edits/")):
        touching = set[int]()
        for entry in read_log(regions.files_of(store, tag) / path):
            limits.check()
            ends = (entry.get("from"), entry.get("to"))
            if root in ends or own.intersection(entry.get("supervoxels", ())) or entry.get("of") in touching:
                touching.add(entry["seq"])
                said: dict[str, Any] = {k: entry[k] for k in ("op", "from", "to", "of", "by", "reason", "time") if k in entry}
                found.append({"release": path[len("edits/") : -len(".jsonl")], "number": entry["seq"], **said})
    return sorted(found, key=lambda row: row["time"])


def lineage_files(store: Store, tag: str) -> list[tuple[str, str]]:
    return [(path, row[1]) for path, row in manifest_of(store, tag)["files"].items()]


def lines(found: dict[str, Any]) -> list[str]:
    """For people: tasks in order, sources or files, counts."""
    rows = [
        f"{found['artifact']}, {found['direction']}: {len(found['artifacts'])} artifacts, {len(found['tasks'])} tasks, "
        f"{len(found['files'])} files in releases {', '.join(found['releases']) or 'none'}"
    ]
    if "supervoxels" in found:
        rows.append(f"neurite {found['root_id']}: {len(found['supervoxels'])} supervoxels")
    rows += [
        f"  edit {e['release']}.{e['number']} {e['op']} by {e['by']}, {e['time']}: {e['reason']}"
        for e in found.get("edits", ())
    ]
    rows += [
        f"  task {t['stage']}{'.' + t['block'] if t['block'] else ''}  {t['started']}  {t['run']}" for t in found["tasks"]
    ]
    rows += [
        f"  {a['kind']} {a['name']}  {a['digest']}"
        for a in found["artifacts"]
        if a["kind"] in ("source", "model", "parameters", "code")
    ]
    if found["direction"] == "forward":
        rows += [f"  {f['tag']}:{f['path']}" for f in found["files"]]
        rows += [f"  {len(found[name])} {name} in the region" for name in ("neurites", "synapses") if name in found]
    rows += [f"  {tag} is made without this region" for tag in found.get("masked", ())]
    rows += [
        f"  {name}: where it lies beside the volume whose voxels --bbox counts is not known; all of it may touch the region"
        for name in found.get("elsewhere", ())
    ]
    rows += [f"  {tag} holds no volume, so that all of it may touch the region" for tag in found.get("unplaced", ())]
    return rows
