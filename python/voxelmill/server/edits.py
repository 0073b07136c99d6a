"""Proofreading over HTTP: needs a token of role proofreader. Every edit names the version that it was made on."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StringConstraints

from ..catalog.index import folder_of
from ..core.errors import ParameterError
from ..proofreading import contacts, cuts
from ..proofreading.edits import Conflict, Editor, State
from . import answers
from .answers import As, Json
from .api import REFUSALS, SENT, Answers, Cursor, Limit, Said, Tag, context, page
from .context import Missing

# Without a token; made on another version, or what it changes has changed; a withdrawn release.
UNDONE: Answers = {**SENT, **{code: {"model": Said} for code in (401, 409, 410)}}
router = APIRouter(prefix="/api/releases/{tag}", responses=REFUSALS)
Number = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]


class Edit(BaseModel):
    """What every edit says."""

    base_version: int = Field(ge=0, le=2**40)
    reason: str = Field(min_length=1, max_length=1000)
    key: str = Field("", max_length=100, description="idempotency key: the same request again gets the first answer")


class Merge(Edit):
    supervoxels: tuple[Number, Number]


class Split(Edit):
    supervoxels: list[Number] = Field(min_length=1, max_length=100_000)


class Undo(Edit):
    of: int = Field(ge=1, le=2**40)


class Cut(BaseModel):
    keep: list[Number] = Field(min_length=1, max_length=1000)
    take: list[Number] = Field(min_length=1, max_length=1000)
    grow: bool = Field(True, description="each supervoxel stands for what lies near it; if not, for itself alone")


class Refused(Exception):
    """No token, or one that may not."""

    def __init__(self, code: int, why: str):
        super().__init__(why)
        self.code = code


def proofreader(request: Request) -> str:
    """The name of who asks. Raises Refused: 401 without a good token, 403 where its role may only look."""
    row = request.app.state.tokens.who(request.headers.get("authorization"))
    if row is None:
        raise Refused(401, "edits need a token (Authorization: Bearer ...) of the server's --edit_tokens")
    if row["role"] not in ("proofreader", "admin"):
        raise Refused(403, f"role {row['role']} may not edit")
    return row["name"]


def editor(request: Request, tag: str) -> Editor:
    of = context(request)
    release = of.release(tag)
    if not len(release.index.supervoxels):
        raise Missing(f"release {release.tag} has no merge table; there is nothing to proofread")
    held: dict[str, Editor] = request.app.state.editors
    if release.tag not in held:
        held.setdefault(release.tag, Editor(of.store, release.tag, release.index))
    return held[release.tag]


def number(word: str) -> int:
    if int(word) >= 2**64:
        raise ParameterError(f"{word}: no id; ids have 64 bits")
    return int(word)


def said(entry: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {k: entry[k] for k in ("op", "from", "to", "of", "by", "reason", "time") if k in entry}
    return {"number": entry["seq"], "version": entry["seq"], **shown, "supervoxels": len(entry.get("supervoxels", ()))}


@router.get("/edits")
def history(request: Request, tag: Tag, limit: Limit = 100, cursor: Cursor = "") -> Annotated[Json, As(answers.Edits)]:
    """Operations on a release, newest first; `version` is what an edit must name."""
    with editor(request, tag).reading() as state:
        part, facts = page(len(state.done), limit, cursor)
        rows = [{**said(e), "undone": e["seq"] in state.undone} for e in state.done[::-1][part]]
        return {"version": state.version, "edits": rows, **facts}


@router.get("/edits/segments/{supervoxel}")
def edited(request: Request, tag: Tag, supervoxel: Number) -> Annotated[Json, As(answers.Held)]:
    """The neurite of a supervoxel as edited, and its supervoxels."""
    with editor(request, tag).reading() as state:
        return held(state, state.root(number(supervoxel)))


@router.get("/edits/neurites/{root_id}")
def neurite(request: Request, tag: Tag, root_id: Number) -> Annotated[Json, As(answers.Held)]:
    """The supervoxels of a neurite as edited."""
    with editor(request, tag).reading() as state:
        found = held(state, number(root_id))
    if not found["total"]:
        raise Missing(f"no neurite {root_id} in release {tag} as edited (version {found['version']})")
    return found


def held(state: State, root: int) -> dict[str, Any]:
    members = state.index.supervoxels[state.members(root)]
    return {
        "version": state.version,
        "root_id": str(root),
        "supervoxels": [str(s) for s in members[:10_000].tolist()],
        "total": len(members),
        "truncated": len(members) > 10_000,
    }


@router.post("/edits/preview", responses=UNDONE)
def preview(request: Request, tag: Tag, cut: Cut) -> Annotated[Json, As(answers.Cut)]:
    """The smallest cut between supervoxels of a neurite: what a split would take off. Changes nothing."""
    of = context(request)
    release = of.release(tag)
    if release.image is None:
        raise Missing(f"release {release.tag} has no volume of supervoxels")
    with editor(request, tag).reading() as state:
        version = state.version
        keep, take = (state.places([number(s) for s in side]) for side in (cut.keep, cut.take))
        roots = np.unique(state.roots[np.concatenate([keep, take])])
        if len(roots) != 1:
            raise Conflict(f"these supervoxels are of {len(roots)} neurites; both sides of a cut lie in one")
        members = state.members(int(roots[0]))  # replaced, never changed, by edits
    own = release.index.supervoxels[members]
    ends, faces = contacts.among(release.image, own, folder_of(of.store, release.tag) / "contacts")
    sides = [np.searchsorted(members, side).tolist() for side in (keep, take)]
    side, cost = (cuts.natural if cut.grow else cuts.smallest)(len(own), ends, faces, *sides)
    return {
        "version": version,
        "root_id": str(roots[0]),
        "take": [str(s) for s in own[side].tolist()],
        "keep": int((~side).sum()),
        "faces_cut": cost,
    }


@router.post("/edits/merge", responses=UNDONE)
def merge(request: Request, tag: Tag, asked: Merge) -> Annotated[Json, As(answers.Operation)]:
    """Make the neurites of two supervoxels one."""
    by = proofreader(request)
    a, b = (number(s) for s in asked.supervoxels)
    return said(editor(request, tag).merge(a, b, by=by, **how(asked)))


@router.post("/edits/split", responses=UNDONE)
def split(request: Request, tag: Tag, asked: Split) -> Annotated[Json, As(answers.Operation)]:
    """Make supervoxels of a neurite one of their own."""
    by = proofreader(request)
    return said(editor(request, tag).split([number(s) for s in asked.supervoxels], by=by, **how(asked)))


@router.post("/edits/undo", responses=UNDONE)
def undo(request: Request, tag: Tag, asked: Undo) -> Annotated[Json, As(answers.Operation)]:
    """Take an operation back."""
    by = proofreader(request)
    return said(editor(request, tag).undo(asked.of, by=by, **how(asked)))


@router.post("/edits/redo", responses=UNDONE)
def redo(request: Request, tag: Tag, asked: Undo) -> Annotated[Json, As(answers.Operation)]:
    """Do an operation again that was taken back."""
    by = proofreader(request)
    return said(editor(request, tag).undo(asked.of, by=by, redo=True, **how(asked)))


def how(asked: Edit) -> dict[str, Any]:
    return {"base_version": asked.base_version, "reason": asked.reason, "key": asked.key}


def refused(_: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, Refused) else 409
    return JSONResponse({"error": str(error)}, code, {"WWW-Authenticate": "Bearer"} if code == 401 else None)
