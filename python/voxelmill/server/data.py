"""Files of releases, whole or a range of bytes, for viewers of any origin: they are read only and hold no secrets."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from .api import REFUSALS, Answers, Tag, context

BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {}}}}
ANSWERS: Answers = {
    200: {"description": "the file", **BYTES},
    206: {"description": "ranges of its bytes", **BYTES},
    304: {"description": "as it was, by If-None-Match"},
    416: {"description": "no such range"},
}
router = APIRouter(prefix="/data", responses=REFUSALS)
ASKED = {"Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Max-Age": "86400"}
ONE = rb"(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
RANGES = re.compile(rb"bytes=" + ONE + rb"(?:[ \t]*,[ \t]*" + ONE + rb")*", re.IGNORECASE)
FOREVER = "public, max-age=31536000, immutable"  # a tag names the same bytes for good


class File(FileResponse):
    """A file of a known digest, whole or by ranges as RFC 9110 (13.1, 14.2) has it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Ranges of another unit, or that are none, are ignored; of several, those beyond the end."""
        asked, own = dict(scope["headers"]), self.headers["etag"].encode()
        if known(asked.get(b"if-none-match", b""), own):
            kept = {k: v for k, v in self.headers.items() if k not in ("content-type", "content-length", "accept-ranges")}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        # A date may be that of another release's file; of HEAD, ranges are ignored.
        fits = scope["method"] == "GET" and asked.get(b"if-range", own) == own
        if fits and (ranges := sound(asked.get(b"range", b""), int(self.headers["content-length"]))):
            headers.append((b"range", ranges))
        await super().__call__({**scope, "headers": headers}, receive, send)


def known(tags: bytes, own: bytes) -> bool:
    """Whether an If-None-Match names a file (weak comparison)."""
    return any(tag.strip().removeprefix(b"W/") in (own, b"*") for tag in tags.split(b","))


def sound(ranges: bytes, size: int) -> bytes:
    """A Range without its parts that lie beyond the end, unless all do; empty for what is to be ignored."""
    if not RANGES.fullmatch(ranges):
        return b""
    parts = [part.strip().split(b"-") for part in ranges[len(b"bytes=") :].split(b",")]
    if any(start and end and int(end) < int(start) for start, end in parts):
        return b""
    inside = [(start, end) for start, end in parts if (int(start) < size if start else int(end) and size)]
    return b"bytes=" + b",".join(b"-".join(part) for part in inside or parts)


@router.head("/{tag}/{name:path}", response_class=FileResponse, include_in_schema=False)
@router.get("/{tag}/{name:path}", response_class=FileResponse, responses=ANSWERS)
async def file(request: Request, tag: Tag, name: str) -> Any:
    """A file of a release. 404 for one that the release never had, 503 for one that is lost: a missing chunk must not be
    read as zeros."""
    of = context(request)
    release = await of.ready(tag)
    path = of.check(release, name)
    kept = FOREVER if tag == release.tag else "no-cache"
    size, digest = release.listed[name][:2]
    return File(path, headers={"Cache-Control": kept, "ETag": f'"{digest}"', "Content-Length": str(size)})


@router.options("/{tag}/{name:path}", include_in_schema=False)
async def asked(tag: str, name: str) -> Response:
    return Response(status_code=204, headers=ASKED)
