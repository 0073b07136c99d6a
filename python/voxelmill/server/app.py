"""`voxelmill serve`: queries, volumes by ranges of bytes, pages. Reads only, on this machine only unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from .. import __version__
from ..catalog.limits import TooLong
from ..catalog.store import Store
from ..core.errors import DataError, ParameterError, StorageError
from ..proofreading.edits import Absent, Conflict, Gone
from . import api, bulk, data, edits, pages, view
from .context import Context, Missing
from .guard import Guard, Head, Patience, Tokens

SAID = "Releases of microscope volumes: queries and files."
SECONDS = 30.0
ROUTERS = [of.router for of in (api, bulk, data, edits, view, pages)]  # `/docs` is ours: FastAPI's loads from elsewhere
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create(
    root: Path,
    tokens: Path | None = None,
    hosts: Sequence[str] = LOOPBACK,
    origins: Sequence[str] = (),
    seconds: float = SECONDS,
) -> Any:
    """The application over a catalogue; an answer begins within so many seconds. Raises StorageError where there is none."""
    app = FastAPI(title="Voxelmill", version=__version__, description=SAID, docs_url=None, redoc_url=None)
    app.state.context, app.state.tokens = Context(Store(root)), Tokens(tokens)
    app.state.editors = {}
    for router in ROUTERS:
        app.include_router(router)
    if (neuroglancer := view.client()) is not None:
        app.mount("/v/view", view.Client(directory=neuroglancer, html=True))
    for kind, code in (
        (Missing, 404),
        (Absent, 404),
        (Conflict, 409),
        (Gone, 410),
        (ParameterError, 400),
        (DataError, 503),
        (StorageError, 503),
        (TooLong, 503),
        (OSError, 503),
    ):
        app.add_exception_handler(kind, _say(code))
    app.add_exception_handler(edits.Refused, edits.refused)
    app.add_exception_handler(HTTPException, _in_our_words)
    app.add_exception_handler(RequestValidationError, _no_question)
    app.add_middleware(Guard, hosts=hosts, origins=origins, noted=view.NOTED)
    app.add_middleware(Patience, seconds=seconds)
    app.add_middleware(Head)
    return app


def _in_our_words(request: Request, error: Any) -> JSONResponse:
    """What the framework refuses, as we say it; of a method that is none here, all that are."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        scope = {**request.scope, "method": ""}
        routes = [r for router in (request.app, *ROUTERS) for r in router.routes if r.matches(scope)[0] != Match.NONE]
        allowed = {m for r in routes for m in getattr(r, "methods", None) or ()}
        headers["Allow"] = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers)


def _no_question(_: Request, error: Any) -> JSONResponse:
    """What is wrong with a request, and where; not what was sent, which may be no JSON (NaN) or a secret."""
    return JSONResponse({"detail": [{k: e[k] for k in ("loc", "msg", "type")} for e in error.errors()]}, 422)


def _say(code: int) -> Any:
    def handler(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error).split())}, code)

    return handler
