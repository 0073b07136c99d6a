"""Files of releases, whole or a range of bytes, for viewers of any origin: they are read only and hold no secrets."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from .api import REFUSALS, Answers, Tag, context

BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {}}}}
ANSWERS: Answers = {
    200: {"description": "the file", **BYTES},
    206: {"description": "a range of its bytes", **BYTES},
    416: {"description": "no such range"},
}
router = APIRouter(prefix="/data", responses=REFUSALS)
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Expose-Headers": "Content-Range, Content-Length, ETag",
}
FOREVER = "public, max-age=31536000, immutable"  # a tag names the same bytes for good


@router.head("/{tag}/{name:path}", response_class=FileResponse, include_in_schema=False)
@router.get("/{tag}/{name:path}", response_class=FileResponse, responses=ANSWERS)
async def file(request: Request, tag: Tag, name: str) -> Any:
    """A file of a release. 404 for one that the release never had, 503 for one that is lost: a missing chunk must not be
    read as zeros."""
    of = context(request)
    release = await of.ready(tag)
    path = of.check(release, name)
    kept = FOREVER if tag == release.tag else "no-cache"
    return FileResponse(path, headers={**CORS, "Cache-Control": kept, "ETag": f'"{release.listed[name][1]}"'})


@router.options("/{tag}/{name:path}", include_in_schema=False)
async def asked(tag: str, name: str) -> Response:
    return Response(status_code=204, headers={**CORS, "Access-Control-Allow-Methods": "GET, HEAD"})
