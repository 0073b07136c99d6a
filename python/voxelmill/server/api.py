"""The query API over releases; read only. Ids are strings, positions nm (z, y, x); what is cut short says so."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from ..catalog import costs, differences, points, queries, releases, slo, walks
from ..catalog.store import NotThere
from ..core import runs
from ..core.errors import DataError
from . import answers
from .answers import As, Json
from .context import Context, Missing, Release


class Said(BaseModel):
    """Why there is no answer."""

    error: str


# What any request may get instead of an answer: no question, not this host, not there, a damaged or lost file.
Answers = dict[int | str, dict[str, Any]]
REFUSALS: Answers = {code: {"model": Said} for code in (400, 403, 404, 503)}
SENT: Answers = {code: {"model": Said} for code in (413, 415)}  # and any that sends a body: too much, of another type
router = APIRouter(prefix="/api", responses=REFUSALS)
Tag = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="tag of a release, or `current`")]
Id = Annotated[str, Path(pattern=r"^[0-9]{1,20}$", description="root id")]
Asked = Annotated[str, Query(pattern=r"^[0-9]{1,20}$", description="root id")]
Limit = Annotated[int, Query(ge=1, le=10_000)]
Cursor = Annotated[str, Query(pattern=r"^[0-9]{0,12}$", description="`next` of the page before")]
Number = Annotated[float, Query(allow_inf_nan=False, description="nm; voxels where no voxel size is known")]


Strict = Annotated[float, Field(strict=True)]  # true and "1" are no positions


class Points(BaseModel):
    """Points (z, y, x) in nm."""

    points: list[tuple[Strict, Strict, Strict]] = Field(max_length=points.BATCH)


def context(request: Request) -> Context:
    return request.app.state.context


def page(total: int, limit: int, cursor: str) -> tuple[slice, dict[str, Any]]:
    """The part of a list that a cursor asks for, and what the answer says of it: never a silent cap."""
    start = int(cursor or 0)
    end = min(start + limit, total)
    return slice(start, end), {"total": total, "truncated": end < total, "next": str(end) if end < total else None}


@router.get("/releases")
async def list_releases(request: Request) -> Annotated[Json, As(answers.Releases)]:
    """All releases, oldest first, and which is the current one."""
    store = context(request).store
    return {"releases": releases.list_all(store), "current": store.current()}


@router.get("/slo")
def service_levels(request: Request) -> Annotated[Json, As(answers.ServiceLevels)]:
    """Targets and whether they are met, error budget, what each release took; as `voxelmill slo`."""
    return slo.measure(context(request).store)


@router.get("/releases/{tag}")
async def show_release(request: Request, tag: Tag) -> Annotated[Json, As(answers.ReleaseFacts)]:
    """A release: figures, gates, what is published, history."""
    of = context(request)
    return releases.show(of.store, of.tag(tag))


@router.get("/releases/{tag}/costs")
def cost(request: Request, tag: Tag) -> Annotated[Json, As(answers.Costs)]:
    """What went into a release: core hours, hours on a GPU, memory, bytes, by stage and per Gvoxel. Tasks that it shares with
    earlier ones are among them; `/api/slo` counts each once."""
    of = context(request)
    return costs.costs(of.store, of.tag(tag))


@router.get("/releases/{tag}/diff")
def compare(request: Request, tag: Tag, to: Annotated[str, Query(max_length=64)]) -> Annotated[Json, As(answers.Diff)]:
    """What changed from this release to another: neurites, edges, figures, files."""
    of = context(request)
    return differences.diff(of.store, of.tag(tag), of.tag(to))


@router.get("/releases/{tag}/segments")
def segment(request: Request, tag: Tag, z: Number, y: Number, x: Number) -> Annotated[Json, As(answers.SegmentAt)]:
    """The neurite at a point."""
    release = context(request).release(tag)
    return {"release": release.tag, **_segments(release, [(z, y, x)])[0]}


@router.post("/releases/{tag}/segments", responses=SENT)
def segments(request: Request, tag: Tag, asked: Points) -> Annotated[Json, As(answers.Segments)]:
    """The neurites at many points."""
    release = context(request).release(tag)
    return {"release": release.tag, "segments": _segments(release, asked.points)}


def _segments(release: Release, asked: Any) -> list[dict[str, Any]]:
    if release.image is None:
        raise Missing(f"release {release.tag} has no volume of supervoxels")
    try:
        supervoxels, roots, inside = points.lookup(release.image, release.index, asked)
    except OSError as error:
        raise DataError(f"{release.tag}: {error}") from None
    rows = zip(supervoxels.tolist(), roots.tolist(), inside.tolist(), strict=True)
    return [{"root_id": str(r) if r else None, "supervoxel_id": str(s) if s else None, "inside": i} for s, r, i in rows]


@router.get("/releases/{tag}/neurites")
def neurites(
    request: Request,
    tag: Tag,
    order: Annotated[str, Query(pattern="^(in|out|voxels|cable_um|pagerank|root_id)$")] = "out",
    begins: Annotated[str, Query(pattern=r"^[0-9]{0,20}$", description="first digits of the root id")] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Annotated[Json, As(answers.Neurites)]:
    """Neurites, the greatest first."""
    release = context(request).release(tag)
    index = release.index
    if order in ("in", "out"):
        starts, weight = (index.into_starts, index.into_weight) if order == "in" else (index.out_starts, index.out_weight)
        sums = np.concatenate([[0], np.cumsum(weight, dtype=np.int64)])
        key = -(sums[starts[1:]] - sums[starts[:-1]]).astype(float)
    elif order == "root_id":
        key = np.arange(len(index.roots), dtype=float)
    else:
        key = -np.array([release.neurons.get(root, {}).get(order) or 0 for root in index.roots.tolist()], float)
    first = np.lexsort((index.roots, key))
    if begins:
        first = first[[str(root).startswith(begins) for root in index.roots[first].tolist()]]
    part, said = page(len(first), limit, cursor)
    return {"release": release.tag, "neurites": [_about(release, int(node)) for node in first[part]], **said}


def _about(release: Release, node: int) -> dict[str, Any]:
    root = int(release.index.roots[node])
    facts = {k: v for k, v in release.neurons.get(root, {}).items() if k != "root_id"}
    out, into = (release.index.partners(node, way)[1] for way in (True, False))
    return {
        "root_id": str(root),
        "synapses_out": int(out.sum()),
        "synapses_in": int(into.sum()),
        "partners_out": len(out),
        "partners_in": len(into),
        **facts,
    }


@router.get("/releases/{tag}/neurites/{root_id}")
def neurite(request: Request, tag: Tag, root_id: Id) -> Annotated[Json, As(answers.NeuriteFacts)]:
    """A neurite: its measures, synapses, files."""
    of = context(request)
    release = of.release(tag)
    found = _about(release, of.node(release, root_id))
    own = [n for n in runs.files_of_neurite(int(root_id)) if n in release.listed]
    held = len(release.index.supervoxels_of(int(root_id)))
    return {"release": release.tag, **found, "supervoxels": held, "files": [f"/data/{release.tag}/{name}" for name in own]}


@router.get("/releases/{tag}/neurites/{root_id}/partners")
async def partners(
    request: Request,
    tag: Tag,
    root_id: Id,
    direction: Annotated[str, Query(pattern="^(out|in)$")] = "out",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Annotated[Json, As(answers.Partners)]:
    """Whom a neurite speaks to (out), or who to it (in), by number of synapses."""
    of = context(request)
    release = await of.ready(tag)
    partner, weight = release.index.partners(of.node(release, root_id), direction == "out")
    part, said = page(len(partner), limit, cursor)
    roots = release.index.roots[partner[part]].tolist()
    rows = [{"root_id": str(root), "weight": w} for root, w in zip(roots, weight[part].tolist(), strict=True)]
    return {"release": release.tag, "root_id": root_id, "direction": direction, "partners": rows, **said}


@router.get("/releases/{tag}/neurites/{root_id}/synapses")
async def synapses(
    request: Request,
    tag: Tag,
    root_id: Id,
    direction: Annotated[str, Query(pattern="^(out|in)$")] = "out",
    partner: Annotated[str, Query(pattern=r"^[0-9]{0,20}$", description="only those with this neurite")] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Annotated[Json, As(answers.Synapses)]:
    """Synapses of a neurite, or of a pair."""
    of = context(request)
    release = await of.ready(tag)
    index, own = release.index, of.node(release, root_id)
    other = of.node(release, partner) if partner else None
    at = index.synapses(own, other) if direction == "out" else index.synapses(other, own)
    part, said = page(len(at), limit, cursor)
    at = at[part]
    columns = (
        index.synapse_id[at].tolist(),
        index.roots[index.synapse_pre[at]].tolist(),
        index.roots[index.synapse_post[at]].tolist(),
        index.synapse_position[at].tolist(),
        index.synapse_score[at].tolist(),
    )
    rows = [
        {
            "id": str(i),
            "pre_root_id": str(p),
            "post_root_id": str(q),
            "position_nm": None if xyz[0] != xyz[0] else xyz,
            "score": None if s != s else s,
        }
        for i, p, q, xyz, s in zip(*columns, strict=True)
    ]
    return {"release": release.tag, "root_id": root_id, "synapses": rows, **said}


@router.get("/releases/{tag}/neurites/{root_id}/neighbourhood")
def neighbourhood(
    request: Request,
    tag: Tag,
    root_id: Id,
    hops: Annotated[int, Query(ge=1, le=6)] = 2,
    direction: Annotated[str, Query(pattern="^(out|in)$")] = "out",
    limit: Limit = 100,
) -> Annotated[Json, As(answers.Neighbourhood)]:
    """Neurites within some steps, nearest and strongest first."""
    of = context(request)
    release = of.release(tag)
    rows, cut = walks.hops(release.index, of.node(release, root_id), hops, direction == "out", limit)
    found = [{"root_id": str(release.index.roots[n]), "steps": s, "weight": w} for n, s, w in rows]
    return {"release": release.tag, "root_id": root_id, "neighbours": found, "truncated": cut}


@router.get("/releases/{tag}/neurites/{root_id}/two_hops")
async def two_hops(
    request: Request, tag: Tag, root_id: Id, direction: Annotated[str, Query(pattern="^(out|in)$")] = "out", limit: Limit = 50
) -> Annotated[Json, As(answers.TwoHops)]:
    """The strongest neurites two steps away, by the sum over ways of the product of synapses."""
    of = context(request)
    release = await of.ready(tag)
    nodes, sums, total, cut = walks.two_hops(release.index, of.node(release, root_id), direction == "out", limit)
    rows = [{"root_id": str(r), "weight": w} for r, w in zip(release.index.roots[nodes].tolist(), sums.tolist(), strict=True)]
    return {
        "release": release.tag,
        "root_id": root_id,
        "neighbours": rows,
        "total": total,
        "truncated": cut or total > len(rows),
    }


@router.get("/releases/{tag}/paths")
def path(
    request: Request, tag: Tag, to: Asked, from_: Annotated[str, Query(alias="from", pattern=r"^[0-9]{1,20}$")]
) -> Annotated[Json, As(answers.Way)]:
    """A way of fewest synapses from one neurite to another; `path` is null where there is none."""
    of = context(request)
    release = of.release(tag)
    way, cut = walks.path(release.index, of.node(release, from_), of.node(release, to))
    found = None if way is None else [str(root) for root in release.index.roots[way].tolist()]
    return {"release": release.tag, "from": from_, "to": to, "path": found, "truncated": cut}


@router.get("/releases/{tag}/mapping")
def mapping(
    request: Request,
    tag: Tag,
    to: Annotated[str, Query(max_length=64)],
    ids: Annotated[str, Query(pattern=r"^[0-9]{1,20}(,[0-9]{1,20}){0,999}$")],
) -> Annotated[Json, As(answers.Mapping)]:
    """What neurites of this release are in another: candidates, with the share of their supervoxels that each holds."""
    of = context(request)
    old, new = of.release(tag), of.release(to)
    found = {}
    for root in ids.split(","):
        own = old.index.supervoxels_of(int(root)) if old.index.node(int(root)) is not None else np.zeros(0, np.uint64)
        roots, counts = np.unique(new.index.root_of(own), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        found[root] = [{"root_id": str(roots[n]), "share": float(counts[n] / len(own))} for n in order if roots[n]]
    return {"from": old.tag, "to": new.tag, "mapping": found}


@router.get("/releases/{tag}/trace")
def trace(
    request: Request,
    tag: Tag,
    artifact: Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")],
    forward: bool = False,
    bbox: Annotated[str, Query(pattern=r"^([0-9]{1,9}(,[0-9]{1,9}){5})?$", description="z0,y0,x0,z1,y1,x1 in voxels")] = "",
) -> Annotated[Json, As(answers.Trace)]:
    """Where a digest, a path or a neurite of this release comes from, or what has come of it."""
    of = context(request)
    name = of.tag(tag)
    known = artifact.isdecimal() or artifact.partition("/")[0] in {p.partition("/")[0] for p in of.release(name).listed}
    try:
        return queries.trace(of.store, f"{name}:{artifact}" if known else artifact, forward, bbox, disk=False)
    except NotThere as error:
        raise Missing(str(error)) from None
