"""Tables by the hundred thousand rows, as Arrow or Parquet (ids are uint64 there); traces of cells."""

from __future__ import annotations

from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from ..catalog import bulk
from . import answers
from .answers import As, Json
from .api import REFUSALS, Cursor, Limit, Tag, context, page
from .context import Context, Missing, Release

KINDS = {"arrow": "application/vnd.apache.arrow.stream", "parquet": "application/vnd.apache.parquet"}
ROWS = {"description": "rows; X-Total, X-Truncated, X-Next say which", "content": {k: {} for k in KINDS.values()}}
Fov = Annotated[str, Path(pattern=r"^fov_[0-9]{1,9}$", description="field of view")]
router = APIRouter(prefix="/api/releases/{tag}", responses=REFUSALS)


@router.get("/tables")
def tables(request: Request, tag: Tag) -> Annotated[Json, As(answers.Tables)]:
    """Tables that can be had whole."""
    release = context(request).release(tag)
    found = bulk.tables(release.listed)
    rows = [{"name": t, "bytes": sum(release.listed[n][0] for n in names)} for t, names in found.items()]
    return {"release": release.tag, "tables": rows}


@router.get("/tables/{name}", response_class=Response, responses={200: ROWS})
def table(
    request: Request,
    tag: Tag,
    name: Annotated[str, Path(pattern="^[a-z]{1,20}$")],
    kind: Annotated[str, Query(alias="format", pattern="^(arrow|parquet)$")] = "arrow",
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
    cursor: Cursor = "",
) -> Response:
    """Rows of a table from `cursor` on; the header X-Next is the next cursor, and is not there at the end."""
    of = context(request)
    release = of.release(tag)
    there = bulk.tables(release.listed)
    if name not in there:
        raise Missing(f"release {release.tag} has no table {name!r}; there are: {', '.join(there) or 'none'}")
    rows, total = bulk.rows([of.check(release, one) for one in there[name]], int(cursor or 0), limit)
    _, said = page(total, limit, cursor)
    headers = {"X-Total": str(total), "X-Truncated": str(said["truncated"]).lower()}
    headers |= {"X-Next": said["next"]} if said["next"] else {}
    return Response(bulk.encoded(rows, kind == "parquet"), media_type=KINDS[kind], headers=headers)


@router.get("/fovs")
def fovs(request: Request, tag: Tag) -> Annotated[Json, As(answers.Fovs)]:
    """Fields of view of a time-lapse release that have traces."""
    release = context(request).release(tag)
    return {"release": release.tag, "fovs": list(bulk.traces(release.listed))}


@router.get("/fovs/{fov}/cells")
def cells(
    request: Request, tag: Tag, fov: Fov, limit: Limit = 100, cursor: Cursor = ""
) -> Annotated[Json, As(answers.Cells)]:
    """Cells of a field of view: in how many frames each is seen, the first and the last of them."""
    release, path = _traces(context(request), tag, fov)
    rows = bulk.of_cells(path)
    part, said = page(len(rows), limit, cursor)
    return {"release": release.tag, "fov": fov, "cells": rows[part], **said}


@router.get("/fovs/{fov}/cells/{cell}/traces")
def traces(
    request: Request, tag: Tag, fov: Fov, cell: Annotated[int, Path(ge=0, le=2**62)], limit: Limit = 1000, cursor: Cursor = ""
) -> Annotated[Json, As(answers.Traces)]:
    """The traces of a cell: its features, frame by frame."""
    release, path = _traces(context(request), tag, fov)
    rows = bulk.of_cells(path, cell)
    if not rows:
        raise Missing(f"no cell {cell} in {fov} of release {release.tag}")
    part, said = page(len(rows), limit, cursor)
    return {"release": release.tag, "fov": fov, "cell": cell, "traces": rows[part], **said}


def _traces(of: Context, tag: str, fov: str) -> tuple[Release, File]:
    release = of.release(tag)
    name = bulk.traces(release.listed).get(fov)
    if name is None:
        raise Missing(f"release {release.tag} has no traces of {fov!r}; /api/releases/{release.tag}/fovs lists those it has")
    return release, of.check(release, name)
