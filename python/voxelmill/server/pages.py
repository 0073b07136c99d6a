"""The page of a catalogue, and Neuroglancer beside it: files of the package and of a wheel, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
PAGE = (Path(__file__).parent / "page.html").read_text()


def policy(page: str) -> str:
    """The Content-Security-Policy of a page: its own script and style, by their digests, and this server."""

    def digests(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(p.encode()).digest()).decode()}'" for p in parts)

    return (
        f"default-src 'self'; script-src {digests('script')}; style-src {digests('style')}; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


POLICY = policy(PAGE)


@router.get("/")
@router.get("/dashboard")
@router.get("/docs")
async def page() -> HTMLResponse:
    """Search, neurites, proofreading; figures and costs of all releases; the queries. One page, by its address."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})
